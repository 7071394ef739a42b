"""One attempt of a job of ten members, from the announcement to the result, and what convicts who cheats in it.

Member 3 does not join, 6 does not share, 2 shares and does not submit: U1, U2 and U3 differ.
"""

import hashlib

from contract import CLINICS, threshold_parts, thresholds
from encoding import (
    canonical,
    chunked,
    digest,
    fixed,
    identity,
    listed,
    member_set,
    packed,
    schema_hash,
    sha256,
    shared_list,
    shared_set,
    signed,
    sum_digest,
    tree_hash,
)
from masking import (
    agreed,
    box_aad,
    derive,
    mask,
    pair_info,
    polynomial,
    public,
    seal,
    sealing_info,
    self_info,
    self_seed,
)
from ristretto255 import L, scalar_bytes

U1 = [1, 2, 4, 5, 6, 7, 8, 9, 10]
U2 = [1, 2, 4, 5, 7, 8, 9, 10]
U3 = [1, 4, 5, 7, 8, 9, 10]


def scalar(name):
    return int.from_bytes(fixed(name, 64), "little") % L


def hexes(values):
    return {str(key): value.hex() for key, value in values.items()}


# --- P0 --------------------------------------------------------------------------------------------------------------


def announce(terms, coordinator):
    """ctx and the signed announcement of some terms."""
    numbers = terms["thresholds"]
    cohort = [[m["index"], m["organisation"], bytes.fromhex(m["identity"])] for m in terms["cohort"]]
    content = canonical(
        "consort/round/context/v1",
        terms["consortium"],
        terms["job"],
        terms["round"],
        terms["attempt"],
        bytes.fromhex(terms["roster_root"]),
        *threshold_parts(numbers),
        *listed(cohort),
        bytes.fromhex(terms["contract"]),
        bytes.fromhex(terms["votes"]),
        bytes.fromhex(terms["model"]),
        schema_hash(terms["elements"], terms["width"]),
        bytes.fromhex(terms["log_head"]),
    )
    ctx = sha256(content)
    opened = signed(coordinator, canonical("consort/round/open/v1", ctx))
    announcement = digest("consort/round/announcement/v1", ctx, bytes.fromhex(opened["signature"]))
    return {
        "coordinator_seed": coordinator.hex(),
        "terms": terms,
        "context_bytes": content.hex(),
        "ctx": ctx.hex(),
        "open": opened,
        "announcement": announcement.hex(),
    }


def complete(agreed):
    seeds = {name: bytes.fromhex(seed) for name, seed in agreed["identity_seeds"].items()}
    cohort = [{"index": i, "organisation": name, "identity": identity(seeds[name]).hex()} for i, name in enumerate(CLINICS, 1)]
    terms = {
        "consortium": "north-sea",
        "job": agreed["job_id"],
        "round": 2,
        "attempt": 3,
        "roster_root": agreed["roster"]["root"],
        "thresholds": thresholds(10, 1, 7),
        "cohort": cohort,
        "contract": agreed["contract_hash"],
        "votes": agreed["votes_hash"],
        "model": fixed("model hash").hex(),
        "elements": agreed["plan"]["elements"],
        "width": agreed["plan"]["width_bits"],
        "log_head": fixed("log head").hex(),
    }
    return announce(terms, seeds["coordinator"])


def sparse(agreed):
    """257 members: the terms of a circle."""
    names = [f"member-{i:03}" for i in range(1, 258)]
    cohort = [{"index": i, "organisation": n, "identity": identity(fixed(f"identity of {n}")).hex()} for i, n in enumerate(names, 1)]
    terms = {
        "consortium": "north-sea",
        "job": "wide",
        "round": 1,
        "attempt": 1,
        "roster_root": fixed("wide roster").hex(),
        "thresholds": thresholds(257, 8),
        "cohort": cohort,
        "contract": fixed("wide contract").hex(),
        "votes": fixed("wide votes").hex(),
        "model": fixed("wide model").hex(),
        "elements": 1000,
        "width": 40,
        "log_head": fixed("wide log head").hex(),
    }
    return announce(terms, bytes.fromhex(agreed["identity_seeds"]["coordinator"]))


# --- P1 to P7 --------------------------------------------------------------------------------------------------------


