"""docs/protocol.md, "The vector of a round": the server's step on a decoded sum, each operation rounded to binary32.

A sum, difference, product or quotient of two binary32 numbers that is taken in binary64 and then rounded is the right one
(53 ≥ 2·24 + 2: Figueroa 1995), so Python's floats do.
"""

import math
import struct

from averaging import FEDAVG_JOB, BLOCK, FEDAVG, JOB_ID, f32, pieces, rotation_seed, transform
from contract import JOB, job_bytes, thresholds
from encoding import digest, sha256
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


# --- Adaptive optimizers and schedules -------------------------------------------------------------------------------


def share(schedule, number, rounds):
    """The share of a learning rate in a round."""
    warmup, decay = schedule.get("warmup_rounds", 0), schedule.get("decay", "constant")
    if number <= warmup:
        return f32(number / warmup)
    k = number - 1 - warmup
    if decay == "constant":
        return 1.0
    if "step" in decay:
        left = 1.0
        for _ in range(k // decay["step"]["every"]):
            left = f32(left * f32(decay["step"]["factor"]))
        return left
    n, last = rounds - warmup, f32(decay["cosine"]["last"])
    cosine = f32(whole(4 * (n * n - k * k)) / whole(4 * n * n + k * k))
    return f32(last + f32(f32(1.0 - last) * f32(cosine * cosine)))


def adaptive(a, rates, sign, start, means):
    """FedAdam and FedYogi; the model moves by sign · rate."""
    [(name, terms)] = a["server_optimizer"].items()
    b1, b2, tau = (f32(terms[key]) for key in ("beta1", "beta2", "tau"))
    new1, new2 = f32(1.0 - b1), f32(1.0 - b2)
    theta, first, second = start, [0.0] * len(start), [f32(tau * tau)] * len(start)
    for rate, mean in zip(rates, means):
        squares = [f32(x * x) for x in mean]
        if name == "fedadam":
            second = [f32(f32(b2 * v) + f32(new2 * s)) for v, s in zip(second, squares)]
        else:
            turn = lambda v, s: (v > s) - (v < s)
            second = [f32(v - turn(v, s) * f32(new2 * s)) for v, s in zip(second, squares)]
        first = [f32(f32(b1 * m) + f32(new1 * x)) for m, x in zip(first, mean)]
        # math.sqrt is right in binary64, and 53 ≥ 2·24 + 2 holds for roots too.
        way = [f32(m / f32(f32(math.sqrt(v)) + tau)) for m, v in zip(first, second)]
        theta = [f32(p + sign * f32(rate * w)) for p, w in zip(theta, way)]
        yield {"rate": data([rate]).hex(), **shown(theta, first), "second": data(second).hex()}


def momentum(a, rates, sign, start, means):
    """Momentum under a schedule."""
    share, theta, velocity = f32(a["momentum"]), start, [0.0] * len(start)
    for rate, mean in zip(rates, means):
        velocity = [f32(f32(share * v) + m) for v, m in zip(velocity, mean)]
        theta = [f32(p + sign * f32(rate * v)) for p, v in zip(theta, velocity)]
        yield {"rate": data([rate]).hex(), **shown(theta, velocity)}


def scaffold(a, rates, sign, start, means):
    """SCAFFOLD with 8 of 10 members: the control follows from the average."""
    theta, control, way = start, [0.0] * len(start), f32(a["local_steps"] * f32(a["local_learning_rate"]))
    part = f32(8 / 10)
    for rate, mean in zip(rates, means):
        control = [f32(c - f32(part * f32(c + f32(x / way)))) for c, x in zip(control, mean)]
        theta = [f32(p + sign * f32(rate * x)) for p, x in zip(theta, mean)]
        announced = digest("consort/model/parameters/v1", data(theta + control)).hex()
        yield {"rate": data([rate]).hex(), **shown(theta, mean), "second": data(control).hex(), "announced": announced}


ADAM = {"fedadam": {"beta1": 0.9, "beta2": 0.99, "tau": 0.001}}
YOGI = {"fedyogi": {"beta1": 0.5, "beta2": 0.75, "tau": 0.03}}
STEPS = {"warmup_rounds": 2, "decay": {"step": {"every": 2, "factor": 0.7}}}
COSINE = {"warmup_rounds": 1, "decay": {"cosine": {"last": 0.1}}}

OPTIONS = [
    ("dp_fedsgd", {"momentum": 0.0, "server_optimizer": ADAM}),
    ("dp_fedsgd", {"momentum": 0.0, "server_optimizer": YOGI, "schedule": STEPS}),
    ("dp_fedsgd", {"schedule": COSINE}),
    ("fedavg", {"momentum": 0.0, "server_optimizer": ADAM, "schedule": COSINE}),
    ("fedavg", {"momentum": 0.0, "server_optimizer": YOGI, "local_schedule": STEPS, "proximal": 0.0625}),
    ("fedavg", {"momentum": 0.0, "scaffold": True}),
    ("fedavg", {"schedule": {"warmup_rounds": 3}, "local_schedule": COSINE}),
]


def with_options(start, grid):
    """Six rounds of each kind of job with options, on sums of its own."""
    for number, (algorithm, options) in enumerate(OPTIONS):
        plain = JOB if algorithm == "dp_fedsgd" else FEDAVG_JOB
        a = plain[algorithm] | options | {"rounds": 6}
        job = plain | {algorithm: a}
        numbers = thresholds(len(job["members"]), job["aggregation"]["colluders"], job["aggregation"]["minimum"])
        content = job_bytes(job, numbers)
        rates = [f32(f32(a["learning_rate"]) * share(a.get("schedule", {}), r, 6)) for r in range(1, 7)]
        if algorithm == "dp_fedsgd":
            sums = [drawn(len(start) + 1, 10 * number + r, 2**33) for r in range(6)]
            unit = f32(f32(a["clip"]) / 2**grid)
            means = [[f32(f32(whole(x) * unit) / f32(a["divisor"])) for x in total[:-1]] for total in sums]
        else:
            q = 2 ** (a["value_bits"] - 1) - 1
            sums = [drawn(len(start) + 1, 10 * number + r, 8 * q) for r in range(6)]
            means = [average(total[:-1], 8, rotation_seed(JOB_ID, r)) for r, total in enumerate(sums, 1)]
        move = adaptive if "server_optimizer" in a else scaffold if "scaffold" in a else momentum
        moved = move(a, rates, -1 if algorithm == "dp_fedsgd" else 1, start, means)
        rounds = [{"sum": total, **told} for total, told in zip(sums, moved)]
        local = a.get("local_schedule")
        local = {"local_shares": data([share(local, r, 6) for r in range(1, 7)]).hex()} if local else {}
        told = {"algorithm": algorithm, "options": options | {"rounds": 6}, "job_bytes": content.hex()}
        yield {**told, "job_hash": sha256(content).hex(), **local, "survivors": 8, "rounds": rounds}


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
        "with_options": {"grid_bits": grid, "job": JOB_ID, "cases": list(with_options(start, grid))},
    }
