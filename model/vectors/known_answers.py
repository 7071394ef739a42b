"""Known answers of consort-model, computed independently of it (Python 3, standard library only).

Prints the hash of the initial parameters of the network 100-64-relu-1 with seed 07..07, and the hash of the
optimizer state after five steps of the rule pinned in src/step.rs. Every f32 operation is one rounded f64 operation.
"""
import hashlib
import math
import struct


def f32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def part(data):
    return struct.pack(">I", len(data)) + data


def integer(value):
    return part(struct.pack(">Q", value))


def little_endian(values):
    return part(struct.pack("<%df" % len(values), *values))


def uniform(seed):
    block = 0
    while True:
        words = hashlib.sha256(part(b"consort/model/initial/v1") + part(seed) + integer(block)).digest()
        block += 1
        for at in range(0, 32, 4):
            yield (2 * int.from_bytes(words[at : at + 3], "big") + 1 - 2**24) / 2**24


def initial():
    stream = uniform(bytes([7] * 32))
    before_relu = f32(math.sqrt(f32(6 / 100)))
    output = f32(math.sqrt(f32(6 / 65)))
    values = [f32(next(stream) * before_relu) for _ in range(6400)] + [0.0] * 64
    return values + [f32(next(stream) * output) for _ in range(64)] + [0.0]


def five_steps():
    rate, momentum, unit, divisor = f32(0.1), f32(0.9), f32(f32(1.3) / 2**22), 569.0
    parameters, velocity = [1.0, -2.0], [0.0, 0.0]
    for step in range(5):
        for i, total in enumerate([1234567 * step, -7654321]):
            gradient = f32(f32(f32(total) * unit) / divisor)
            velocity[i] = f32(f32(momentum * velocity[i]) + gradient)
            parameters[i] = f32(parameters[i] - f32(rate * velocity[i]))
    return little_endian(parameters) + little_endian(velocity)


print("initial", hashlib.sha256(part(b"consort/model/parameters/v1") + little_endian(initial())).hexdigest())
print("steps  ", hashlib.sha256(part(b"consort/model/state/v1") + five_steps()).hexdigest())
