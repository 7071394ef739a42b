"""What can go wrong, each with a stable code: the same codes as those of `consort --json`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

if TYPE_CHECKING:
    from .jobs import Job

# Somebody or some rule said no, and asking again will not help: as in the exit statuses of `consort`.
_REFUSALS = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAUTHENTICATED,
    }
)


class ConsortError(Exception):
    """Something did not happen. `code` is stable; the text is for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{message} [{code}]")
        self.code = code
        self.message = message


class RefusedError(ConsortError):
    """Somebody or some rule said no; asking again will not help."""


class FailedError(ConsortError):
    """Something failed on the way; asking again may help."""


class JobFileError(ConsortError):
    """A file is no job file."""


class JobEndedError(RefusedError):
    """A job ended without a model. `job` is as it ended."""

    def __init__(self, job: Job) -> None:
        super().__init__(job.code or "job_ended", f"{job.id} ended without a model: {job.reason or job.state.value}")
        self.job = job


def of_call(error: grpc.RpcError) -> ConsortError:
    """The error of a call, with the reason that the coordinator gave for it."""
    if not isinstance(error, grpc.Call):
        return FailedError("call_failed", str(error))
    code = error.code()
    message = error.details() or "the coordinator said nothing"
    refused = code in _REFUSALS
    reason = _reason(error) or ("refused" if refused else "coordinator_unreachable")
    return (RefusedError if refused else FailedError)(reason, message)


def _reason(call: grpc.Call) -> str | None:
    """The reason in google.rpc.ErrorInfo, in lower case."""
    try:
        status = rpc_status.from_call(call)
    except ValueError:
        # Its details do not fit its status: then they are not the coordinator's.
        return None
    for detail in status.details if status else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info) and info.domain == "consort":
            return str(info.reason).lower()
    return None
