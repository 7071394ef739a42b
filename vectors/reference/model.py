"""docs/protocol.md, "The vector of a round": the parameters with which a job starts, and their hash."""

import math
import struct

from contract import inputs_of
from encoding import digest


def f32(value):
    """Rounded to the nearest binary32; a root or quotient of such numbers in binary64 rounds to the right one."""
    return struct.unpack("<f", struct.pack("<f", value))[0]


def stream(seed):
    """24 bits of every four bytes."""
    block = 0
    while True:
        data = digest("consort/model/initial/v1", seed, block)
        for i in range(0, 32, 4):
            yield int.from_bytes(data[i : i + 3], "big")
        block += 1


def initial(job):
    layers, seed = job["model"]["layers"], bytes.fromhex(job["model"]["seed"])
    draws, parameters, inputs = stream(seed), [], inputs_of(job["data"]["features"])
    single = sum(isinstance(layer, dict) for layer in layers) == 1
    for place, layer in enumerate(layers):
        if not isinstance(layer, dict):
            continue
        outputs = layer["dense"]["outputs"]
        before_relu = layers[place + 1 : place + 2] == ["relu"]
        bound = f32(math.sqrt(f32(6 / (inputs if before_relu else inputs + outputs))))
        for _ in range(inputs * outputs):
            parameters.append(0.0 if single else f32(bound * f32((2 * next(draws) + 1 - 2**24) / 2**24)))
        parameters += [0.0] * outputs
        inputs = outputs
    return b"".join(struct.pack("<f", value) for value in parameters)


def file(job):
    """The model of the agreed job, one before a tanh with more draws, and a single layer."""
    cases = []
    for layers in (
        job["model"]["layers"],
        [{"dense": {"outputs": 5}}, "tanh", {"dense": {"outputs": 3}}, "relu", {"dense": {"outputs": 1}}],
        [{"dense": {"outputs": 1}}],
    ):
        case = {**job, "model": {**job["model"], "layers": layers}}
        parameters = initial(case)
        cases.append(
            {
                "inputs": inputs_of(job["data"]["features"]),
                "layers": layers,
                "loss": job["model"]["loss"],
                "seed": job["model"]["seed"],
                "parameters": parameters.hex(),
                "model_hash": digest("consort/model/parameters/v1", parameters).hex(),
            }
        )
    return {"initial": cases}
