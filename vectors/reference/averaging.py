"""docs/protocol.md, "Before a round" and "The vector of a round" for fedavg: a job, its contract, and an update on its way into the ring."""

import math
import struct

from contract import JOB, agreement, job_bytes, plan, thresholds
from encoding import digest, fixed, packed
from masking import mask

JOB_ID = "readmission-2"
ROUND = 2
BLOCK = 4096

FEDAVG = {
    "rounds": 3,
    "local_steps": 4,
    "clip": 0.75,
    "local_learning_rate": 0.1,
    "local_divisor": 123.5,
    "loss_weight": 0.25,
    "max_records_per_member": 1000,
    "update_clip": 2.0,
    "value_range": 1.5,
    "value_bits": 12,
    "rotation": "hadamard",
    "learning_rate": 0.875,
    "momentum": 0.25,
}


FEDAVG_JOB = {name: value for name, value in JOB.items() if name != "dp_fedsgd"} | {"fedavg": FEDAVG}


def f32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def rotation_seed(job, number):
    return digest("consort/aggregation/rotation/v1", job, number)


def transform(values):
    """The Walsh-Hadamard transform of a power of two of values, over its root; each operation rounded to f32."""
    values, half = list(values), 1
    while half < len(values):
        for start in range(0, len(values), 2 * half):
            for i in range(start, start + half):
                a, b = values[i], values[i + half]
                values[i], values[i + half] = f32(a + b), f32(a - b)
        half *= 2
    scale = f32(1.0 / f32(math.sqrt(len(values))))
    return [f32(v * scale) for v in values]


def pieces(length):
    """Blocks of 4096; the last is cut into powers of two, the largest first."""
    start = 0
    while start < length:
        block = min(BLOCK, length - start)
        piece = 1 << (block.bit_length() - 1)
        yield start, start + piece
        start += piece


def rotated(values, seed):
    # Words of 32 bits of the keystream, as masks use them.
    signs = mask(seed, 0, (len(values) + 31) // 32, 32)
    flipped = [-v if signs[i // 32] >> (i % 32) & 1 else v for i, v in enumerate(values)]
    return [x for a, b in pieces(len(values)) for x in transform(flipped[a:b])]


def rounded(value, scale, word, q):
    x = min(max(value * scale, -float(q)), float(q))
    u = (word + 0.5) / 2**32
    return min(max(math.floor(x + u), -q), q)


def encoded(values, a, seed, rounding):
    q = 2 ** (a["value_bits"] - 1) - 1
    factor = min(1.0, a["update_clip"] / math.sqrt(math.fsum(v * v for v in values)))
    scale = factor / (a["value_range"] / q)
    drawn = mask(rounding, 0, len(values), 32)
    return [rounded(v, scale, word, q) for v, word in zip(rotated(values, seed), drawn)]


def update(elements, multiplier, scale):
    """Element i is (i·multiplier mod 2^16 - 2^15)·scale/2^15: a number that f32 holds exactly."""
    return [((i * multiplier) % 2**16 - 2**15) * scale / 2**15 for i in range(elements)]


def example(elements, multiplier, scale):
    values, rounding = update(elements, multiplier, scale), fixed(f"rounding of {elements}")
    integers = encoded(values, FEDAVG, rotation_seed(JOB_ID, ROUND), rounding)
    told = {"elements": elements, "multiplier": multiplier, "scale": scale}
    return {"update": told, "rounding_seed": rounding.hex(), "packed": packed(integers, FEDAVG["value_bits"]).hex()}


def file():
    job = FEDAVG_JOB
    numbers = thresholds(len(job["members"]), job["aggregation"]["colluders"], job["aggregation"]["minimum"])
    content = job_bytes(job, numbers)
    planned = plan(job, numbers, 180_000, 16)
    q = 2 ** (FEDAVG["value_bits"] - 1) - 1
    schema = digest("consort/aggregation/vector-schema/v1", planned["elements"], planned["width_bits"], "fixed_point", q, "hadamard")
    return agreement(job, content, planned, schema) | {
        "rotation_seed": {"job": JOB_ID, "round": ROUND, "seed": rotation_seed(JOB_ID, ROUND).hex()},
        # Clipped; not clipped; more than a block.
        "updates": [example(29, 40503, 1.0), example(29, 40503, 0.25), example(4107, 40503, 0.0625)],
    }
