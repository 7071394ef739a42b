"""The records of one organisation and their clipped sum (docs/protocol.md, "What a vector is")."""

import csv
import math
import struct

from contract import Refused, narrow

LOSS_CAP = 2.0  # of binary_cross_entropy, the one loss that this participant trains


def load(path, contract):
    """Rows of (inputs, label)."""
    data, rows = contract.spec.data, []
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            used = [f.numeric.column or f.one_hot.column for f in data.features] + [data.target.column]
            if any(row[column] in ("", "?") for column in used):
                if data.missing == 2:
                    continue
                raise Refused("a value is missing")
            inputs = [x for feature in data.features for x in _inputs(feature, row)]
            rows.append((inputs, 1.0 if float(row[data.target.column]) > data.target.positive_above else 0.0))
    if not 1 <= len(rows) <= contract.spec.dp_fedsgd.max_records_per_member:
        raise Refused("the number of records does not fit the job")
    return rows


def _inputs(feature, row):
    if feature.HasField("numeric"):
        f = feature.numeric
        return [min(max((float(row[f.column]) - f.center) / f.scale, -f.clip), f.clip)]
    f = feature.one_hot
    same = [_same_level(level, row[f.column]) for level in f.levels]
    if True not in same:
        raise Refused("a value is none of the levels")
    level = same.index(True)
    return [1.0 if index == level else -1.0 for index in range(1, len(f.levels))]


def _same_level(left, right):
    left, right = left.strip(), right.strip()
    try:
        return left == right or float(left) == float(right)
    except ValueError:
        return False


def clipped_sum(contract, parameters, rows):
    """Each record's gradient and loss, clipped together to 2^grid_bits units, as integers; then their sum."""
    clip, weight = narrow(contract.spec.dp_fedsgd.clip), contract.spec.dp_fedsgd.loss_weight
    network, units = _unpacked(contract, parameters), float(1 << contract.grid_bits)
    room = units * math.sqrt(1 - weight * weight)
    longest = max(room - math.sqrt(contract.parameters) / 2, room / 2) * (1 - 2.0**-29)
    total = [0] * contract.elements
    for inputs, label in rows:
        logit, gradient = _gradient(network, inputs, label)
        loss = max(logit, 0.0) - label * logit + math.log1p(math.exp(-abs(logit)))
        length = math.hypot(*gradient) * units / clip
        if not math.isfinite(length + loss):
            continue
        factor = (longest / length if length > longest else 1.0) * units / clip
        record = [round(g * factor) for g in gradient]
        record.append(int(min(max(loss, 0.0), LOSS_CAP) * weight * units / LOSS_CAP))
        if sum(x * x for x in record) <= 1 << 2 * contract.grid_bits:
            total = [a + b for a, b in zip(total, record)]
    return total


def _unpacked(contract, parameters):
    """One (kind, rows of the weight by input, bias) for each layer."""
    values, network, start = struct.unpack(f"<{contract.parameters}f", parameters), [], 0
    for kind, inputs, outputs in contract.layers:
        weight, bias = [], []
        if kind == "dense":
            weight = [values[start + i * outputs : start + (i + 1) * outputs] for i in range(inputs)]
            bias = values[start + inputs * outputs : start + (inputs + 1) * outputs]
            start += (inputs + 1) * outputs
        network.append((kind, weight, bias))
    return network


def _gradient(network, inputs, label):
    """The logit of one record, and the gradient of its loss in the order of the parameters."""
    passed = [list(inputs)]
    for kind, weight, bias in network:
        x = passed[-1]
        if kind == "dense":
            y = list(bias)
            for value, row in zip(x, weight):
                y = [a + value * w for a, w in zip(y, row)]
        else:
            y = [max(a, 0.0) if kind == "relu" else math.tanh(a) for a in x]
        passed.append(y)
    logit = passed[-1][0]
    delta = [(1 / (1 + math.exp(-logit)) if logit >= 0 else math.exp(logit) / (1 + math.exp(logit))) - label]
    parts = []
    for (kind, weight, _), x, y in zip(reversed(network), reversed(passed[:-1]), reversed(passed[1:])):
        if kind == "dense":
            parts.append([value * d for value in x for d in delta] + delta)
            delta = [sum(w * d for w, d in zip(row, delta)) for row in weight]
        elif kind == "relu":
            delta = [d if a > 0 else 0.0 for d, a in zip(delta, x)]
        else:
            delta = [d * (1 - b * b) for d, b in zip(delta, y)]
    return logit, [value for part in reversed(parts) for value in part]

