#!/usr/bin/env python3
"""A participant that shares no code with the others: votes, trains, masks, uploads, confirms and opens through an uplink.

    consort uplink --config clinic-4/config.toml --dangerous-local 7500
    python participant.py --config clinic-4/config.toml --uplink 127.0.0.1:7500

What it does stands in docs/protocol.md. Python's integers are not constant time and its memory
is not wiped: it is no participant for data that matters. It ends when the jobs it was asked
for have; what it voted on is lost with the process.
"""

import argparse
import os
import sys
import time

import grpc
from google.rpc import error_details_pb2, status_pb2

import wire
from attempt import Attempt, WrongBox
from contract import Contract, Refused, model_hash, verified_votes, vote_bytes
from organisation import Organisation
from parts import LISTS
from privacy import Ledger, discrete_gaussian
from training import clipped_sum, load
from witness import Witness

# The coordinator says something at least every five seconds.
SILENCE_SECONDS = 30
# These speak of the connection, not of the message.
BROKEN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED,
          grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL)
# The attempt, or with it the job, was over.
LATE = ("ATTEMPT_NOT_RUNNING", "JOB_NOT_RUNNING", "JOB_ENDED")


def log(text):
    print(text, file=sys.stderr, flush=True)


class Participant:
    def __init__(self, channel, organisation, jobs, cheated=None):
        self.jobs, self.cheated = jobs, cheated
        self.site = organisation
        self.rounds = wire.round_rpc.RoundServiceStub(channel)
        self.witness = Witness(organisation, channel)
        self.consent = wire.consent_rpc.ConsentServiceStub(channel)
        self.ledger = Ledger(organisation.state / "second_participant.ledger")
        self.instance = os.urandom(16)
        self.proposals, self.contracts, self.votes_cast, self.votes, self.models, self.attempts = {}, {}, {}, {}, {}, {}
        self.ended = []

    def follow(self):
        """Until the jobs ended. A stream that breaks is opened again; what is still wanted is then said again."""
        wait = 0.1
        while len(self.ended) < self.jobs:
            try:
                for said in self.rounds.Follow(wire.round_.FollowRequest(instance=self.instance)):
                    wait = 0.1
                    self.heard(said)
                    if len(self.ended) == self.jobs:
                        return
            except grpc.RpcError as error:
                log(f"the link broke: {error.code().name} {error.details()}")
            time.sleep(wait)
            wait = min(5.0, 2 * wait)

    def heard(self, said):
        kind = said.WhichOneof("event")
        try:
            event = getattr(said, kind) if kind else None
            if kind in LISTS:
                event = self.attempt(event.id).parts.whole(kind, event)
                if event is None:
                    return
            getattr(self, f"on_{kind}", lambda event: None)(event)
        except Refused as refused:
            log(f"refuses {kind}: {refused}")

    # --- consent ------------------------------------------------------------------------------------------------------

    def on_proposal(self, proposal):
        if proposal.job not in self.proposals:
            self._decide(proposal)
        if self.proposals[proposal.job] != proposal:
            raise Refused("another contract under a name that was voted on")
        request = wire.consent.CastVoteRequest(job=proposal.job, vote=self.votes_cast[proposal.job])
        self.call(self.consent.CastVote, request)

    def _decide(self, proposal):
        contract = Contract(proposal)
        reason = self._objection(contract)
        vote = wire.consent.Vote(
            organisation=self.site.organisation, contract=contract.hash, approve=not reason, reason=reason
        )
        vote.signature = self.site.sign(vote_bytes(proposal.job, vote))
        self.proposals[proposal.job], self.contracts[proposal.job] = proposal, contract
        self.votes_cast[proposal.job] = vote
        log(f"{proposal.job}: votes {'yes' if vote.approve else 'no: ' + reason} on {contract.hash.hex()}")

    def _objection(self, contract):
        spec, consent = contract.spec, self.site.consent
        epsilon = consent["max_epsilon_lifetime"]
        if not set(contract.members) <= set(self.site.identities):
            return "a member is not in the roster"
        if self.site.organisation not in contract.members:
            return "this organisation is not a member"
        if spec.purpose not in consent["purposes"] or spec.dataset not in consent["datasets"]:
            return "the purpose or the data set is not allowed"
        if contract.fewest < consent["min_cohort"] or contract.parameters > consent["max_parameters"]:
            return "too few members or too large a model"
        if contract.epsilon > consent["max_epsilon_per_job"]:
            return "the job costs too much"
        if not self.ledger.allows(spec.dataset, contract.sigma, spec.dp_fedsgd.rounds, epsilon, consent["delta"]):
            return "the ledger does not cover the job"
        try:
            self.rows = load(self.site.datasets[spec.dataset], contract)
        except (Refused, KeyError, OSError, ValueError):
            return "the data does not fit the job"
        return ""

    def on_approval(self, approval):
        contract = self.contracts.get(approval.job)
        if contract is None:
            raise Refused("an approval of a job that was not voted on")
        if approval.job not in self.votes:
            self.votes[approval.job] = verified_votes(contract, approval, self.site.identities, self.site.verify)

    # --- a round ------------------------------------------------------------------------------------------------------

    def on_round_open(self, open_):
        job, key = open_.id.job, (open_.id.round, open_.id.attempt)
        attempt = self.attempts.get(job)
        if attempt is None or attempt.key != key:
            if job not in self.votes:
                raise Refused("a round of a job that not every member approved")
            if attempt is not None and key < attempt.key:
                raise Refused("R4: an older attempt")
            contract = self.contracts[job]
            attempt = Attempt(self.site, contract, self.votes[job], open_, self.cheated)
            if self.ledger.is_spent(job, open_.id.round):
                raise Refused("this round is spent")
            self.witness.believe(open_.log_head)
            self.models[job] = self._model(contract, open_)
            self.attempts[job] = attempt
        self.call(self.rounds.Advertise, attempt.advertise(self.ledger.sequence()))

    def _model(self, contract, open_):
        """R3. The first round trains on what follows from the contract."""
        if open_.id.round == 1:
            model = contract.initial_model()
        else:
            request = wire.round_.FetchModelRequest(job=open_.id.job, model=open_.model)
            model = b""
            for piece in self.rounds.FetchModel(request, timeout=60):
                model += piece.data
                if len(model) > 4 * contract.parameters:
                    raise Refused("R3: the model is too long")
        if len(model) != 4 * contract.parameters or model_hash(model) != open_.model:
            raise Refused("R3: not the announced model")
        return model

    def on_key_list(self, key_list):
        attempt = self.attempt(key_list.id)
        self.call(self.rounds.ShareKeys, attempt.share_keys(key_list))

    def on_shares_delivery(self, delivery):
        attempt = self.attempt(delivery.id)
        if attempt.update is None:
            try:
                attempt.receive_shares(delivery)
            except WrongBox as wrong:
                self.call(self.rounds.ReportBlame, attempt.complaint(wrong.dealer))
                raise
            attempt.submit(self._private_sum(attempt))
        if self.call(self.rounds.SubmitUpdate, iter(attempt.update)):
            log(f"{delivery.id.job} round {delivery.id.round}: the masked update is stored")

    def _private_sum(self, attempt):
        """The noise first, then the records; the debit is on disk before the sum exists."""
        contract, id_ = attempt.agreed, attempt.open.id
        noise = [discrete_gaussian(contract.variance) for _ in range(contract.elements)]
        self.ledger.pay(contract.spec.dataset, id_.job, id_.round, id_.attempt, contract.sigma)
        clipped = clipped_sum(contract, self.models[id_.job], self.rows)
        return [x + z for x, z in zip(clipped, noise)]

    def on_survivors(self, survivors):
        attempt = self.attempt(survivors.id)
        self.call(self.rounds.ConfirmSurvivors, attempt.confirm(survivors))

    def on_confirmations(self, confirmations):
        attempt = self.attempt(confirmations.id)
        self.call(self.rounds.Unmask, attempt.unmask(confirmations))

    def on_round_result(self, result):
        attempt = self.attempts.get(result.id.job)
        if attempt is None or attempt.key != (result.id.round, result.id.attempt):
            return
        attempt.verify_result(result)
        del self.attempts[result.id.job]
        survived = attempt.own in result.survivors
        log(f"{result.id.job} round {result.id.round}: {len(result.survivors)} survivors, {'with' if survived else 'WITHOUT'} us")

    def on_round_aborted(self, aborted):
        log(f"{aborted.id.job} round {aborted.id.round}: aborted, {aborted.code}: {aborted.reason}")
        self.attempts.pop(aborted.id.job, None)

    def on_job_closed(self, closed):
        # A job that ended before this process started is said too.
        if self.contracts.pop(closed.job, None) is not None:
            log(f"{closed.job}: {closed.state}")
            self.ended.append(closed.state)

    def attempt(self, id_):
        attempt = self.attempts.get(id_.job)
        if attempt is None or attempt.key != (id_.round, id_.attempt):
            raise Refused("an attempt that this process did not join")
        return attempt

    def call(self, rpc, request):
        """Whether it was taken. What is refused is said; what failed will be asked for again on a new stream."""
        try:
            rpc(request, timeout=60)
            return True
        except grpc.RpcError as error:
            if error.code() in BROKEN:
                raise
            code = reason(error)
            # t answers open the sum; the round does not wait for the others.
            if not (rpc == self.rounds.Unmask and code in LATE):
                log(f"the coordinator refuses: {error.code().name} {code} {error.details()}")
            return False


