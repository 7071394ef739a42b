"""docs/protocol.md, "Models": what the layers of a model are in bytes, which parameters they have, and what they compute.

Gradients follow from a graph of scalars by the chain rule, node by node; nothing here is fast, and nothing is shared with the code that is.
"""

import math
from decimal import Decimal as Real

FIELDS = {"dense": ["outputs"], "image": ["channels", "height", "width"], "conv2d": ["outputs", "kernel", "padding"]}


def name_of(layer):
    return layer if isinstance(layer, str) else next(iter(layer))


def parts(layer):
    """The parts of a layer in the canonical encoding of its model."""
    name = name_of(layer)
    if isinstance(layer, str):
        return [name]
    if name == "embedding":
        columns = layer[name]["columns"]
        return [name, len(columns), *[c[field] for c in columns for field in ("first", "levels", "outputs")]]
    if name == "residual":
        inner = layer[name]["layers"]
        return [name, len(inner), *[part for one in inner for part in parts(one)]]
    return [name, *[layer[name].get(field, 0) for field in FIELDS[name]]]


def elements(shape):
    return math.prod(shape)


def after(layer, shape):
    """The shape of what leaves a layer: (elements,) or (height, width, channels)."""
    name = name_of(layer)
    if name == "dense":
        assert len(shape) == 1
        return (layer[name]["outputs"],)
    if name == "image":
        image = layer[name]
        made = (image["height"], image["width"], image["channels"])
        assert elements(made) == elements(shape)
        return made
    if name == "conv2d":
        c = layer[name]
        height, width = [side + 2 * c.get("padding", 0) - c["kernel"] + 1 for side in shape[:2]]
        return (height, width, c["outputs"])
    if name == "max_pool":
        return (shape[0] // 2, shape[1] // 2, shape[2])
    if name == "flatten":
        return (elements(shape),)
    if name == "embedding":
        return (shape[0] + sum(c["outputs"] - (c["levels"] - 1) for c in layer[name]["columns"]),)
    assert name in ("relu", "tanh", "layer_norm", "residual"), name
    return shape


def trained(layers, shape):
    """For each layer with parameters, in order: its name, the shapes of its tensors, and whether a ReLU is the next of its list."""
    found = []
    for place, layer in enumerate(layers):
        name, next_ = name_of(layer), layers[place + 1 : place + 2]
        output = after(layer, shape)
        tensors = []
        if name == "dense":
            tensors = [(shape[0], output[0]), output]
        elif name == "conv2d":
            kernel = layer[name]["kernel"]
            tensors = [(kernel, kernel, shape[2], output[2]), output[2:]]
        elif name == "layer_norm":
            tensors = [shape, shape]
        elif name == "embedding":
            tensors = [(c["levels"], c["outputs"]) for c in layer[name]["columns"]]
        elif name == "residual":
            found += trained(layer[name]["layers"], shape)
        if tensors:
            found.append((name, tensors, next_ == ["relu"]))
        shape = output
    return found


def count(layers, inputs):
    """How many parameters a model has."""
    return sum(elements(tensor) for _, tensors, _ in trained(layers, (inputs,)) for tensor in tensors)


# --- What they compute -----------------------------------------------------------------------------------------------


class Node:
    """A number, and by how much it moves with each of those that it was made of."""

    def __init__(self, value, made_of=()):
        self.value, self.made_of, self.slope = value, made_of, Real(0)

    def __add__(self, other):
        return Node(self.value + other.value, [(self, 1), (other, 1)])

    def __sub__(self, other):
        return Node(self.value - other.value, [(self, 1), (other, -1)])

    def __mul__(self, other):
        return Node(self.value * other.value, [(self, other.value), (other, self.value)])

    def times(self, number):
        return Node(self.value * number, [(self, number)])

    def through(self, value, slope):
        return Node(value, [(self, slope)])


def total(nodes):
    nodes = list(nodes)
    return Node(sum((node.value for node in nodes), Real(0)), [(node, 1) for node in nodes])


def differentiate(end):
    """Leaves in each node by how much `end` moves with it."""
    order, seen, stack = [], set(), [(end, False)]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack += [(other, False) for other, _ in node.made_of]
    end.slope = Real(1)
    for node in reversed(order):
        for other, slope in node.made_of:
            other.slope += node.slope * slope


def tanh(v):
    return 1 - 2 / ((2 * v).exp() + 1)


def product(values, weight, outputs):
    """A row times a matrix, whose rows lie one behind the other."""
    return [total(v * weight[i * outputs + j] for i, v in enumerate(values)) for j in range(outputs)]


def apply(layers, values, shape, take):
    """What leaves the layers for a record; `take` gives so many of the parameters, in order."""
    for layer in layers:
        name, output = name_of(layer), after(layer, shape)
        if name == "dense":
            weight, bias = take(len(values) * output[0]), take(output[0])
            values = [a + b for a, b in zip(product(values, weight, output[0]), bias)]
        elif name == "conv2d":
            kernel, padding = layer[name]["kernel"], layer[name].get("padding", 0)
            weight, bias = take(kernel * kernel * shape[2] * output[2]), take(output[2])
            zero = [Node(Real(0))] * shape[2]

            def pixel(y, x):
                inside = 0 <= y < shape[0] and 0 <= x < shape[1]
                return values[(y * shape[1] + x) * shape[2] :][: shape[2]] if inside else zero

            made = []
            for y in range(output[0]):
                for x in range(output[1]):
                    window = [(y + dy - padding, x + dx - padding) for dy in range(kernel) for dx in range(kernel)]
                    patch = [v for place in window for v in pixel(*place)]
                    made += [a + b for a, b in zip(product(patch, weight, output[2]), bias)]
            values = made
        elif name == "max_pool":
            corner = lambda y, x, c: values[(y * shape[1] + x) * shape[2] + c]
            values = [
                max((corner(2 * y + dy, 2 * x + dx, c) for dy in (0, 1) for dx in (0, 1)), key=lambda node: node.value)
                for y in range(output[0])
                for x in range(output[1])
                for c in range(output[2])
            ]
        elif name == "layer_norm":
            gain, bias = take(len(values)), take(len(values))
            share = 1 / Real(len(values))
            mean = total(values).times(share)
            distances = [v - mean for v in values]
            variance = total(d * d for d in distances).times(share)
            root = (variance.value + Real("1e-5")).sqrt()
            scale = variance.through(1 / root, -1 / (2 * root**3))
            values = [d * scale * g + b for d, g, b in zip(distances, gain, bias)]
        elif name == "embedding":
            made, read = [], 0
            for column in layer[name]["columns"]:
                first, levels, outputs = column["first"], column["levels"], column["outputs"]
                table = take(levels * outputs)
                own = next((i + 1 for i in range(levels - 1) if values[first + i].value > 0), 0)
                made += values[read:first] + table[own * outputs :][:outputs]
                read = first + levels - 1
            values = made + values[read:]
        elif name == "residual":
            values = [a + b for a, b in zip(values, apply(layer[name]["layers"], values, shape, take))]
        elif name == "relu":
            values = [v.through(max(v.value, Real(0)), Real(v.value > 0)) for v in values]
        elif name == "tanh":
            values = [v.through(tanh(v.value), 1 - tanh(v.value) ** 2) for v in values]
        shape = output
    return values
