"""docs/protocol.md, "Inputs" and "One record": a row becomes inputs and a label, and a record a vector of integers.

Gradients are computed here with 60 digits. The page lets implementations differ in the last bit of a gradient, so every
coordinate of every case lies so far from where the next integer begins that binary32 and binary64 come to the same ones; `nearest` asserts it.
"""

import math
import struct
from decimal import Decimal as Real
from decimal import getcontext

from contract import JOB, inputs_of
from layers import Node, apply, count, differentiate
from model import f32
from step import data, floats

getcontext().prec = 60


# --- Inputs ----------------------------------------------------------------------------------------------------------


def level_of(levels, text):
    def same(a, b):
        try:
            return a.strip() == b.strip() or float(a) == float(b)
        except ValueError:
            return False

    return next(i for i, level in enumerate(levels) if same(level, text))


def inputs(features, row):
    values = []
    for feature in features:
        if "numeric" in feature:
            f = feature["numeric"]
            x = (float(row[f["column"]]) - f["center"]) / f["scale"]
            values.append(f32(min(max(x, -f["clip"]), f["clip"])))
        else:
            f = feature["one_hot"]
            own = level_of(f["levels"], row[f["column"]])
            values += [1.0 if i == own else -1.0 for i in range(1, len(f["levels"]))]
    return values


def label(target, text):
    """The label of a value, as binary32 holds it."""
    if "positive_above" in target:
        return float(float(text) > target["positive_above"])
    if "classes" in target:
        return float(level_of(target["classes"], text))
    if "number" in target:
        least, most = target["number"]["least"], target["number"]["most"]
        return f32((min(max(float(text), least), most) - least) / (most - least))
    return f32(min(float(text), target["count"]["most"]))


def rows():
    """Records of the agreed job's schema, of one whose levels are numbers, and of every target."""
    schema, column = JOB["data"], JOB["data"]["target"]["column"]
    cases = []
    for age, ward, target in [("70", "b", "1"), ("62.5", "a", "0"), ("1e9", "chirurgie-é", "0.5"), ("-40", "a", "0.75")]:
        cases.append((schema, {"age": age, "ward": ward, column: target}))
    stages = {"features": [{"one_hot": {"column": "stage", "levels": ["0", "1", "2"]}}], "target": schema["target"], "missing": "refuse"}
    cases += [(stages, {"stage": stage, column: "3"}) for stage in ("0.0", "1", "2.00")]
    feature = [{"numeric": {"column": "x", "center": 0.0, "scale": 2.0, "clip": 1.0}}]
    targets = [
        ({"classes": ["benign", "malignant", "3"]}, ["malignant", "3.0", "benign"]),
        ({"number": {"least": 25.0, "most": 346.0}}, ["151", "25", "1000", "-3.5"]),
        ({"count": {"most": 12}}, ["0", "7", "13"]),
    ]
    for kind, values in targets:
        schema = {"features": feature, "target": {"column": "y", **kind}, "missing": "refuse"}
        cases += [(schema, {"x": "1", "y": value}) for value in values]
    return [
        {
            "data": data_,
            "row": row,
            "inputs": data(inputs(data_["features"], row)).hex(),
            "label": label(data_["target"], row[data_["target"]["column"]]),
        }
        for data_, row in cases
    ]


# --- One record ------------------------------------------------------------------------------------------------------


def judge(loss, outputs, label):
    """The loss, and its derivative by each output."""
    if loss == "cross_entropy":
        label = int(label)
        shares = [output.exp() for output in outputs]
        deltas = [share / sum(shares) - (place == label) for place, share in enumerate(shares)]
        return sum(shares).ln() - outputs[label], deltas
    [z] = outputs
    if loss == "squared_error":
        return (z - label) ** 2 / 2, [z - label]
    if loss == "poisson":
        return z.exp() - label * z - label + (label * label.ln() if label else 0), [z.exp() - label]
    return (1 + (-abs(z)).exp()).ln() + max(z, Real(0)) - label * z, [1 / (1 + (-z).exp()) - label]


def cap(loss, outputs):
    """L: the most of a record's loss that is counted."""
    if loss == "cross_entropy":
        return Real(round(2 * math.log2(outputs) * 1024)) / 1024
    return {"binary_cross_entropy": Real(2), "squared_error": Real("0.5"), "poisson": Real(4)}[loss]


