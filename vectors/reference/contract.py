"""docs/protocol.md, "Numbers", "Roster", "Manifest" and "Before a round": thresholds, roster, manifests, job, plan, votes."""

import math
import struct
from fractions import Fraction

from encoding import canonical, digest, fixed, identity, listed, schema_hash, sha256, sign, signed
from layers import count as parameter_count
from layers import parts as layer_parts

CLINICS = ["aachen", "bergen", "bergen-2", "cork", "delft", "evora", "fano", "ghent", "huelva", "ivrea"]


def real(value):
    return struct.pack(">d", value)


# --- Numbers ---------------------------------------------------------------------------------------------------------


def tail(population, marked, draws, least):
    """P[H >= least] for the hypergeometric H: marked ones among `draws` of `population`."""
    cases = sum(math.comb(marked, i) * math.comb(population - marked, draws - i) for i in range(max(0, least), draws + 1))
    return Fraction(cases, math.comb(population, draws))


def circle(n, c, d, fewest):
    """The smallest h with the smallest m."""
    for h in range(1, fewest):
        if 2 * h >= fewest:
            break
        for m in range(1, h + 1):
            if n * tail(fewest, c, h, m) <= Fraction(1, 2**104):
                break
        else:
            continue
        if n * tail(n, d, h, h - m + 1) <= Fraction(1, 2**20):
            return h, m
    raise ValueError("no circle")


