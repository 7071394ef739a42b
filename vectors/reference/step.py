"""docs/protocol.md, "The vector of a round": the server's step on a decoded sum, each operation rounded to binary32.

A sum, difference, product or quotient of two binary32 numbers that is taken in binary64 and then rounded is the right one
(53 ≥ 2·24 + 2: Figueroa 1995), so Python's floats do.
"""

import struct

from averaging import BLOCK, FEDAVG, JOB_ID, f32, pieces, rotation_seed, transform
from encoding import digest
from masking import mask


def floats(data):
    return list(struct.unpack(f"<{len(data) // 4}f", data))


def data(values):
    return b"".join(struct.pack("<f", value) for value in values)


def whole(integer):
    """An integer as binary32: through binary64, which holds it exactly."""
    assert abs(integer) <= 2**53
    return f32(float(integer))


def shown(parameters, velocity):
    return {
        "velocity": data(velocity).hex(),
        "parameters": data(parameters).hex(),
        "model_hash": digest("consort/model/parameters/v1", data(parameters)).hex(),
    }


def by_gradient(job, grid_bits, start, sums):
    """dp_fedsgd: momentum on the mean gradient. The last element of a sum is the loss, which moves nothing."""
    a = {name: f32(job["dp_fedsgd"][name]) for name in ("clip", "divisor", "learning_rate", "momentum")}
    unit = f32(a["clip"] / 2**grid_bits)
    theta, velocity, rounds = start, [0.0] * len(start), []
    for total in sums:
        mean = [f32(f32(whole(x) * unit) / a["divisor"]) for x in total[:-1]]
        velocity = [f32(f32(a["momentum"] * v) + m) for v, m in zip(velocity, mean)]
        theta = [f32(p - f32(a["learning_rate"] * v)) for p, v in zip(theta, velocity)]
        rounds.append({"sum": total, "mean": data(mean).hex(), **shown(theta, velocity)})
    return rounds


def average(total, survivors, seed):
    """The integers of all coordinates but the loss as the survivors' average: scaled, and rotated back."""
    unit = FEDAVG["value_range"] / (2 ** (FEDAVG["value_bits"] - 1) - 1) / survivors
    values = [f32(x * unit) for x in total]
    turned = [x for a, b in pieces(len(values)) for x in transform(values[a:b])]
    signs = mask(seed, 0, (len(values) + 31) // 32, 32)
    return [-v if signs[i // 32] >> (i % 32) & 1 else v for i, v in enumerate(turned)]


def by_average(start, sums):
    """fedavg: momentum on the average update."""
    a = {name: f32(FEDAVG[name]) for name in ("learning_rate", "momentum")}
    theta, velocity, rounds = start, [0.0] * len(start), []
    for number, (survivors, total) in enumerate(sums, 1):
        mean = average(total[:-1], survivors, rotation_seed(JOB_ID, number))
        velocity = [f32(f32(a["momentum"] * v) + m) for v, m in zip(velocity, mean)]
        theta = [f32(p + f32(a["learning_rate"] * v)) for p, v in zip(theta, velocity)]
        told = {"survivors": survivors, "sum": total, "average": data(mean).hex()}
        rounds.append({"round": number, **told, **shown(theta, velocity)})
    return rounds


def drawn(elements, round_, most):
    """Integers of both signs up to `most`, spread over all magnitudes."""
    return [((i + 7 * round_) * 2654435761 % (2 * most + 1) - most) >> (5 * (i % 4)) for i in range(elements)]


def file(agreed, starts, opened_sum):
    """From the model with which the job starts; the first sum is that of the attempt in `opening`."""
    grid, start = agreed["plan"]["grid_bits"], floats(bytes.fromhex(starts["initial"][0]["parameters"]))
    elements, q = len(start) + 1, 2 ** (FEDAVG["value_bits"] - 1) - 1
    sums = [opened_sum, drawn(elements, 1, 2**40), drawn(elements, 2, 2**31)]
    averaged = [(7, drawn(elements, 3, 7 * q)), (10, drawn(elements, 4, 10 * q)), (8, drawn(elements, 5, 8 * q))]
    assert elements < BLOCK
    return {
        "start": data(start).hex(),
        "by_gradient": {"grid_bits": grid, "rounds": by_gradient(agreed["job"], grid, start, sums)},
        "by_average": {"job": JOB_ID, "rounds": by_average(start, averaged)},
    }
