"""docs/protocol.md, "Questions", and docs/statistics.md, "What is summed, exactly": a record becomes a query vector of integers.

Every operation is one of binary64 or a rounding to binary32, so that all but the scores, which take an exponential, are the same on
every machine.
"""

import math

from contract import JOB, agreement, job_bytes, plan, schema_hash, thresholds
from gradient import cap, inputs, label
from model import f32
from step import data

GRID_BITS = 20
ASKED = {key: value for key, value in JOB.items() if key not in ("model", "dp_fedsgd")}
NUMBER, CATEGORY = "age", "ward"

STATS_JOB = {
    **ASKED,
    "stats": {
        "queries": [
            {"mean": {"column": NUMBER}},
            {"variance": {"column": NUMBER, "weight": 0.5}},
            {"histogram": {"column": NUMBER, "bins": 5}},
            {"quantiles": {"column": NUMBER, "bins": 8, "at": [0.25, 0.5]}},
            {"categories": {"column": CATEGORY, "weight": 3.0}},
            {"categories": {"column": JOB["data"]["target"]["column"]}},
        ],
        "count_weight": 2.0,
        "max_records_per_member": 1000,
    },
}

EVALUATE_JOB = {
    **ASKED,
    "model": {"layers": [{"dense": {"outputs": 1}}], "loss": "binary_cross_entropy"},
    "evaluate": {
        "model_of": "job-1",
        "parameters": "5a" * 32,
        "threshold": 0.375,
        "bins": 4,
        "weights": {"count": 1.0, "confusion": 2.0, "scores": 1.5, "loss": 0.5},
        "max_records_per_member": 1000,
    },
}


NAMES = ["home", "ward", "chirurgie-é"]
KINDS = [
    ({"classes": NAMES}, "cross_entropy", len(NAMES), 0.5),
    ({"classes": [str(place) for place in range(40)]}, "cross_entropy", 40, 0.5),
    ({"number": {"least": -10.0, "most": 30.0}}, "squared_error", 1, 1.0),
    ({"count": {"most": 12}}, "poisson", 1, 1.0),
]


def evaluate_job(kind, loss, outputs, confusion):
    """The evaluation of a model with another target."""
    asked = {key: value for key, value in EVALUATE_JOB["evaluate"].items() if key not in ("threshold", "bins")}
    data = {**JOB["data"], "target": {"column": JOB["data"]["target"]["column"], **kind}}
    model = {"layers": [{"dense": {"outputs": outputs}}], "loss": loss}
    return {**ASKED, "data": data, "model": model, "evaluate": {**asked, "weights": {**asked["weights"], "confusion": confusion}}}


def factors(weights):
    """a_i of blocks with these weights."""
    total = 0.0
    for weight in weights:
        total += weight * weight
    return [f32(weight / math.sqrt(total) * (1 - 2.0**-20)) for weight in weights]


def vector(blocks, weights):
    """Blocks of values, each times its factor, as binary32."""
    return [f32(value * factor) for values, factor in zip(blocks, factors(weights)) for value in values]


def one_of(count, place):
    return [float(i == place) for i in range(count)]


def bin_of(t, bins):
    return min(max(int(math.floor((t + 1.0) / 2.0 * bins)), 0), bins - 1)


def bounded(row, column):
    """t: the number between its bounds."""
    [feature] = [f for f in JOB["data"]["features"] if f.get("numeric", {}).get("column") == column]
    [value] = inputs([feature], row)
    return min(max(value / feature["numeric"]["clip"], -1.0), 1.0)


def label_of(row):
    target = JOB["data"]["target"]
    return int(float(row[target["column"]]) > target["positive_above"])


def stats_blocks(row):
    blocks, weights = [[1.0]], [STATS_JOB["stats"]["count_weight"]]
    for query in STATS_JOB["stats"]["queries"]:
        [(kind, q)] = query.items()
        weights.append(q.get("weight", 1.0))
        if kind == "mean":
            blocks.append([bounded(row, q["column"])])
        elif kind == "variance":
            t, share = bounded(row, q["column"]), math.sqrt(0.5)
            blocks.append([t * share, t * t * share])
        elif kind in ("histogram", "quantiles"):
            blocks.append(one_of(q["bins"], bin_of(bounded(row, q["column"]), q["bins"])))
        elif q["column"] == JOB["data"]["target"]["column"]:
            blocks.append(one_of(2, label_of(row)))
        else:
            [feature] = [f["one_hot"] for f in JOB["data"]["features"] if f.get("one_hot", {}).get("column") == q["column"]]
            blocks.append(one_of(len(feature["levels"]), feature["levels"].index(row[q["column"]])))
    return blocks, weights