def reason(error):
    """The stable code in the status' google.rpc.ErrorInfo."""
    details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
    for packed in status_pb2.Status.FromString(details).details:
        info = error_details_pb2.ErrorInfo()
        if packed.Unpack(info):
            return info.reason
    return ""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, help="the participant's configuration file (TOML)")
    parser.add_argument("--uplink", required=True, metavar="HOST:PORT", help="where `consort uplink` listens")
    parser.add_argument("--jobs", type=int, default=1, help="how many jobs to take part in; 1 if not given")
    parser.add_argument("--dangerous-wrong-box-for", metavar="NAME", help="cheat this member, to see that it is noticed")
    options = parser.parse_args()
    keepalive = [("grpc.keepalive_time_ms", 1000 * SILENCE_SECONDS)]
    with grpc.insecure_channel(options.uplink, options=keepalive) as channel:
        grpc.channel_ready_future(channel).result(timeout=30)
        organisation = Organisation(options.config, channel)
        if organisation.simulated:
            log("this organisation accepts SIMULATED evidence: it proves nothing about any hardware")
        participant = Participant(channel, organisation, options.jobs, options.dangerous_wrong_box_for)
        participant.follow()
    sys.exit(0 if set(participant.ended) == {"completed"} else 1)


if __name__ == "__main__":
    main()
