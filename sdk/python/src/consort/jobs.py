"""Jobs as the coordinator tells of them."""

from __future__ import annotations

import dataclasses
import enum

import numpy as np
import numpy.typing as npt

from .job.v1 import job_pb2 as wire


class State(enum.Enum):
    """Where a job stands."""

    UNKNOWN = "unknown"
    VOTING = "voting"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing follows."""
        return self in (State.COMPLETED, State.FAILED, State.CANCELLED)


# A state of a newer coordinator is unknown.
_STATES = {
    wire.JOB_STATE_VOTING: State.VOTING,
    wire.JOB_STATE_RUNNING: State.RUNNING,
    wire.JOB_STATE_COMPLETED: State.COMPLETED,
    wire.JOB_STATE_FAILED: State.FAILED,
    wire.JOB_STATE_CANCELLED: State.CANCELLED,
}


@dataclasses.dataclass(frozen=True)
class Member:
    """One member of a job, now."""

    organisation: str
    connected: bool
    phase: str
    sent_bytes: int
    convicted_of: str
    """Of what it was convicted by its own signatures; empty if of nothing."""
    quarantined_for: str
    """The check that its evidence failed last, as a code; empty if it is not kept out."""


@dataclasses.dataclass(frozen=True)
class Round:
    """What became of one round."""

    round: int
    attempt: int
    survivors: tuple[str, ...]
    """Members whose updates are in the sum; of old rounds none, which `Client.rounds` names."""
    survivor_count: int
    noised_loss: float | None
    """Mean loss over the divisor, noised; None without a loss query."""
    epsilon_spent: float
    phase_ms: dict[str, int]
    aborted: str
    """Why the round gave no sum; empty when it did."""


@dataclasses.dataclass(frozen=True)
class Job:
    """A job, as it stood when the coordinator told of it."""

    id: str
    name: str
    purpose: str
    dataset: str
    state: State
    reason: str
    code: str
    contract: str
    round: int
    rounds_planned: int
    phase: str
    epsilon: float
    """What the job costs when it completes."""
    members: tuple[Member, ...]
    rounds: tuple[Round, ...]
    model: str
    """Hash of the released model; empty before."""
    coordinator_restarts: int
    dangerous_simulated_attestation: bool

    @property
    def ended(self) -> bool:
        """Whether nothing follows."""
        return self.state.ended

    @property
    def epsilon_spent(self) -> float:
        """Epsilon after the last round that ended."""
        return self.rounds[-1].epsilon_spent if self.rounds else 0.0

    def metrics(self) -> npt.NDArray[np.void]:
        """The rounds as a table: a structured array of round, loss (NaN where there is none), epsilon, survivors and milliseconds."""
        kinds = [("round", "u4"), ("loss", "f8"), ("epsilon", "f8"), ("survivors", "u4"), ("ms", "u8")]
        rows = [
            (
                round.round,
                np.nan if round.noised_loss is None else round.noised_loss,
                round.epsilon_spent,
                round.survivor_count,
                sum(round.phase_ms.values()),
            )
            for round in self.rounds
        ]
        return np.array(rows, dtype=np.dtype(kinds))

    def __repr__(self) -> str:
        connected = sum(member.connected for member in self.members)
        parts = [
            f"<{self.id} {self.name}: {self.state.value}, round {self.round}/{self.rounds_planned}",
            f"{connected}/{len(self.members)} members connected",
            f"epsilon {self.epsilon_spent:.4f} of {self.epsilon:.4f}",
        ]
        if self.phase and not self.ended:
            parts.append(self.phase)
        if self.reason:
            parts.append(f"{self.reason} [{self.code}]")
        return ", ".join(parts) + ">"


def job_of(job: wire.Job) -> Job:
    """From the wire."""
    algorithm = job.spec.WhichOneof("algorithm")
    return Job(
        id=job.id,
        name=job.spec.name,
        purpose=job.spec.purpose,
        dataset=job.spec.dataset,
        state=_STATES.get(job.state, State.UNKNOWN),
        reason=job.reason,
        code=job.code,
        contract=job.contract,
        round=job.round,
        # Whatever trains has rounds; what asks once has one.
        rounds_planned=getattr(getattr(job.spec, algorithm), "rounds", 1) if algorithm else 0,
        phase=job.phase,
        epsilon=job.plan.epsilon,
        members=tuple(
            Member(
                organisation=member.organisation,
                connected=member.connected,
                phase=member.phase,
                sent_bytes=member.sent_bytes,
                convicted_of=member.convicted_of,
                quarantined_for=member.quarantined_for,
            )
            for member in job.members
        ),
        rounds=tuple(round_of(round) for round in job.rounds),
        model=job.model,
        coordinator_restarts=job.coordinator_restarts,
        dangerous_simulated_attestation=job.dangerous_simulated_attestation,
    )


def round_of(summary: wire.RoundSummary) -> Round:
    """From the wire."""
    return Round(
        round=summary.round,
        attempt=summary.attempt,
        survivors=tuple(summary.survivors),
        survivor_count=summary.survivor_count,
        noised_loss=summary.noised_loss if summary.HasField("noised_loss") else None,
        epsilon_spent=summary.epsilon_spent,
        phase_ms=dict(summary.phase_ms),
        aborted=summary.aborted,
    )
