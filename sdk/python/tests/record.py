"""Records what a coordinator answers, for the tests of `consort top`: python -m tests.record FOLDER."""

from __future__ import annotations

import pathlib
import sys
import tempfile

import consort
from consort.job.v1 import job_pb2 as wire

from .consortium import Consortium


def main(folder: pathlib.Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        consortium = Consortium(pathlib.Path(temporary))
        try:
            with consort.connect(consortium.url, ca=consortium.ca, token_file=consortium.token_file) as client:
                record(client, consortium, folder)
        finally:
            consortium.close()


def record(client: consort.Client, consortium: Consortium, folder: pathlib.Path) -> None:
    """The demo's own job is there already; a second one is recorded in its second round."""
    document = consortium.document()
    document["dp_fedsgd"]["rounds"] = 50
    job = client.submit(document)
    for seen in client.watch(job.id):
        if len(seen.rounds) >= 2 and all(member.connected for member in seen.members):
            break
    ask = client._ask  # The messages themselves are wanted, not what the SDK makes of them.
    listed = ask("/consort.job.v1.JobService/ListJobs", wire.ListJobsRequest(), wire.ListJobsResponse.FromString)
    shown = ask("/consort.job.v1.JobService/ShowJob", wire.ShowJobRequest(id=job.id), wire.ShowJobResponse.FromString)
    (folder / "list_jobs.bin").write_bytes(listed.SerializeToString())
    (folder / "show_job.bin").write_bytes(shown.SerializeToString())
    print(f"recorded {len(listed.jobs)} jobs, {len(shown.job.rounds)} rounds of {job.id}")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