def thresholds(n, colluders=None, minimum=None, dropouts=None):
    c = max(1, (n - 1) // 3) if colluders is None else colluders
    t = (n + c) // 2 + 1
    numbers = {"n": n, "c": c, "t": t}
    if n <= 256:
        n_min = max(3, t) if minimum is None else minimum
    else:
        d = min(n // 20, n - (max(3, t) if minimum is None else minimum)) if dropouts is None else dropouts
        n_min = max(t, n - d) if minimum is None else minimum
    numbers["n_min"] = n_min
    numbers["fewest_survivors"] = max(t, n_min, c + 2)
    numbers["confirmation_quorum"] = t
    numbers["share_threshold"] = t
    if n > 256:
        h, m = circle(n, c, d, numbers["fewest_survivors"])
        numbers.update(d=d, h=h, m=m, share_threshold=2 * m - 1)
    return numbers


def threshold_parts(numbers):
    parts = [numbers[name] for name in ("n", "c", "t", "n_min")]
    if numbers["n"] > 256:
        parts += ["harary", numbers["d"], numbers["h"], numbers["m"]]
    return parts


# --- Roster ----------------------------------------------------------------------------------------------------------


def seeds():
    """The identity seeds of the coordinator and the members."""
    return {name: fixed(f"identity of {name}") for name in ["coordinator", *CLINICS]}


def entry(name, seed):
    return {"identity": identity(seed), "chip_id": fixed(f"chip of {name}", 64), "host_data": fixed(f"host of {name}")}


def roster(seeds):
    members = {name: entry(name, seed) for name, seed in seeds.items() if name != "coordinator"}
    coordinator = entry("coordinator", seeds["coordinator"])
    fields = lambda e: [e["identity"], e["chip_id"], e["host_data"]]
    content = canonical(
        "consort/roster/v1",
        "north-sea",
        1,
        *fields(coordinator),
        *listed([name, *fields(members[name])] for name in sorted(members)),
    )
    text = lambda e: {name: value.hex() for name, value in e.items()}
    file = {
        "document": {
            "consortium": "north-sea",
            "version": 1,
            "coordinator": text(coordinator),
            "members": {name: text(members[name]) for name in sorted(members)},
        },
        "signatures": {name: sign(seeds[name], content).hex() for name in sorted(members)},
    }
    return {"file": file, "bytes": content.hex(), "root": sha256(content).hex()}


# --- Manifest --------------------------------------------------------------------------------------------------------

POLICIES = ["[trust]\nroots = []\n", "# no Milan\n[trust]\nroots = []\n"]


def manifest(root, seeds, signers, version, policy, previous, lists):
    content = canonical(
        "consort/manifest/v1",
        "north-sea",
        root,
        version,
        6,
        *listed([] if previous is None else [previous]),
        policy,
        *listed(lists),
    )
    file = {
        "document": {
            "consortium": "north-sea",
            "roster": root.hex(),
            "version": version,
            "threshold": 6,
            "previous": None if previous is None else previous.hex(),
            "policy": policy,
            "revocation_lists": [one.hex() for one in lists],
        },
        "signatures": {name: sign(seeds[name], content).hex() for name in signers},
    }
    return {"file": file, "bytes": content.hex(), "hash": sha256(content).hex()}


def manifests(root, seeds):
    """Genesis, signed by all, and the one that follows, signed by as many as genesis asks for. What is in a list, nobody looks at here."""
    genesis = manifest(root, seeds, CLINICS, 1, POLICIES[0], None, [])
    lists = [fixed("a revocation list", 40), fixed("another revocation list", 50)]
    return [genesis, manifest(root, seeds, CLINICS[4:], 5, POLICIES[1], bytes.fromhex(genesis["hash"]), lists)]


# --- Job -------------------------------------------------------------------------------------------------------------

JOB = {
    "name": "readmission",
    "purpose": "quality-of-care",
    "dataset": "discharges-2031",
    "members": CLINICS,
    "data": {
        "features": [
            {"numeric": {"column": "age", "center": 62.5, "scale": 14.25, "clip": 3.0}},
            {"one_hot": {"column": "ward", "levels": ["a", "b", "chirurgie-é"]}},
        ],
        "target": {"column": "back within 30 days", "positive_above": 0.5},
        "missing": "drop_row",
    },
    "model": {
        "layers": [{"dense": {"outputs": 4}}, "relu", {"dense": {"outputs": 1}}],
        "loss": "binary_cross_entropy",
        "seed": fixed("model seed").hex(),
    },
    "dp_fedsgd": {
        "rounds": 3,
        "clip": 0.75,
        "learning_rate": 0.1,
        "momentum": 0.9,
        "divisor": 1234.5,
        "loss_weight": 0.25,
        "max_records_per_member": 1000,
    },
    "privacy": {"epsilon": 1.5, "delta": 1e-5, "c_noise": 2},
    "aggregation": {"colluders": 1, "minimum": 7},
    "deadlines": {
        "voting_ms": 60001,
        "joining_ms": 1001,
        "sharing_ms": 1002,
        "collecting_ms": 60002,
        "confirming_ms": 1003,
        "unmasking_ms": 1004,
    },
}


def inputs_of(features):
    return sum(1 if "numeric" in f else len(f["one_hot"]["levels"]) - 1 for f in features)


def feature_parts(feature):
    if "numeric" in feature:
        f = feature["numeric"]
        return ["numeric", f["column"], real(f["center"]), real(f["scale"]), real(f["clip"])]
    f = feature["one_hot"]
    return ["one_hot", f["column"], *listed(f["levels"])]


NO_MODEL = {"layers": [], "loss": "binary_cross_entropy", "seed": "00" * 32}


def model_bytes(job):
    model = job.get("model", NO_MODEL)
    return spec_bytes(inputs_of(job["data"]["features"]), model["layers"], model["loss"])


def spec_bytes(inputs, layers, loss):
    return canonical("consort/model/spec/v1", inputs, *listed([layer_parts(layer) for layer in layers]), loss)


def dp_fedsgd_parts(a):
    reals = [real(a[name]) for name in ("clip", "learning_rate", "momentum", "divisor", "loss_weight")]
    return [a["rounds"], *reals, a["max_records_per_member"]]


def fedavg_parts(a):
    return [
        "fedavg",
        a["rounds"],
        a["local_steps"],
        *[real(a[name]) for name in ("clip", "local_learning_rate", "local_divisor", "loss_weight")],
        a["max_records_per_member"],
        real(a["update_clip"]),
        real(a["value_range"]),
        a["value_bits"],
        a["rotation"],
        real(a["learning_rate"]),
        real(a["momentum"]),
    ]


def stats_parts(a):
    def query_parts(query):
        [(kind, q)] = query.items()
        return [kind, q["column"], real(q.get("weight", 1.0)), q.get("bins", 0), *listed(real(at) for at in q.get("at", []))]

    return [
        "stats",
        real(a.get("count_weight", 1.0)),
        a["max_records_per_member"],
        *listed(query_parts(query) for query in a["queries"]),
    ]


def evaluate_parts(a):
    weights = [real(a["weights"][name]) for name in ("count", "confusion", "scores", "loss")]
    hashed = bytes.fromhex(a["parameters"])
    return ["evaluate", a["model_of"], hashed, real(a["threshold"]), a["bins"], *weights, a["max_records_per_member"]]


ALGORITHMS = {"dp_fedsgd": dp_fedsgd_parts, "fedavg": fedavg_parts, "stats": stats_parts, "evaluate": evaluate_parts}


def algorithm_of(job):
    [name] = [name for name in ALGORITHMS if name in job]
    return name, job[name]


def schedule_parts(label, schedule):
    decay = schedule.get("decay", "constant")
    if decay == "constant":
        fall = ["constant"]
    elif "step" in decay:
        fall = ["step", decay["step"]["every"], real(decay["step"]["factor"])]
    else:
        fall = ["cosine", real(decay["cosine"]["last"])]
    return [label, schedule.get("warmup_rounds", 0), *fall]


def option_parts(a):
    """What stands at the end of a job that asks for it, in this order."""
    parts = []
    if "server_optimizer" in a:
        [(name, terms)] = a["server_optimizer"].items()
        parts += ["server_optimizer", name, *[real(terms[key]) for key in ("beta1", "beta2", "tau")]]
    for label in ("schedule", "local_schedule"):
        if label in a:
            parts += schedule_parts(label, a[label])
    if "proximal" in a:
        parts += ["proximal", real(a["proximal"])]
    if a.get("scaffold"):
        parts += ["scaffold"]
    if "sampling" in a:
        parts += ["sampling", real(a["sampling"]["rate"]), a["sampling"]["max_batch"]]
    return parts


def asked_parts(asks):
    """What a job asks of its members' data and machines, each under a name of its own, in this order."""
    names = ["memory_bytes", "storage_bytes", "network_bits_per_second", "genuine_hardware", "metrics"]
    labels = {"key_rotation_days": "data_access.encryption", **{name: f"requirements.{name}" for name in names}}
    return [part for name, label in labels.items() if name in asks for part in (label, asks[name])]


def job_bytes(job, numbers, asks={}):
    data, privacy = job["data"], job["privacy"]
    name, algorithm = algorithm_of(job)
    return canonical(
        "consort/contract/job/v1",
        job["name"],
        job["purpose"],
        job["dataset"],
        *listed(sorted(job["members"])),
        data["missing"],
        data["target"]["column"],
        real(data["target"]["positive_above"]),
        *listed(feature_parts(f) for f in data["features"]),
        model_bytes(job),
        bytes.fromhex(job.get("model", NO_MODEL).get("seed", NO_MODEL["seed"])),
        *ALGORITHMS[name](algorithm),
        real(privacy["epsilon"]),
        real(privacy["delta"]),
        privacy["c_noise"],
        *threshold_parts(numbers),
        *[job["deadlines"][f"{phase}_ms"] for phase in ("voting", "joining", "sharing", "collecting", "confirming", "unmasking")],
        *option_parts(algorithm),
        *asked_parts(asks),
    )


def parameters(job):
    return parameter_count(job["model"]["layers"], inputs_of(job["data"]["features"]))


def plan(job, numbers, s, g, coordinates=None):
    """What follows from the noise multiplier s/10 000 and the grid of g bits; for a job that asks, with the coordinates of its query."""
    _, a = algorithm_of(job)
    elements = parameters(job) + 1 if coordinates is None else coordinates
    rounds = a.get("rounds", 1) * a.get("local_steps", 1)
    # What sampled batches cost takes an accountant of its own (docs/privacy.md); the numbers that follow from sigma do not.
    delta = lambda epsilon, mu: normal(mu / 2 - epsilon / mu) - math.exp(epsilon) * normal(-mu / 2 - epsilon / mu)
    normal = lambda x: math.erfc(-x / math.sqrt(2)) / 2
    assert "sampling" in a or delta(job["privacy"]["epsilon"], math.sqrt(rounds) / (s / 10_000)) <= job["privacy"]["delta"]
    contributors = 1 if "fedavg" in job else numbers["n_min"] - job["privacy"]["c_noise"]
    variance = -(-(s**2 * 2 ** (2 * g)) // (10**8 * contributors))
    assert 2**40 <= variance <= 2**54
    if "fedavg" in job:
        most, bound = numbers["n"] * (2 ** (a["value_bits"] - 1) - 1), 0
        return planned(s, g, variance, bound, elements, most)
    k = math.sqrt(2 * (math.log(2 * numbers["n"] * elements * rounds) + 40 * math.log(2)))
    bound = math.ceil(k * math.sqrt(variance)) + 1
    largest = a["sampling"]["max_batch"] if "sampling" in a else a["max_records_per_member"]
    most = numbers["n"] * (largest * 2**g + bound)
    return planned(s, g, variance, bound, elements, most)


def planned(s, g, variance, bound, elements, most):
    return {
        "sigma_ten_thousandths": s,
        "grid_bits": g,
        "member_variance": variance,
        "noise_bound": bound,
        "elements": elements,
        "width_bits": 1 + most.bit_length(),
    }


def contract_bytes(job_hash, plan, schema):
    names = ("sigma_ten_thousandths", "grid_bits", "member_variance", "noise_bound")
    return canonical("consort/contract/v1", job_hash, *[plan[name] for name in names], schema)


# --- Votes -----------------------------------------------------------------------------------------------------------

JOB_ID = "readmission-1"


def vote(seed, organisation, contract, reason):
    content = canonical("consort/contract/vote/v1", JOB_ID, organisation, contract, int(reason is None), reason or "")
    return {"organisation": organisation, "approve": reason is None, "reason": reason or "", **signed(seed, content)}


def votes_hash(votes):
    ordered = sorted(votes, key=lambda vote: vote["organisation"])
    return digest("consort/contract/votes/v1", *listed([v["organisation"], bytes.fromhex(v["signature"])] for v in ordered))


ASKED = [
    {"n": 3},
    {"n": 4},
    {"n": 8, "colluders": 1},
    {"n": 20},
    {"n": 256},
    {"n": 100, "colluders": 10, "minimum": 90},
    {"n": 300, "colluders": 10},
    {"n": 500, "colluders": 25, "dropouts": 20},
    {"n": 1000, "colluders": 100},
    {"n": 1024, "colluders": 50, "minimum": 900},
]


def sampled(numbers):
    """The same job with sampled batches."""
    a = JOB["dp_fedsgd"] | {"rounds": 100, "sampling": {"rate": 0.05, "max_batch": 120}}
    job = JOB | {"dp_fedsgd": a}
    content = job_bytes(job, numbers)
    # That this noise keeps the promise, the test that reads this job finds with the accountant for sampled batches.
    planned = plan(job, numbers, 30_000, 20)
    return agreement(job, content, planned, schema_hash(planned["elements"], planned["width_bits"]))


def agreement(job, content, planned, schema):
    """What members of a job come to, as the files have it."""
    contract = contract_bytes(sha256(content), planned, schema)
    return {
        "job": job,
        "model_bytes": model_bytes(job).hex(),
        "job_bytes": content.hex(),
        "job_hash": sha256(content).hex(),
        "plan": planned,
        "schema_hash": schema.hex(),
        "contract_bytes": contract.hex(),
        "contract_hash": sha256(contract).hex(),
    }


def file():
    secrets = seeds()
    numbers = thresholds(len(JOB["members"]), JOB["aggregation"]["colluders"], JOB["aggregation"]["minimum"])
    content = job_bytes(JOB, numbers)
    planned = plan(JOB, numbers, 90_000, 18)
    schema = schema_hash(planned["elements"], planned["width_bits"])
    agreed = contract_bytes(sha256(content), planned, schema)
    contract = sha256(agreed)
    votes = [vote(secrets[name], name, contract, None) for name in CLINICS]
    agreed_roster = roster(secrets)
    return {
        "thresholds": [{"asked": asked, "numbers": thresholds(**asked)} for asked in ASKED],
        "identity_seeds": {name: seed.hex() for name, seed in secrets.items()},
        "roster": agreed_roster,
        "manifests": manifests(bytes.fromhex(agreed_roster["root"]), secrets),
        "job_id": JOB_ID,
        "job": JOB,
        "model_bytes": model_bytes(JOB).hex(),
        "job_bytes": content.hex(),
        "job_hash": sha256(content).hex(),
        "plan": planned,
        "schema_hash": schema.hex(),
        "contract_bytes": agreed.hex(),
        "contract_hash": contract.hex(),
        "votes": votes,
        "votes_hash": votes_hash(votes).hex(),
        "sampled": sampled(numbers),
        "refusal": vote(secrets["cork"], "cork", contract, "ε is too large for us"),
    }