class Attempt:
    """The secrets of everybody, and what follows from them."""

    def __init__(self, agreed, opened):
        seeds = agreed["identity_seeds"]
        self.identity = {i: bytes.fromhex(seeds[name]) for i, name in enumerate(CLINICS, 1)}
        self.coordinator = bytes.fromhex(seeds["coordinator"])
        self.ctx = bytes.fromhex(opened["ctx"])
        self.terms = opened["terms"]
        self.t = self.terms["thresholds"]["share_threshold"]
        self.sigma = {u: scalar(f"mask key of {u}") for u in U1}
        self.e = {u: scalar(f"share key of {u}") for u in U1}
        self.mask_public = {u: public(self.sigma[u]) for u in U1}
        self.share_public = {u: public(self.e[u]) for u in U1}
        self.f = {u: [self.sigma[u]] + [scalar(f"coefficient {k} of mask key {u}") for k in range(1, self.t)] for u in U2}
        self.g = {u: [scalar(f"coefficient {k} of self-mask {u}") for k in range(self.t)] for u in U2}
        self.u3 = member_set(U3)

    # P1

    def keys(self):
        adverts, leaves = [], []
        for u in U1:
            evidence = fixed(f"evidence of {u}", 40 + u)
            sequence = 10 * u
            content = canonical(
                "consort/round/advert/v1", self.ctx, u, self.mask_public[u], self.share_public[u], sha256(evidence), sequence
            )
            said = signed(self.identity[u], content)
            leaves.append(content + bytes.fromhex(said["signature"]))
            adverts.append(
                {
                    "member": u,
                    "identity_seed": self.identity[u].hex(),
                    "mask_secret": scalar_bytes(self.sigma[u]).hex(),
                    "mask_key": self.mask_public[u].hex(),
                    "share_secret": scalar_bytes(self.e[u]).hex(),
                    "share_key": self.share_public[u].hex(),
                    "evidence": evidence.hex(),
                    "ledger_sequence": sequence,
                    **said,
                }
            )
        root = tree_hash(leaves)
        self.ctx2 = digest("consort/aggregation/round-keys/v1", self.ctx, root)
        ordered = [(u, v) for u in U1 for v in U1]
        self.pair = {(u, v): self.pair_seed(u, v) for u, v in ordered if u < v}
        self.self_seed = {u: self_seed(self.ctx2, self.g[u][0], u) for u in U2}
        point = {(u, v): agreed(self.e[u], self.e[v]) for u, v in ordered if u < v}
        self.point = point | {(v, u): p for (u, v), p in point.items()}
        self.sealing = {(u, v): derive(self.ctx2, self.point[u, v], sealing_info(u, v)) for u, v in ordered if u != v}
        return {
            "ctx": self.ctx.hex(),
            "adverts": adverts,
            "advert_root": root.hex(),
            "ctx2": self.ctx2.hex(),
            "pair_mask_seeds": [
                {"members": [u, v], "info": pair_info(u, v).hex(), "seed": seed.hex()} for (u, v), seed in self.pair.items()
            ],
            "self_mask_seeds": [
                {"member": u, "secret": scalar_bytes(self.g[u][0]).hex(), "info": self_info(u).hex(), "seed": seed.hex()}
                for u, seed in self.self_seed.items()
            ],
            "sealing_keys": [
                {"from": u, "to": v, "info": sealing_info(u, v).hex(), "key": key.hex()} for (u, v), key in self.sealing.items()
            ],
            "member_sets": [{"members": list(s), "hash": member_set(s).hex()} for s in ([], [7], U1, U2, U3)],
        }

    def pair_seed(self, u, v):
        return derive(self.ctx2, agreed(self.sigma[u], self.sigma[v]), pair_info(u, v))

    # P3

    def shares_of(self, owner, x):
        return scalar_bytes(polynomial(self.f[owner], x)), scalar_bytes(polynomial(self.g[owner], x))

    def statement(self, u, boxes):
        commitments = [b"".join(public(a) for a in polynomial) for polynomial in (self.f[u], self.g[u])]
        hashes = [[v, sha256(boxes[v])] for v in sorted(boxes)]
        content = canonical("consort/round/shares/v1", self.ctx2, u, *commitments, *listed(hashes))
        return commitments, signed(self.identity[u], content)

    def boxes(self, u, shares):
        return {v: seal(self.sealing[u, v], self.ctx2, u, v, b"".join(shares(u, v))) for v in U1 if v != u}

    def sharing(self):
        statements = []
        self.said = {}
        for u in U2:
            boxes = self.boxes(u, self.shares_of)
            commitments, said = self.statement(u, boxes)
            self.said[u] = said
            statements.append(
                {
                    "member": u,
                    "mask_key_coefficients": [scalar_bytes(a).hex() for a in self.f[u]],
                    "self_mask_coefficients": [scalar_bytes(a).hex() for a in self.g[u]],
                    "mask_key_commitments": commitments[0].hex(),
                    "self_mask_commitments": commitments[1].hex(),
                    "mask_key_shares": hexes({v: self.shares_of(u, v)[0] for v in U1}),
                    "self_mask_shares": hexes({v: self.shares_of(u, v)[1] for v in U1}),
                    "box_aads": hexes({v: box_aad(self.ctx2, u, v) for v in boxes}),
                    "boxes": hexes(boxes),
                    **said,
                }
            )
        self.shared = {u: bytes.fromhex(said["bytes"]) for u, said in self.said.items()}
        self.u2 = shared_set(self.shared)
        return {"ctx2": self.ctx2.hex(), "threshold": self.t, "statements": statements, "u2_root": self.u2.hex()}

    # P4

    def masked(self, u, integers, width):
        total = list(integers)
        count = len(total)
        streams = [(1, self.self_seed[u])]
        streams += [(1 if u < v else -1, self.pair[min(u, v), max(u, v)]) for v in U2 if v != u]
        for sign_, seed in streams:
            total = [x + sign_ * m for x, m in zip(total, mask(seed, 0, count, width))]
        return packed(total, width)

    def updates(self):
        elements, width = self.terms["elements"], self.terms["width"]
        self.integers, self.seals, updates = {}, {}, []
        for u in U3:
            integers = [int.from_bytes(fixed(f"element {i} of {u}", 4), "little") // 64 - 2**25 for i in range(elements)]
            vector = self.masked(u, integers, width)
            root = tree_hash(chunked(vector))
            content = canonical("consort/round/update/v2", self.ctx2, self.u2, u, root)
            self.integers[u], self.seals[u] = integers, (root, signed(self.identity[u], content))
            updates.append(
                {"member": u, "integers": integers, "masked": vector.hex(), "tree_hash": root.hex(), **self.seals[u][1]}
            )
        return {
            "ctx2": self.ctx2.hex(),
            "u2": U2,
            "u2_root": self.u2.hex(),
            "width": width,
            "updates": updates,
            "narrow": self.narrow(),
        }

    def narrow(self):
        """The same masks in words of 3 bytes, in a vector of another width that no round of this job has."""
        integers = list(range(-18, 19))
        return {"member": 4, "width": 21, "integers": integers, "masked": self.masked(4, integers, 21).hex()}

    # P5 to P7

    def opening(self):
        log_head = bytes.fromhex(self.terms["log_head"])
        leaves = [
            canonical("consort/round/input/v1", u, self.seals[u][0], bytes.fromhex(self.seals[u][1]["signature"])) for u in U3
        ]
        self.inputs_root = inputs_root = tree_hash(leaves)
        survivors = canonical("consort/round/survivors/v1", self.ctx2, self.u3, inputs_root)
        confirmations = []
        for u in U3:
            content = canonical("consort/round/confirmation/v2", self.ctx2, u, self.u2, self.u3, inputs_root, log_head)
            confirmations.append({"member": u, **signed(self.identity[u], content)})
        answers = [self.answer(u, lambda owner: self.shares_of(owner, u)) for u in U3]
        total = [sum(column) for column in zip(*self.integers.values())]
        aggregate = sum_digest(total, self.terms["width"])
        result = canonical("consort/round/result/v1", self.ctx, self.u3, aggregate)
        self.answers = {answer["member"]: answer for answer in answers}
        return {
            "ctx2": self.ctx2.hex(),
            "u2_root": self.u2.hex(),
            "u3": U3,
            "u3_hash": self.u3.hex(),
            "inputs": [leaf.hex() for leaf in leaves],
            "inputs_root": inputs_root.hex(),
            "survivors": signed(self.coordinator, survivors),
            "log_head": log_head.hex(),
            "confirmations": confirmations,
            "answers": answers,
            "opened": {
                "self_mask_secrets": hexes({v: scalar_bytes(self.lagrange(v, 1)) for v in U3}),
                "mask_key_secrets": hexes({v: scalar_bytes(self.lagrange(v, 0)) for v in U2 if v not in U3}),
            },
            "sum": total,
            "packed_sum": packed(total, self.terms["width"]).hex(),
            "sum_digest": aggregate.hex(),
            "result": signed(self.coordinator, result),
        }

    def answer(self, u, shares):
        self_mask = {v: shares(v)[1] for v in U2 if v in U3}
        mask_key = {v: shares(v)[0] for v in U2 if v not in U3}
        lists = [*listed(list(self_mask.items())), *listed(list(mask_key.items()))]
        content = canonical("consort/round/unmask/v2", self.ctx2, self.u2, self.u3, u, *lists)
        return {
            "member": u,
            "self_mask": hexes(self_mask),
            "mask_key": hexes(mask_key),
            **signed(self.identity[u], content),
        }

    def lagrange(self, owner, which):
        """The secret from the shares of the first t survivors, not from the coefficients."""
        holders, secret = U3[: self.t], 0
        for x in holders:
            weight = 1
            for y in holders:
                if y != x:
                    weight = weight * y * pow(y - x, -1, L) % L
            secret += weight * int.from_bytes(self.shares_of(owner, x)[which], "little")
        secret %= L
        assert secret == (self.f, self.g)[which][owner][0]
        return secret

    # Blame

    def blame(self):
        pair = lambda said: [bytes.fromhex(said["bytes"]), bytes.fromhex(said["signature"])]
        two = [
            signed(self.identity[5], canonical("consort/round/update/v2", self.ctx2, self.u2, 5, root))
            for root in (self.seals[5][0], fixed("another tree hash"))
        ]
        contradiction = canonical("consort/round/blame/v1", "contradiction", *pair(two[0]), *pair(two[1]))

        wrong = lambda owner: [scalar_bytes(int.from_bytes(s, "little") + (owner == 4)) for s in self.shares_of(owner, 7)]
        answer = self.answer(7, wrong)
        shared = listed(shared_list(self.shared))
        wrong_share = canonical("consort/round/blame/v2", "wrong-share", *pair(self.said[4]), *pair(answer), *shared)
        # Member 9 confirms the survivors, and then others.
        log_head = bytes.fromhex(self.terms["log_head"])
        sets = lambda u3: canonical(
            "consort/round/confirmation/v2", self.ctx2, 9, self.u2, u3, self.inputs_root, log_head
        )
        confirmed = [signed(self.identity[9], sets(u3)) for u3 in (self.u3, member_set([1, 4, 9]))]
        two_sets = canonical("consort/round/blame/v1", "contradiction", *pair(confirmed[0]), *pair(confirmed[1]))

        # Member 8 seals for 1 a share of its mask key that is one too large; 1 reveals what both agreed on.
        dealt = lambda u, v: [scalar_bytes(int.from_bytes(self.shares_of(u, v)[0], "little") + (v == 1)), self.shares_of(u, v)[1]]
        boxes = self.boxes(8, dealt)
        _, statement = self.statement(8, boxes)
        agreement, proof = self.reveal(1, 8)
        wrong_box = canonical("consort/round/blame/v1", "wrong-box", *pair(statement), boxes[1], 1, agreement)
        return {
            "ctx2": self.ctx2.hex(),
            "agreement": proof,
            "records": [
                {"culprit": 5, "record": contradiction.hex()},
                {"culprit": 7, "record": wrong_share.hex()},
                {"culprit": 8, "record": wrong_box.hex()},
                {"culprit": 9, "record": two_sets.hex()},
            ],
        }

    def reveal(self, v, u):
        """e_v·E_u, and the proof that it is that point."""
        nonce = scalar(f"nonce of {v} against {u}")
        point = self.point[v, u]
        commitments = [public(nonce), public(nonce * self.e[u])]
        transcript = canonical(
            "consort/aggregation/revealed-agreement/v1",
            self.ctx2,
            self.share_public[v],
            self.share_public[u],
            point,
            *commitments,
        )
        challenge = int.from_bytes(hashlib.sha512(sha256(transcript)).digest(), "little") % L
        response = nonce + challenge * self.e[v]
        agreement = point + scalar_bytes(challenge) + scalar_bytes(response)
        return agreement, {
            "by": v,
            "peer": u,
            "nonce": scalar_bytes(nonce).hex(),
            "transcript": transcript.hex(),
            "agreement": agreement.hex(),
        }


def files(agreed):
    opened = complete(agreed)
    attempt = Attempt(agreed, opened)
    return {
        "context": opened,
        "context_sparse": sparse(agreed),
        "keys": attempt.keys(),
        "sharing": attempt.sharing(),
        "updates": attempt.updates(),
        "opening": attempt.opening(),
        "blame": attempt.blame(),
    }
