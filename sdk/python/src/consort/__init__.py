"""Drives a Consort coordinator: submit jobs, watch them, fetch models into NumPy.

    import consort

    with consort.connect("https://127.0.0.1:7401", ca="cert.pem", token_file="operator.token") as client:
        job = client.submit("job.yaml")
        for job in client.watch(job.id):
            print(job)
        model = client.model(job.id)
"""

from .client import Client, connect
from .errors import ConsortError, FailedError, JobEndedError, JobFileError, RefusedError
from .jobs import Job, Member, Round, State
from .models import Model

__all__ = [
    "Client",
    "ConsortError",
    "FailedError",
    "Job",
    "JobEndedError",
    "JobFileError",
    "Member",
    "Model",
    "RefusedError",
    "Round",
    "State",
    "connect",
]
