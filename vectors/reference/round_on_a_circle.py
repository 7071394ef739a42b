"""One attempt of a job of 257 members on a circle: everybody's secrets come from a rule that the README states, three members are
shown in full, and what all others say is in the hashes.

One member does not join, one does not share, one does not submit and one does not confirm.
"""

from contract import thresholds
from encoding import (
    canonical,
    chunked,
    digest,
    identity,
    listed,
    member_set,
    packed,
    sha256,
    shared_set,
    signed,
    sum_digest,
    tree_hash,
)
from masking import agreed, derive, mask, pair_info, polynomial, public, seal, sealing_info, self_info, self_seed
from ristretto255 import L, scalar_bytes
from round_of_ten import announce, hexes

N, ABSENT = 257, 100
COHORT = range(1, N + 1)


def drawn(kind, u, k=0):
    return digest("consort/vectors/circle/v1", kind, u, k)


def scalar(kind, u, k=0):
    """Below the order of the group: the four highest bits are cleared."""
    return int.from_bytes(drawn(kind, u, k), "little") % 2**252


def element(u, i):
    return int.from_bytes(drawn("element", u, i)[:4], "big") - 2**31


def terms():
    names = {u: f"member-{u:03}" for u in COHORT}
    cohort = [{"index": u, "organisation": names[u], "identity": identity(drawn("identity", u)).hex()} for u in COHORT]
    about = {name: digest("consort/vectors/circle/v1", name).hex() for name in ("roster_root", "contract", "votes", "model", "log_head")}
    return {
        "consortium": "north-sea",
        "job": "wide-1",
        "round": 2,
        "attempt": 3,
        "thresholds": thresholds(N, 1, dropouts=3),
        "cohort": cohort,
        "elements": 9,
        "width": 41,
        **about,
    }


