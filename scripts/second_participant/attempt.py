"""One attempt at a round, P0 to P6, with the rules a member keeps (docs/protocol.md, "What a member refuses").

A method for each thing the coordinator asks; each returns the answer's message. What is asked again gets the same bytes.
"""

from cryptography.exceptions import InvalidTag

import masking
import wire
from contract import Refused
from encoding import canonical, chunks, digest, member_set, pack, sha256, shared_set, tree_hash
from parts import Parts
from ristretto import BASE


def need(holds, rule, problem):
    if not holds:
        raise Refused(f"{rule}: {problem}")


class WrongBox(Refused):
    """R11: a member's signed statement names a box that does not hold what it commits to."""

    def __init__(self, dealer, problem):
        super().__init__(f"R11: {problem}")
        self.dealer = dealer


class Attempt:
    """`cheated` is dealt a box that does not open: a cheat's own doing, to see that it is convicted. `site` has the identity, the roster and the uplink; `agreed` the contract and the hash over its votes."""

    def __init__(self, site, agreed, votes, open_, cheated=None):
        self.cheated = cheated
        self.site, self.agreed, self.open = site, agreed, open_
        self._check_terms(votes)
        self.key = (open_.id.round, open_.id.attempt)
        self.names = {m.index: m.organisation for m in open_.cohort}
        self.own = agreed.members.index(site.organisation) + 1
        self.parts = Parts(len(open_.cohort))
        self.advert = self.shares = self.update = self.confirmation = self.answer = None

    # --- P0 ---------------------------------------------------------------------------------------------------------

    def _check_terms(self, votes):
        site, agreed, o = self.site, self.agreed, self.open
        cohort = [(i + 1, name, site.identities[name]) for i, name in enumerate(agreed.members)]
        need(o.consortium == site.consortium and o.roster_root == site.roster_root, "R2", "another roster")
        need([(m.index, m.organisation, m.identity) for m in o.cohort] == cohort, "R2", "another cohort")
        need((o.colluders, o.minimum) == (agreed.c, agreed.n_min), "R2", "other thresholds")
        need((o.elements, o.width_bits) == (agreed.elements, agreed.width), "R2", "another schema")
        need((o.contract, o.votes) == (agreed.hash, votes), "R2", "another contract or other votes")
        need(1 <= o.id.round <= agreed.spec.dp_fedsgd.rounds and o.id.attempt >= 1, "R2", "a round outside the contract")
        need(len(o.model) == 32 and len(o.log_head) == 32, "R2", "a digest has 32 bytes")
        members = [part for member in cohort for part in member]
        self.ctx = digest(
            "consort/round/context/v1", o.consortium, o.id.job, o.id.round, o.id.attempt, o.roster_root,
            len(cohort), agreed.c, agreed.t, agreed.n_min, len(cohort), *members,
            o.contract, o.votes, o.model, agreed.schema_hash, o.log_head,
        )
        site.verify(site.coordinator, canonical("consort/round/open/v1", self.ctx), o.signature)
        need(site.organisation in agreed.members, "R5", "not in the cohort")

    def advertise(self, ledger_sequence):
        """P1. The uplink keeps R4: it gives evidence for an attempt once, and never for an older one."""
        if self.advert is None:
            self.mask_secret, self.share_secret = masking.random_scalar(), masking.random_scalar()
            mask_key, share_key = (self.mask_secret * BASE).encode(), (self.share_secret * BASE).encode()
            evidence = self.site.evidence(self.open, mask_key, share_key)
            advert = wire.round_.Advert(
                member=self.own, mask_key=mask_key, share_key=share_key, evidence=evidence, ledger_sequence=ledger_sequence
            )
            advert.signature = self.site.sign(self._advert_bytes(advert))
            self.advert = advert
        return wire.round_.AdvertiseRequest(id=self.open.id, advert=self.advert)

    def _advert_bytes(self, a):
        return canonical(
            "consort/round/advert/v1", self.ctx, a.member, a.mask_key, a.share_key, sha256(a.evidence), a.ledger_sequence
        )

    # --- P2, P3 -----------------------------------------------------------------------------------------------------

    def share_keys(self, key_list):
        adverts = {a.member: a for a in key_list.adverts}
        if self.shares is not None:
            need(adverts == self.adverts and len(adverts) == len(key_list.adverts), "R9", "another key list")
            return self.shares
        self._check_adverts(adverts, key_list)
        self.adverts, self.u1 = adverts, sorted(adverts)
        leaves = [self._advert_bytes(adverts[u]) + adverts[u].signature for u in self.u1]
        self.ctx2 = digest("consort/aggregation/round-keys/v1", self.ctx, tree_hash(leaves))
        self.self_secret = masking.random_scalar()
        mask_commitments, mask_shares = masking.split(self.mask_secret, self.agreed.t, self.u1)
        self_commitments, self_shares = masking.split(self.self_secret, self.agreed.t, self.u1)
        self.held = {self.own: (mask_shares[self.own], self_shares[self.own])}
        sealed = {
            v: masking.seal_shares(
                self.ctx2, self.share_secret, adverts[v].share_key, self.own, v, mask_shares[v], self_shares[v]
            )
            for v in self.u1 if v != self.own
        }
        for v in (v for v in sealed if self.names[v] == self.cheated):
            sealed[v] = bytes(80)
        statement = wire.round_.ShareStatement(
            member=self.own, mask_key_commitments=mask_commitments, self_mask_commitments=self_commitments,
            sealed=[wire.round_.MemberDigest(member=v, digest=sha256(box)) for v, box in sealed.items()],
        )
        statement.signature = self.site.sign(self._statement_bytes(statement))
        boxes = [wire.round_.SealedShare(member=v, sealed=box) for v, box in sealed.items()]
        self.shares = wire.round_.ShareKeysRequest(id=self.open.id, statement=statement, sealed=boxes)
        return self.shares

    def _check_adverts(self, adverts, key_list):
        need(len(adverts) == len(key_list.adverts), "R6", "a member advertises twice")
        need(adverts.get(self.own) == self.advert, "R6", "the own advert is not there unchanged")
        for member, advert in adverts.items():
            need(member in self.names, "R6", "an advert of a stranger")
            self.site.verify(self.site.identities[self.names[member]], self._advert_bytes(advert), advert.signature)
            if member != self.own:
                self.site.judge(self.open, advert)
        keys = {key for a in adverts.values() for key in (a.mask_key, a.share_key)}
        need(len(keys) == 2 * len(adverts), "R8", "two keys are equal")
        need(len(adverts) >= self.agreed.fewest, "R8", "too few members")
        need(2 * self.agreed.t > len(adverts) + self.agreed.c, "R9", "the threshold is too low")

    def _statement_bytes(self, s):
        sealed = [part for entry in s.sealed for part in (entry.member, entry.digest)]
        return canonical(
            "consort/round/shares/v1", self.ctx2, s.member, s.mask_key_commitments, s.self_mask_commitments,
            len(s.sealed), *sealed,
        )

    # --- P4 ---------------------------------------------------------------------------------------------------------

    def receive_shares(self, delivery):
        """R10 to R12: opens what the others sealed, and fixes U2. The update may be masked then."""
        statements = {s.member: s for s in delivery.statements}
        boxes = {b.member: b.sealed for b in delivery.sealed}
        need(len(statements) == len(delivery.statements), "R12", "a statement stands twice")
        need(set(statements) <= set(self.u1) and len(statements) >= self.agreed.fewest, "R12", "U2 is not allowed")
        need(statements.get(self.own) == self.shares.statement, "R12", "the own statement is not there unchanged")
        for member, s in statements.items():
            self.site.verify(self.site.identities[self.names[member]], self._statement_bytes(s), s.signature)
            for commitments in (s.mask_key_commitments, s.self_mask_commitments):
                need(len(commitments) == 32 * self.agreed.t, "R10", "not t commitments")
            need(s.mask_key_commitments[:32] == self.adverts[member].mask_key, "R10", "another mask key is committed to")
            receivers = [entry.member for entry in s.sealed]
            need(receivers == [v for v in self.u1 if v != member], "R11", "not one box for each other member")
            if member != self.own:
                self.held[member] = self._opened(s, boxes.get(member, b""))
        self.u2 = sorted(statements)
        self.u2_root = shared_set({u: self._statement_bytes(s) for u, s in statements.items()})

    def _opened(self, s, box):
        named = {entry.member: entry.digest for entry in s.sealed}
        need(named[self.own] == sha256(box), "R11", "not the box that its statement names")
        sender = s.member
        try:
            pair = masking.open_shares(self.ctx2, self.share_secret, self.adverts[sender].share_key, sender, self.own, box)
        except (InvalidTag, ValueError):
            raise WrongBox(sender, "the box does not open") from None
        for commitments, share in zip((s.mask_key_commitments, s.self_mask_commitments), pair):
            if not masking.lies_on(commitments, self.own, share):
                raise WrongBox(sender, "a share is not on its polynomial")
        return pair

    def complaint(self, dealer):
        """What this member and the dealer of a wrong box agreed on, with the proof that it is that ("Blame")."""
        agreement = masking.reveal(self.ctx2, self.share_secret, self.adverts[dealer].share_key)
        return wire.round_.ReportBlameRequest(id=self.open.id, dealer=dealer, agreement=agreement)

    def submit(self, integers):
        """Masks the vector, which has its noise and is paid for, and freezes the upload for resends."""
        width, n = self.agreed.width, self.agreed.elements
        need(len(integers) == n, "P4", "another length")
        need(all(-(1 << width - 1) <= x < 1 << width - 1 for x in integers), "P4", "an integer does not fit")
        masks = [(1, masking.self_mask_seed(self.ctx2, self.self_secret, self.own))]
        for v in self.u2:
            if v != self.own:
                seed = masking.pair_mask_seed(self.ctx2, self.mask_secret, self.adverts[v].mask_key, self.own, v)
                masks.append((1 if self.own < v else -1, seed))
        masked = list(integers)
        for sign, seed in masks:
            masked = [x + sign * m for x, m in zip(masked, masking.mask_words(seed, n, width))]
        pieces = chunks(pack([x % (1 << width) for x in masked], width))
        seal = wire.round_.UpdateSeal(member=self.own, tree_hash=tree_hash(pieces))
        seal.signature = self.site.sign(
            canonical("consort/round/update/v2", self.ctx2, self.u2_root, self.own, seal.tree_hash)
        )
        part = wire.round_.SubmitUpdateRequest
        chunked = [part(chunk=wire.round_.MaskedChunk(index=i, data=data)) for i, data in enumerate(pieces)]
        self.update = [part(id=self.open.id), *chunked, part(seal=seal)]

    # --- P5, P6 -----------------------------------------------------------------------------------------------------

    def confirm(self, survivors):
        u3 = list(survivors.members)
        if self.confirmation is not None:
            need(survivors == self.survivors, "R15", "another survivor set was confirmed")
            return self.confirmation
        signed = canonical("consort/round/survivors/v1", self.ctx2, member_set(u3), survivors.inputs_root)
        self.site.verify(self.site.coordinator, signed, survivors.signature)
        need(len(set(u3)) == len(u3) and self.own in u3 and set(u3) <= set(self.u2), "R14", "U3 is not allowed")
        need(len(u3) >= self.agreed.fewest, "R14", "too few survivors")
        self.survivors, self.u3 = survivors, sorted(u3)
        own = wire.round_.Confirmation(
            member=self.own, signature=self.site.sign(self._confirmation_bytes(self.own)), **self._confirmed_sets()
        )
        self.confirmation = wire.round_.ConfirmSurvivorsRequest(id=self.open.id, confirmation=own)
        return self.confirmation

    def _confirmed_sets(self):
        return {
            "u2": self.u2_root, "u3": member_set(self.u3), "inputs_root": self.survivors.inputs_root,
            "log_head": self.open.log_head,
        }

    def _confirmation_bytes(self, member):
        return canonical(
            "consort/round/confirmation/v2", self.ctx2, member, self.u2_root, member_set(self.u3),
            self.survivors.inputs_root, self.open.log_head,
        )

    def unmask(self, confirmations):
        if self.answer is not None:
            return self.answer
        signed = [c.member for c in confirmations.confirmations]
        need(len(set(signed)) == len(signed) and set(signed) <= set(self.u3), "R16", "not distinct survivors")
        need(len(signed) >= self.agreed.quorum, "R16", "too few signatures")
        for c in confirmations.confirmations:
            need(all(getattr(c, name) == value for name, value in self._confirmed_sets().items()), "R16", "other sets")
            self.site.verify(self.site.identities[self.names[c.member]], self._confirmation_bytes(c.member), c.signature)
        self_mask = [(v, self.held[v][1]) for v in self.u3]
        mask_key = [(v, self.held[v][0]) for v in self.u2 if v not in self.u3]
        flat = lambda shares: [part for v, share in shares for part in (v, masking.scalar_bytes(share))]
        signed_bytes = canonical(
            "consort/round/unmask/v2", self.ctx2, self.u2_root, member_set(self.u3), self.own,
            len(self_mask), *flat(self_mask), len(mask_key), *flat(mask_key),
        )
        wired = lambda shares: [wire.round_.SecretShare(owner=v, share=masking.scalar_bytes(s)) for v, s in shares]
        self.answer = wire.round_.UnmaskRequest(
            id=self.open.id, member=self.own, self_mask=wired(self_mask), mask_key=wired(mask_key),
            signature=self.site.sign(signed_bytes),
        )
        # R17: what is left is the answer, for a resend.
        self.mask_secret = self.share_secret = self.self_secret = self.held = None
        return self.answer

    def verify_result(self, result):
        signed = canonical("consort/round/result/v1", self.ctx, member_set(result.survivors), result.aggregate)
        self.site.verify(self.site.coordinator, signed, result.signature)
        need(result.context == self.ctx, "P7", "a result of another attempt")
