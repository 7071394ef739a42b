"""docs/protocol.md, "The vector of a round": the parameters with which a job starts, and their hash."""

import math
import struct

from contract import inputs_of, spec_bytes
from encoding import digest
from layers import elements, name_of, trained


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
    return parameters_of(job["model"]["layers"], inputs_of(job["data"]["features"]), bytes.fromhex(job["model"]["seed"]))


def parameters_of(layers, inputs, seed):
    draws, parameters = stream(seed), []
    single = len(layers) == 1 and name_of(layers[0]) == "dense"

    def uniform(shape, fan):
        bound = f32(math.sqrt(f32(6 / f32(fan))))
        drawn = (0.0 if single else f32(bound * f32((2 * next(draws) + 1 - 2**24) / 2**24)) for _ in range(elements(shape)))
        parameters.extend(drawn)

    for name, tensors, before_relu in trained(layers, (inputs,)):
        if name == "embedding":
            for table in tensors:
                uniform(table, 1 + table[1])
        elif name == "layer_norm":
            parameters += [1.0] * elements(tensors[0]) + [0.0] * elements(tensors[1])
        else:
            weight, bias = tensors
            *field, entering, leaving = weight
            uniform(weight, elements(field) * (entering if before_relu else entering + leaving))
            parameters += [0.0] * elements(bias)
    return b"".join(struct.pack("<f", value) for value in parameters)


# Every kind of layer, with what enters the model.
IMAGE = {"image": {"channels": 1, "height": 6, "width": 5}}
LAYERS = [
    (30, [IMAGE, {"conv2d": {"outputs": 3, "kernel": 3}}, "relu", "max_pool", "layer_norm", "flatten", {"dense": {"outputs": 1}}]),
    (30, [IMAGE, {"residual": {"layers": [{"conv2d": {"outputs": 1, "kernel": 3, "padding": 1}}, "tanh"]}}, "flatten", {"dense": {"outputs": 1}}]),
    (6, [{"embedding": {"columns": [{"first": 1, "levels": 4, "outputs": 2}, {"first": 5, "levels": 2, "outputs": 3}]}}, {"dense": {"outputs": 1}}]),
]


def file(job):
    """The model of the agreed job, one before a tanh with more draws, a single layer, and models with every kind of layer."""
    inputs, seed, loss = inputs_of(job["data"]["features"]), job["model"]["seed"], job["model"]["loss"]
    dense = [
        (inputs, job["model"]["layers"]),
        (inputs, [{"dense": {"outputs": 5}}, "tanh", {"dense": {"outputs": 3}}, "relu", {"dense": {"outputs": 1}}]),
        (inputs, [{"dense": {"outputs": 1}}]),
    ]
    cases = []
    for inputs, layers in dense + LAYERS:
        parameters = parameters_of(layers, inputs, bytes.fromhex(seed))
        cases.append(
            {
                "inputs": inputs,
                "layers": layers,
                "loss": loss,
                "model_bytes": spec_bytes(inputs, layers, loss).hex(),
                "seed": seed,
                "parameters": parameters.hex(),
                "model_hash": digest("consort/model/parameters/v1", parameters).hex(),
            }
        )
    return {"initial": cases}