class Circle:
    def __init__(self, opened):
        self.ctx, self.terms = bytes.fromhex(opened["ctx"]), opened["terms"]
        self.h, self.t = (self.terms["thresholds"][name] for name in ("h", "share_threshold"))
        self.coordinator = bytes.fromhex(opened["coordinator_seed"])
        self.u1 = [u for u in COHORT if u != ABSENT]
        self.sigma = {u: scalar("mask key", u) for u in self.u1}
        self.e = {u: scalar("share key", u) for u in self.u1}
        self.mask_key = {u: public(self.sigma[u]) for u in self.u1}
        self.f = {u: [self.sigma[u]] + [scalar("mask key", u, k) for k in range(1, self.t)] for u in self.u1}
        self.g = {u: [scalar("self-mask", u, k) for k in range(self.t)] for u in self.u1}
        self.advertise()
        self.seat()

    def signed(self, u, content):
        return signed(drawn("identity", u), content)

    # P1

    def advertise(self):
        self.adverts = {}
        for u in self.u1:
            share_key, evidence = public(self.e[u]), drawn("evidence", u)
            said = self.signed(u, canonical("consort/round/advert/v1", self.ctx, u, self.mask_key[u], share_key, sha256(evidence), u))
            self.adverts[u] = {
                "member": u,
                "identity_seed": drawn("identity", u).hex(),
                "mask_secret": scalar_bytes(self.sigma[u]).hex(),
                "mask_key": self.mask_key[u].hex(),
                "share_secret": scalar_bytes(self.e[u]).hex(),
                "share_key": share_key.hex(),
                "evidence": evidence.hex(),
                "ledger_sequence": u,
                **said,
            }
        self.root = tree_hash([bytes.fromhex(a["bytes"] + a["signature"]) for a in self.adverts.values()])
        self.ctx2 = digest("consort/aggregation/round-keys/v1", self.ctx, self.root)

    def seat(self):
        """Who is whose neighbour; and the parts, taken along the circle from member 1 on so that they meet in its neighbourhood."""
        self.seats = sorted(self.u1, key=lambda u: digest("consort/aggregation/seat/v1", self.ctx2, u))
        place = {u: i for i, u in enumerate(self.seats)}
        around = lambda u, k: self.seats[(place[u] + k) % len(self.seats)]
        self.near = {u: [around(u, k) for k in range(-self.h, self.h + 1) if k] for u in self.u1}
        self.unshared, self.unsent, self.silent = around(1, 1), around(1, -2), around(1, 3)
        self.u2 = [u for u in self.u1 if u != self.unshared]
        self.u3 = [u for u in self.u2 if u != self.unsent]
        # A neighbour of all of them; one whose vector and shares came to others; the first seat, whose neighbours are the last.
        self.shown = [1, self.unsent, self.seats[0]]
        assert len(set(self.shown)) == 3 and self.seats[0] in self.u3

    # P3

    def shares(self, owner, x):
        return scalar_bytes(polynomial(self.f[owner], x)), scalar_bytes(polynomial(self.g[owner], x))

    def state(self, u):
        """What u says in P3, with all that is behind it."""
        key = lambda v: derive(self.ctx2, agreed(self.e[u], self.e[v]), sealing_info(u, v))
        boxes = {v: seal(key(v), self.ctx2, u, v, b"".join(self.shares(u, v))) for v in sorted(self.near[u])}
        commitments = [b"".join(public(a) for a in coefficients) for coefficients in (self.f[u], self.g[u])]
        hashes = listed([v, sha256(box)] for v, box in boxes.items())
        holders = sorted([u, *self.near[u]])
        return {
            "member": u,
            "mask_key_coefficients": [scalar_bytes(a).hex() for a in self.f[u]],
            "self_mask_coefficients": [scalar_bytes(a).hex() for a in self.g[u]],
            "mask_key_commitments": commitments[0].hex(),
            "self_mask_commitments": commitments[1].hex(),
            "mask_key_shares": hexes({v: self.shares(u, v)[0] for v in holders}),
            "self_mask_shares": hexes({v: self.shares(u, v)[1] for v in holders}),
            "boxes": hexes(boxes),
            **self.signed(u, canonical("consort/round/shares/v1", self.ctx2, u, *commitments, *hashes)),
        }

    def sharing(self):
        said = {u: self.state(u) for u in self.u2}
        self.u2_root = shared_set({u: bytes.fromhex(statement["bytes"]) for u, statement in said.items()})
        shown = [said[u] for u in self.shown]
        return {"ctx2": self.ctx2.hex(), "threshold": self.t, "statements": shown, "u2_root": self.u2_root.hex()}

    # P4

    def pair(self, u, v):
        return derive(self.ctx2, agreed(self.sigma[u], self.sigma[v]), pair_info(u, v))

    def own(self, u):
        return self_seed(self.ctx2, self.g[u][0], u)

    def masked(self, u, integers):
        streams = [(1, self.own(u))] + [(1 if u < v else -1, self.pair(u, v)) for v in self.near[u] if v in self.u2]
        for sign_, seed in streams:
            integers = [x + sign_ * m for x, m in zip(integers, mask(seed, 0, len(integers), self.terms["width"]))]
        return packed(integers, self.terms["width"])

    def updates(self):
        self.integers, self.seals, shown = {}, {}, []
        for u in self.u3:
            integers = [element(u, i) for i in range(self.terms["elements"])]
            vector = self.masked(u, integers)
            root = tree_hash(chunked(vector))
            said = self.signed(u, canonical("consort/round/update/v2", self.ctx2, self.u2_root, u, root))
            self.integers[u], self.seals[u] = integers, (root, said)
            if u in self.shown:
                shown.append({"member": u, "integers": integers, "masked": vector.hex(), "tree_hash": root.hex(), **said})
        return {"ctx2": self.ctx2.hex(), "u2_root": self.u2_root.hex(), "width": self.terms["width"], "updates": shown}

    # P5 to P7

    def opening(self):
        u3, log_head = member_set(self.u3), bytes.fromhex(self.terms["log_head"])
        leaf = lambda u: canonical("consort/round/input/v1", u, self.seals[u][0], bytes.fromhex(self.seals[u][1]["signature"]))
        inputs_root = tree_hash([leaf(u) for u in self.u3])
        confirm = lambda u: canonical("consort/round/confirmation/v2", self.ctx2, u, self.u2_root, u3, inputs_root, log_head)
        shown = [u for u in self.shown if u in self.u3]
        total = [sum(column) for column in zip(*self.integers.values())]
        aggregate = sum_digest(total, self.terms["width"])
        seal_of = lambda u: {"member": u, "tree_hash": self.seals[u][0].hex(), **self.seals[u][1]}
        return {
            "ctx2": self.ctx2.hex(),
            "u2_root": self.u2_root.hex(),
            "u3_hash": u3.hex(),
            "inputs_root": inputs_root.hex(),
            "survivors": signed(self.coordinator, canonical("consort/round/survivors/v1", self.ctx2, u3, inputs_root)),
            "log_head": log_head.hex(),
            "confirmations": [{"member": u, **self.signed(u, confirm(u))} for u in shown],
            # Member 1 is told, with the confirmations, the seal of its neighbour that did not confirm.
            "seals": [{"told": 1, "seals": [seal_of(self.silent)]}],
            "answers": [self.answer(u, u3) for u in shown],
            "opened": {
                "self_mask_secrets": hexes({v: self.opened(v, 1) for v in shown}),
                "mask_key_secrets": hexes({v: self.opened(v, 0) for v in self.u2 if v not in self.u3}),
            },
            "sum": total,
            "packed_sum": packed(total, self.terms["width"]).hex(),
            "sum_digest": aggregate.hex(),
            "result": signed(self.coordinator, canonical("consort/round/result/v1", self.ctx, u3, aggregate)),
        }

    def answer(self, u, u3):
        owners = sorted([u, *self.near[u]])
        self_mask = {v: self.shares(v, u)[1] for v in owners if v in self.u3}
        mask_key = {v: self.shares(v, u)[0] for v in owners if v in self.u2 and v not in self.u3}
        lists = [*listed(list(self_mask.items())), *listed(list(mask_key.items()))]
        said = self.signed(u, canonical("consort/round/unmask/v2", self.ctx2, self.u2_root, u3, u, *lists))
        return {"member": u, "self_mask": hexes(self_mask), "mask_key": hexes(mask_key), **said}

    def opened(self, owner, which):
        """The secret from as many shares as open it, of holders that answered, not from the coefficients."""
        holders = [v for v in sorted([owner, *self.near[owner]]) if v in self.u3 and v != self.silent][: self.t]
        secret = 0
        for x in holders:
            weight = 1
            for y in holders:
                if y != x:
                    weight = weight * y * pow(y - x, -1, L) % L
            secret += weight * int.from_bytes(self.shares(owner, x)[which], "little")
        assert secret % L == (self.f, self.g)[which][owner][0]
        return scalar_bytes(secret)

    def keys(self):
        """Seeds of the shown members with their neighbours in U2, and the public keys of those neighbours."""
        pairs = sorted({(min(u, v), max(u, v)) for u in self.shown for v in self.near[u] if v in self.u2})
        peers = sorted({v for u in self.shown for v in self.near[u]} - set(self.shown))
        public_keys = ("member", "mask_key", "share_key")
        return {
            "ctx": self.ctx.hex(),
            "adverts": [self.adverts[u] for u in self.shown],
            "peers": [{name: self.adverts[v][name] for name in public_keys} for v in peers],
            "advert_root": self.root.hex(),
            "ctx2": self.ctx2.hex(),
            "seats": self.seats,
            "neighbours": {str(u): sorted(self.near[u]) for u in self.shown},
            "pair_mask_seeds": [
                {"members": [u, v], "info": pair_info(u, v).hex(), "seed": self.pair(u, v).hex()} for u, v in pairs
            ],
            "self_mask_seeds": [
                {"member": u, "secret": scalar_bytes(self.g[u][0]).hex(), "info": self_info(u).hex(), "seed": self.own(u).hex()}
                for u in self.shown
            ],
        }


def file():
    opened = announce(terms(), drawn("identity", 0))
    circle = Circle(opened)
    # The cohort follows from the rule, and the encoding holds it.
    brief = {**opened, "terms": {name: value for name, value in opened["terms"].items() if name != "cohort"}}
    brief.pop("context_bytes")
    absent = {"joins": ABSENT, "shares": circle.unshared, "submits": circle.unsent, "confirms": circle.silent}
    content = {"context": brief, "never": absent, "keys": circle.keys(), "sharing": circle.sharing()}
    return {**content, "updates": circle.updates(), "opening": circle.opening()}