def gradient(case, parameters, x):
    """The gradient in the order of the parameters, the loss, and the most of it that is counted."""
    parameters, taken = [Node(p) for p in parameters], 0

    def take(count):
        nonlocal taken
        taken += count
        return parameters[taken - count : taken]

    outputs = apply(case["layers"], [Node(v) for v in x], (len(x),), take)
    assert taken == len(parameters)
    loss, deltas = judge(case["loss"], [output.value for output in outputs], Real(case["label"]))
    differentiate(Node(loss, list(zip(outputs, deltas))))
    return [p.slope for p in parameters], loss, cap(case["loss"], len(outputs))


def integers(case):
    """The record's vector on the grid: (gradient, loss coordinate)."""
    x = floats(bytes.fromhex(case["inputs"]))
    if not all(abs(v) < float("inf") for v in x):
        return [0] * (len(bytes.fromhex(case["parameters"])) // 4 + 1)
    parameters = [Real(p) for p in floats(bytes.fromhex(case["parameters"]))]
    found, loss, most_counted = gradient(case, parameters, [Real(v) for v in x])
    clip, weight = Real(f32(case["clip"])), Real(case["loss_weight"])
    whole = Real(2) ** case["grid_bits"]
    units = [g * whole / clip for g in found]
    room = whole * (1 - weight**2).sqrt()
    most = max(room - Real(len(units)).sqrt() / 2, room / 2)
    length = sum(u * u for u in units).sqrt()
    scale = most / length if length > most else Real(1)
    vector = [nearest(u * scale) for u in units] + [truncated(min(loss, most_counted) * weight * whole / most_counted)]
    assert sum(v * v for v in vector) <= 4 ** case["grid_bits"]
    return vector


# What a dozen binary32 operations may be off by, and what is left of the bound for it.
SLACK = Real(2) ** -18


def nearest(units):
    """The nearest integer, which is the same whatever binary32 does."""
    off = abs(units) * SLACK
    found = int((units - off).to_integral_value())
    assert found == int((units + off).to_integral_value()), units
    return found


def truncated(units):
    """Towards zero, the same whatever binary32 does, but for 0, which it gives exactly."""
    assert units == 0 or abs(units - units.to_integral_value()) > abs(units) * SLACK, units
    return int(units)


LOGISTIC = [{"dense": {"outputs": 1}}]


def cases():
    relu = [{"dense": {"outputs": 2}}, "relu", {"dense": {"outputs": 1}}]
    tanh_ = [{"dense": {"outputs": 2}}, "tanh", {"dense": {"outputs": 1}}]
    image = lambda channels, height, width: {"image": {"channels": channels, "height": height, "width": width}}
    convolution = [image(2, 3, 3), {"conv2d": {"outputs": 2, "kernel": 2}}, "relu", "max_pool", "flatten", *LOGISTIC]
    block = {"residual": {"layers": [{"conv2d": {"outputs": 1, "kernel": 3, "padding": 1}}, "tanh"]}}
    padded = [image(1, 3, 4), block, "max_pool", "flatten", *LOGISTIC]
    norm = [{"residual": {"layers": ["layer_norm", {"dense": {"outputs": 3}}, "tanh"]}}, *LOGISTIC]
    columns = [{"first": 1, "levels": 4, "outputs": 2}, {"first": 5, "levels": 2, "outputs": 3}]
    embedding = [{"embedding": {"columns": columns}}, *LOGISTIC]
    wave = lambda n, step=0.7: [f32(math.sin(1 + i * step)) for i in range(n)]
    infinite = [0.5, struct.unpack("<f", bytes.fromhex("0000807f"))[0]]
    rule = lambda clip, weight, grid: {"clip": clip, "loss_weight": weight, "grid_bits": grid}
    made = [
        # The first round of a logistic model: the logit is 0. Within the norm.
        ("at rest", LOGISTIC, [0.0] * 4, [0.5, -1.0, 1.0], 1, rule(4.0, 0.0, 16)),
        ("at rest, clipped", LOGISTIC, [0.0] * 4, [0.53, -1.0, 1.0], 0, rule(0.75, 0.25, 12)),
        ("within the norm", LOGISTIC, [0.25, -0.5, 0.125, 0.0625], [0.53, -1.0, 1.0], 1, rule(3.3, 0.25, 12)),
        ("a loss above its cap", LOGISTIC, [2.5, -1.0, 0.5, 1.0], [2.75, -1.0, -1.0], 0, rule(0.75, 0.3, 12)),
        ("relu", relu, [0.5, -0.25, 0.75, 1.5, 0.125, -0.375, 1.25, -0.625, 0.1875], [1.5, -0.7], 1, rule(0.75, 0.25, 12)),
        ("tanh", tanh_, [0.5, -0.25, 0.75, 1.5, 0.125, -0.375, 1.25, -0.625, 0.1875], [1.5, -0.7], 0, rule(2.9, 0.4, 12)),
        ("not finite", LOGISTIC, [0.0] * 3, infinite, 1, rule(0.75, 0.25, 12)),
        ("convolution", convolution, wave(count(convolution, 18)), wave(18, 0.9), 1, rule(0.75, 0.3, 12)),
        ("zeros around and a block", padded, wave(count(padded, 12)), wave(12, 0.9), 0, rule(1.9, 0.3, 12)),
        ("layer norm in a block", norm, wave(count(norm, 3)), [0.53, -1.25, 1.5], 1, rule(2.6, 0.0, 12)),
        ("embedding", embedding, wave(count(embedding, 6)), [0.75, -1.0, 1.0, -1.0, -0.5, -1.0], 0, rule(1.3, 0.3, 12)),
        ("embedding of first levels", embedding, wave(count(embedding, 6)), [0.75, -1.0, -1.0, -1.0, -0.5, 1.0], 1, rule(0.3, 0.3, 12)),
    ]
    made = [(*case, "binary_cross_entropy") for case in made]
    three = [{"dense": {"outputs": 3}}]
    hidden = [{"dense": {"outputs": 2}}, "tanh", {"dense": {"outputs": 4}}]
    deep = [0.5, -0.25, 0.75, 1.5, 0.125, -0.375, 1.25, -0.625, 0.1875, 0.3125, -0.5, 0.75, -1.0, 0.4375, 0.25, -0.125, 0.0625, 0.375]
    made += [
        ("classes at rest", three, [0.0] * 9, [0.53, -1.0], 2, rule(3.3, 0.25, 12), "cross_entropy"),
        ("classes, clipped", hidden, deep, [1.5, -0.7], 1, rule(0.75, 0.4, 12), "cross_entropy"),
        ("classes, a loss above its cap", three, [2.5, -1.0, 0.5, 1.0, 0.25, -2.0, 0.0, 0.0, 0.125], [2.75, -1.0], 1, rule(0.75, 0.3, 12), "cross_entropy"),
        ("a number", LOGISTIC, [0.25, -0.5, 0.125], [0.53, -1.0], 0.3125, rule(1.1, 0.25, 12), "squared_error"),
        ("a number, a loss above its cap", LOGISTIC, [0.75, -1.5, 0.125], [0.53, -1.0], 0.0, rule(0.75, 0.3, 12), "squared_error"),
        ("a count", LOGISTIC, [0.25, -0.5, 0.8125], [0.53, -1.0], 5, rule(3.3, 0.25, 12), "poisson"),
        ("a count, none of it", LOGISTIC, [0.25, -0.5, -1.8125], [0.53, -1.0], 0, rule(1.3, 0.25, 12), "poisson"),
        ("a count, a loss above its cap", LOGISTIC, [0.25, -0.5, 0.125], [0.53, -1.0], 17, rule(0.75, 0.3, 12), "poisson"),
    ]
    cases = []
    for name, layers, parameters, x, label, rule_, loss in made:
        case = {"case": name, "layers": layers, "loss": loss, "parameters": data(parameters).hex(), "inputs": data(x).hex(), "label": label, **rule_}
        cases.append({**case, "integers": integers(case)})
    return cases


def file():
    assert len(bytes.fromhex(rows()[0]["inputs"])) == 4 * inputs_of(JOB["data"]["features"])
    return {"rows": rows(), "records": cases()}