def evaluate_blocks(row, logit):
    a, positive = EVALUATE_JOB["evaluate"], label_of(row)
    small = math.exp(-abs(logit))
    score = (small if logit < 0 else 1.0) / (1.0 + small)
    called = score >= a["threshold"]
    cell = {(True, 1): 0, (True, 0): 1, (False, 1): 2, (False, 0): 3}[called, positive]
    place = bin_of(2.0 * score - 1.0, a["bins"]) + positive * a["bins"]
    loss = max(logit, 0.0) - positive * logit + math.log1p(small)
    blocks = [[1.0], one_of(4, cell), one_of(2 * a["bins"], place), [min(loss, 2.0) / 2.0]]
    return blocks, [a["weights"][name] for name in ("count", "confusion", "scores", "loss")]


def judged_blocks(job, y, outputs):
    """The blocks of an evaluation whose target is not binary."""
    target, weights = job["data"]["target"], job["evaluate"]["weights"]
    most = float(cap(job["model"]["loss"], len(outputs)))
    if "classes" in target:
        k, y = len(target["classes"]), int(y)
        called, top = outputs.index(max(outputs)), max(outputs)
        loss = math.log(sum(math.exp(z - top) for z in outputs)) - (outputs[y] - top)
        table = one_of(k * k, y * k + called) if k <= 32 else one_of(2 * k, 2 * y + (called != y))
        names = ("count", "confusion", "scores", "loss")
        return [[1.0], table, [float(called == y)], [min(loss, most) / most]], [weights[name] for name in names]
    [z] = outputs
    if "number" in target:
        distance = abs(min(max(z, 0.0), 1.0) - y)
        blocks = [[1.0], [distance], [distance * distance]]
    else:
        bound = float(target["count"]["most"])
        loss = math.exp(z) + (y * (math.log(y) - z - 1.0) if y else 0.0)
        blocks = [[1.0], [abs(min(math.exp(z), bound) - y) / bound], [min(max(loss, 0.0), most) / most]]
    return blocks, [weights[name] for name in ("count", "scores", "loss")]


def judged(kind, loss, outputs, confusion):
    job, records = evaluate_job(kind, loss, outputs, confusion), []
    target = job["data"]["target"]
    values = target.get("classes") or (["3.5", "30", "-99"] if "number" in target else ["0", "7", "40"])
    for i, value in enumerate([values[0], values[1], values[-1]]):
        y = label(target, value)
        given = [((7 * i + 3 * place) % 11) / 4.0 - 1.25 for place in range(outputs)]
        found = integers(*judged_blocks(job, y, given))
        records.append({"label": y, "outputs": given, "integers": found})
    return {**agreed(job, len(records[0]["integers"])), "records": records}


def integers(blocks, weights):
    row = vector(blocks, weights)
    assert sum(value * value for value in row) <= 1
    found = [int(value * 2**GRID_BITS) for value in row]
    assert sum(value * value for value in found) <= 4**GRID_BITS
    return found


def agreed(job, coordinates):
    numbers = thresholds(len(job["members"]), job["aggregation"]["colluders"], job["aggregation"]["minimum"])
    content = job_bytes(job, numbers)
    planned = plan(job, numbers, 60_000, GRID_BITS, coordinates)
    return agreement(job, content, planned, schema_hash(planned["elements"], planned["width_bits"]))


ROWS = [
    ({NUMBER: "70", CATEGORY: "b"}, "1", -0.25),
    ({NUMBER: "62.5", CATEGORY: "a"}, "0", 0.0),
    ({NUMBER: "1e9", CATEGORY: "chirurgie-é"}, "0.5", 7.5),
    ({NUMBER: "-40", CATEGORY: "a"}, "0.75", -1.75),
]


def file():
    target = JOB["data"]["target"]["column"]
    records = []
    for fields, outcome, logit in ROWS:
        row = {**fields, target: outcome}
        records.append(
            {
                "row": row,
                "inputs": data(inputs(JOB["data"]["features"], row)).hex(),
                "label": label_of(row),
                "logit": logit,
                "stats": integers(*stats_blocks(row)),
                "evaluate": integers(*evaluate_blocks(row, logit)),
            }
        )
    first = records[0]
    return {
        "stats": agreed(STATS_JOB, len(first["stats"])),
        "evaluate": agreed(EVALUATE_JOB, len(first["evaluate"])),
        "records": records,
        "judged": [judged(*kind) for kind in KINDS],
    }
