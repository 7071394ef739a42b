"""From a proposal to a contract: the job's hash, the plan computed again, votes (docs/protocol.md, "Votes and the contract")."""

import math
import struct

from encoding import canonical, digest
from privacy import gaussian_epsilon

# Largest grid, and the range of one member's variance that a plan may have.
GRID_BITS = range(1, 41)
VARIANCES = range(1 << 40, (1 << 54) + 1)


class Refused(Exception):
    """Why this participant does not go on; the text may be told to the others."""


def narrow(value):
    """The nearest f32: training constants are f32."""
    return struct.unpack("<f", struct.pack("<f", value))[0]


class Contract:
    """A job and the plan that follows from it. A value of this type was computed here; of the proposal's plan only sigma and
    the grid's bits are taken, and the promise is checked with them."""

    def __init__(self, proposal):
        spec, told = proposal.spec, proposal.plan
        self.job, self.spec = proposal.job, spec
        self.members = sorted(spec.members, key=str.encode)
        if len(set(self.members)) != len(self.members):
            raise Refused("a member is named twice")
        self._thresholds()
        self._model()
        self._noise(told.sigma, told.grid_bits)
        computed = (self.sigma, self.variance, self.noise_bound, self.width)
        if computed != (told.sigma, told.member_variance, told.noise_bound, told.width_bits):
            raise Refused("the plan does not follow from the job")
        self.hash = digest(
            "consort/contract/v1", self._job_hash(), self.sigma_count, self.grid_bits, self.variance, self.noise_bound,
            self.schema_hash,
        )

    def _thresholds(self):
        n, asked = len(self.members), self.spec.aggregation
        if not 3 <= n <= 256:
            raise Refused("a job has 3 to 256 members")
        self.c = asked.colluders if asked.HasField("colluders") else max(1, (n - 1) // 3)
        if not 1 <= self.c <= n - 2:
            raise Refused("c is out of range")
        self.t = (n + self.c) // 2 + 1
        self.n_min = asked.minimum if asked.HasField("minimum") else max(3, self.t)
        if not max(3, self.t) <= self.n_min <= n:
            raise Refused("n_min is out of range")
        self.fewest = max(self.t, self.n_min, self.c + 2)
        self.quorum = (n + self.c) // 2 + 1

    def _model(self):
        model, self.inputs = self.spec.model, 0
        for feature in self.spec.data.features:
            self.inputs += 1 if feature.HasField("numeric") else len(feature.one_hot.levels) - 1
        if self.spec.WhichOneof("algorithm") != "dp_fedsgd":
            raise Refused("this participant knows dp_fedsgd only")
        if model.loss != 1 or not model.layers or self.spec.data.target.WhichOneof("kind"):
            raise Refused("this participant knows the binary cross entropy only")
        # One (kind, inputs, outputs) for each layer.
        self.layers, width = [], self.inputs
        for layer in model.layers:
            kind = layer.WhichOneof("kind")
            if kind is None:
                raise Refused("a layer that this participant does not know")
            outputs = layer.dense.outputs if kind == "dense" else width
            self.layers.append((kind, width, outputs))
            width = outputs
        if width != 1 or self.layers[-1][0] != "dense" or min(outputs for _, _, outputs in self.layers) < 1:
            raise Refused("the model does not end in one output")
        self.parameters = sum((inputs + 1) * outputs for kind, inputs, outputs in self.layers if kind == "dense")
        self.elements = self.parameters + 1

    def _noise(self, sigma, grid_bits):
        algorithm, privacy = self.spec.dp_fedsgd, self.spec.privacy
        self.c_noise = privacy.c_noise if privacy.HasField("c_noise") else 1
        if not 1 <= self.c_noise < self.n_min or grid_bits not in GRID_BITS or algorithm.rounds < 1:
            raise Refused("the noise cannot be planned")
        # The least count of ten-thousandths at or above sigma.
        self.sigma_count = math.ceil(sigma * 10_000)
        while (self.sigma_count - 1) / 10_000 >= sigma:
            self.sigma_count -= 1
        while self.sigma_count / 10_000 < sigma:
            self.sigma_count += 1
        self.sigma, self.grid_bits = self.sigma_count / 10_000, grid_bits
        self.epsilon = gaussian_epsilon(math.sqrt(algorithm.rounds) / self.sigma, privacy.delta)
        if self.epsilon > privacy.epsilon * (1 + 1e-9):
            raise Refused("the stated noise does not keep the promise")
        contributors = 100_000_000 * (self.n_min - self.c_noise)
        self.variance = -(-(self.sigma_count**2 << 2 * grid_bits) // contributors)
        if self.variance not in VARIANCES:
            raise Refused("the noise is outside the sampler's range")
        draws = float(len(self.members)) * self.elements * algorithm.rounds
        k = math.sqrt(2.0 * (math.log(2.0 * draws) + 40.0 * math.log(2.0)))
        self.noise_bound = math.ceil(k * math.sqrt(self.variance)) + 1
        value_bound = algorithm.max_records_per_member << grid_bits
        self.width = 1 + (len(self.members) * (value_bound + self.noise_bound)).bit_length()
        if self.width > 64:
            raise Refused("the sum would not fit")
        self.schema_hash = digest("consort/aggregation/vector-schema/v1", self.elements, self.width)

    def _job_hash(self):
        spec, a, deadlines = self.spec, self.spec.dp_fedsgd, self.spec.deadlines
        if a.HasField("sampling"):
            raise Refused("this participant draws no batches: it sums all of its records")
        parts = [spec.name, spec.purpose, spec.dataset, len(self.members), *self.members]
        data = spec.data
        parts += [{1: "refuse", 2: "drop_row"}[data.missing], data.target.column, data.target.positive_above]
        parts.append(len(data.features))
        for feature in data.features:
            if feature.HasField("numeric"):
                f = feature.numeric
                parts += ["numeric", f.column, f.center, f.scale, f.clip]
            else:
                f = feature.one_hot
                parts += ["one_hot", f.column, len(f.levels), *f.levels]
        layers = [part for kind, _, outputs in self.layers for part in (["dense", outputs] if kind == "dense" else [kind])]
        parts.append(canonical("consort/model/spec/v1", self.inputs, len(self.layers), *layers, "binary_cross_entropy"))
        parts.append(spec.model.seed or bytes(32))
        parts += [a.rounds, a.clip, a.learning_rate, a.momentum, a.divisor, a.loss_weight, a.max_records_per_member]
        parts += [spec.privacy.epsilon, spec.privacy.delta, self.c_noise]
        parts += [len(self.members), self.c, self.t, self.n_min]
        for field, default in (
            ("voting_ms", 600_000), ("joining_ms", 30_000), ("sharing_ms", 30_000), ("collecting_ms", 600_000),
            ("confirming_ms", 30_000), ("unmasking_ms", 30_000),
        ):
            parts.append(getattr(deadlines, field) if deadlines.HasField(field) else default)
        # What the server makes of the sum is no work of a member's, and is voted on like everything else.
        if a.HasField("server_optimizer"):
            name = a.server_optimizer.WhichOneof("kind")
            terms = getattr(a.server_optimizer, name)
            parts += ["server_optimizer", name, terms.beta1, terms.beta2, terms.tau]
        if a.HasField("schedule"):
            decay = a.schedule.WhichOneof("decay")
            parts += ["schedule", a.schedule.warmup_rounds, decay or "constant"]
            if decay == "step":
                parts += [a.schedule.step.every, a.schedule.step.factor]
            elif decay == "cosine":
                parts.append(a.schedule.cosine.last)
        return digest("consort/contract/job/v1", *parts)

    def initial_model(self):
        """The parameters of round 1: zeros for a single layer, else uniform weights from the seed, each step in f32."""
        if len(self.layers) == 1:
            return bytes(4 * self.parameters)
        uniform, values = _uniform(self.spec.model.seed or bytes(32)), []
        for index, (kind, inputs, outputs) in enumerate(self.layers):
            if kind != "dense":
                continue
            before_relu = index + 1 < len(self.layers) and self.layers[index + 1][0] == "relu"
            fan = inputs if before_relu else inputs + outputs
            bound = narrow(math.sqrt(narrow(6 / fan)))
            values += [next(uniform) * bound for _ in range(inputs * outputs)] + [0.0] * outputs
        return struct.pack(f"<{len(values)}f", *values)


def _uniform(seed):
    """Numbers between -1 and 1 that f32 holds exactly."""
    block = 0
    while True:
        words = digest("consort/model/initial/v1", seed, block)
        for start in range(0, 32, 4):
            yield (2 * int.from_bytes(words[start : start + 3], "big") + 1 - 2**24) / 2**24
        block += 1


def model_hash(parameters):
    return digest("consort/model/parameters/v1", parameters)


def vote_bytes(job, vote):
    return canonical(
        "consort/contract/vote/v1", job, vote.organisation, vote.contract, int(vote.approve), vote.reason
    )


def verified_votes(contract, approval, identities, verify):
    """The hash over the votes of all members, each a yes to this very contract, each verified."""
    votes = {vote.organisation: vote for vote in approval.votes}
    if sorted(votes, key=str.encode) != contract.members:
        raise Refused("the approval has not the votes of all members, and theirs only")
    parts = []
    for name in contract.members:
        vote = votes[name]
        if not vote.approve or vote.contract != contract.hash:
            raise Refused(f"{name} has not voted yes to this contract")
        verify(identities[name], vote_bytes(contract.job, vote), vote.signature)
        parts += [name, vote.signature]
    return digest("consort/contract/votes/v1", len(votes), *parts)
