"""A client of the coordinator's operators' port: TLS with a pinned certificate, and a bearer token."""

from __future__ import annotations

import json
import os
import pathlib
import secrets
import types
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import grpc
import yaml

from .errors import FailedError, JobEndedError, JobFileError, RefusedError, of_call
from .job.v1 import job_pb2 as wire
from .jobs import Job, Round, State, job_of, round_of
from .model.v1 import model_pb2
from .models import Model, Report, model_of, report_of

# The largest model has 4 bytes for each of 2^26 parameters, and room for its header: more is no model.
_MOST_MODEL_BYTES = 4 * (1 << 26) + (1 << 20)

_JOBS = "/consort.job.v1.JobService/"
_MODELS = "/consort.model.v1.ModelService/"

_OPTIONS = (
    # Without it a dead coordinator leaves a watched job silent for ever.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)


class _Message(Protocol):
    def SerializeToString(self) -> bytes: ...


_Answer = TypeVar("_Answer")
_Path = str | os.PathLike[str]


def connect(
    coordinator: str,
    *,
    ca: _Path,
    token: str | None = None,
    token_file: _Path | None = None,
    timeout: float = 30.0,
) -> Client:
    """A client of a coordinator.

    `coordinator` is the address of its operators' port, as https://HOST:PORT; `ca` the PEM file that it proves itself with; the token
    is given, or the name of its file. `timeout` is how many seconds a call may take; watching has no limit.

    Nothing is sent until the first call.
    """
    address = urlsplit(coordinator)
    if address.scheme != "https" or not address.hostname or not address.port:
        raise ValueError(f"{coordinator!r} is not https://HOST:PORT")
    if (token is None) == (token_file is None):
        raise ValueError("give either token or token_file")
    if token_file is not None:
        token = pathlib.Path(token_file).read_text(encoding="utf-8")
    bearer = grpc.access_token_call_credentials((token or "").strip())
    tls = grpc.ssl_channel_credentials(pathlib.Path(ca).read_bytes())
    credentials = grpc.composite_channel_credentials(tls, bearer)
    return Client(grpc.secure_channel(address.netloc, credentials, options=_OPTIONS), coordinator, timeout)


class Client:
    """Jobs and models of one coordinator. Close it, or use it in a `with`."""

    def __init__(self, channel: grpc.Channel, coordinator: str, timeout: float) -> None:
        self._channel = channel
        self._coordinator = coordinator
        self._timeout = timeout

    def submit(self, job: _Path | Mapping[str, Any], *, idempotency_key: str | None = None) -> Job:
        """Proposes a job to its members: a job file's path (YAML or JSON), or the same as a dict.

        A retry with the same key and job makes no second job; without a key, every call makes a new one.
        """
        document = dict(job) if isinstance(job, Mapping) else read_job_file(job)
        try:
            text = json.dumps(document, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise JobFileError("job_malformed", f"the job holds what JSON cannot say: {error}") from error
        key = secrets.token_hex(16) if idempotency_key is None else idempotency_key
        request = wire.SubmitJobRequest(job_json=text, idempotency_key=key)
        return job_of(self._ask(_JOBS + "SubmitJob", request, wire.SubmitJobResponse.FromString).job)

    def jobs(self) -> list[Job]:
        """All jobs, newest last; each has its newest round alone."""
        jobs: list[Job] = []
        while True:
            request = wire.ListJobsRequest(after=jobs[-1].id if jobs else "")
            page = self._ask(_JOBS + "ListJobs", request, wire.ListJobsResponse.FromString)
            jobs.extend(job_of(job) for job in page.jobs)
            if not page.more or not page.jobs:
                return jobs

    def job(self, id: str) -> Job:
        """One job with its rounds."""
        request = wire.ShowJobRequest(id=id)
        return job_of(self._ask(_JOBS + "ShowJob", request, wire.ShowJobResponse.FromString).job)

    def rounds(self, id: str) -> list[Round]:
        """What became of every round of a job, with the names of all survivors."""
        rounds: list[Round] = []
        while True:
            request = wire.ListRoundsRequest(id=id, after_round=rounds[-1].round if rounds else 0)
            page = self._ask(_JOBS + "ListRounds", request, wire.ListRoundsResponse.FromString)
            rounds.extend(round_of(summary) for summary in page.rounds)
            if not page.more or not page.rounds:
                return rounds

    def watch(self, id: str) -> Iterator[Job]:
        """A job's progress, from now until it ends: as it is now first, and as it ended last."""
        request = wire.WatchJobRequest(id=id)
        ended = False
        for answer in self._stream(_JOBS + "WatchJob", request, wire.WatchJobResponse.FromString):
            job = job_of(answer.job)
            ended = job.ended
            yield job
        if not ended:
            raise FailedError("watch_ended", "the coordinator ended the stream before the job ended; watch it again")

    def wait(self, id: str) -> Job:
        """Watches a job to its end, and raises `JobEndedError` when that is without a model."""
        (job,) = deque(self.watch(id), maxlen=1)
        if job.state is not State.COMPLETED:
            raise JobEndedError(job)
        return job

    def cancel(self, id: str) -> Job:
        """Ends a job that has not ended."""
        request = wire.CancelJobRequest(id=id)
        return job_of(self._ask(_JOBS + "CancelJob", request, wire.CancelJobResponse.FromString).job)

    def model(self, id: str) -> Model:
        """The released model of a completed job that trains."""
        if _asks(self.job(id)):
            raise RefusedError("job_without_model", f"{id} asks and releases no model; fetch its report")
        return model_of(id, *self._download(id))

    def report(self, id: str) -> Report:
        """What a completed stats or evaluate job was answered."""
        if not _asks(self.job(id)):
            raise RefusedError("job_without_report", f"{id} trains and releases no report; fetch its model")
        return report_of(id, *self._download(id))

    def _download(self, id: str) -> tuple[bytes, bytes]:
        """A manifest, and the file that it is about."""
        manifest, file = b"", bytearray()
        request = model_pb2.DownloadModelRequest(job=id)
        parts = self._stream(_MODELS + "DownloadModel", request, model_pb2.DownloadModelResponse.FromString)
        for part in parts:
            if part.WhichOneof("part") == "manifest":
                manifest = part.manifest
            file.extend(part.data)
            if len(file) > _MOST_MODEL_BYTES:
                raise FailedError("model_too_large", "the coordinator sends more than the largest model has")
        return manifest, bytes(file)

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def _ask(self, method: str, request: _Message, decode: Callable[[bytes], _Answer]) -> _Answer:
        call = self._channel.unary_unary(
            method, request_serializer=_encoded, response_deserializer=decode
        )
        try:
            return call(request, timeout=self._timeout)
        except grpc.RpcError as error:
            raise of_call(error) from error

    def _stream(self, method: str, request: _Message, decode: Callable[[bytes], _Answer]) -> Iterator[_Answer]:
        open_stream = self._channel.unary_stream(
            method, request_serializer=_encoded, response_deserializer=decode
        )
        call = open_stream(request)
        try:
            yield from call
        except grpc.RpcError as error:
            raise of_call(error) from error
        finally:
            # Whoever stops to listen leaves no stream open behind.
            call.cancel()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<client of {self._coordinator}>"


def _asks(job: Job) -> bool:
    return job.algorithm in ("stats", "evaluate")


def _encoded(message: _Message) -> bytes:
    return message.SerializeToString()


def read_job_file(path: _Path) -> dict[str, Any]:
    """Reads a job file, YAML or JSON. What it says is checked by the coordinator; `consort job check` names lines too."""
    text = pathlib.Path(path).read_text(encoding="utf-8")
    try:
        document = json.loads(text) if os.fspath(path).endswith(".json") else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise JobFileError("job_malformed", f"{os.fspath(path)}: {error}") from error
    if not isinstance(document, dict):
        raise JobFileError("job_malformed", f"{os.fspath(path)} holds no table of fields")
    return document
