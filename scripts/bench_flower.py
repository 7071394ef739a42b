#!/usr/bin/env python3
"""Flower's SecAgg+ beside this project's masked sums: the same vectors, one run, CPU time of one core, and the ratio.

Flower's side is its installed package, unchanged: the client's stages (`secaggplus_mod`) and the server's collecting and unmasking
stages (`SecAggPlusWorkflow`) are called as they are, with its default ranges. Replaced is only what carries messages: a grid
that hands over replies made beforehand, and a strategy that keeps the result. Two of the client's functions are wrapped by a
clock, so that what the other side does not do (quantising floats) or counts as set-up (opening shares) can be told apart.
"""
import argparse
import json
import logging
import statistics
import subprocess
import sys
import time
from importlib import import_module
from importlib.metadata import version
from types import SimpleNamespace

import numpy as np
from flwr.common import Code, FitRes, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, Key

# By name: the packages export functions called like the modules.
client = import_module("flwr.client.mod.secure_aggregation.secaggplus_mod")
server = import_module("flwr.server.workflow.secure_aggregation.secaggplus_workflow")

Q = 32_767
CLIP = 8.0
WEIGHT = 1000
# Above this the masked vectors of all clients do not stay in memory: one client's stands for all, and the sum is not checked.
MOST_BYTES = 2 << 30


def update(position, elements):
    """The integers of one member, as in benches/src/values.rs: SplitMix64 with the position in the upper half of the seed."""
    z = np.arange(1, elements + 1, dtype=np.uint64)
    z *= np.uint64(0x9E3779B97F4A7C15)
    z += np.uint64(position << 32)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return (z % np.uint64(2 * Q + 1)).astype(np.int64) - Q


class Clock:
    """CPU time of the functions of a module that are wrapped by it."""

    def __init__(self, module, *names):
        self.spent = dict.fromkeys(names, 0.0)
        for name in names:
            setattr(module, name, self.wrapped(name, getattr(module, name)))

    def wrapped(self, name, function):
        def timed(*arguments):
            start = time.process_time()
            try:
                return function(*arguments)
            finally:
                self.spent[name] += time.process_time() - start

        return timed

    def take(self, name):
        spent, self.spent[name] = self.spent[name], 0.0
        return spent


def timed(function, *arguments):
    start = time.process_time()
    value = function(*arguments)
    return value, time.process_time() - start


class Grid:
    """Hands over replies that were made beforehand."""

    def __init__(self):
        self.replies = {}

    def send_and_receive(self, messages, timeout=None):
        assert timeout is None
        return [reply(nid, self.replies[nid]) for nid in sorted(message.dst_node_id for message in messages)]


def reply(nid, content):
    return SimpleNamespace(metadata=SimpleNamespace(src_node_id=nid), content=content, has_error=lambda: False)


def content(configs):
    """A reply's records: those of an ordinary client whose arrays were taken out, and the protocol's."""
    fitres = FitRes(Status(Code.OK, ""), ndarrays_to_parameters([]), WEIGHT, {})
    records = server.compat.fitres_to_recorddict(fitres, keep_input=False)
    records.config_records[RECORD_KEY_CONFIGS] = server.ConfigRecord(configs, False)
    return records


class Strategy:
    """Keeps what it is given to aggregate."""

    def aggregate_fit(self, _round, results, _failures):
        self.result = parameters_to_ndarrays(results[0][1].parameters)
        return None, {}


class Cohort:
    """Flower's clients after sharing keys, and the masked vectors they sent."""

    def __init__(self, n, d, threshold, clock):
        self.n, self.d, self.threshold, self.clock = n, d, threshold, clock
        self.workflow = server.SecAggPlusWorkflow(n, threshold, max_weight=float(WEIGHT))
        self.states, self.keys, self.setup = {}, {}, {}
        self.checked = n * d * 8 <= MOST_BYTES
        parameters = {
            Key.SAMPLE_NUMBER: n,
            Key.SHARE_NUMBER: n,
            Key.THRESHOLD: threshold,
            Key.CLIPPING_RANGE: self.workflow.clipping_range,
            Key.TARGET_RANGE: self.workflow.quantization_range,
            Key.MOD_RANGE: self.workflow.modulus_range,
            Key.MAX_WEIGHT: self.workflow.max_weight,
        }
        for nid in range(1, n + 1):
            state = self.states[nid] = client.SecAggPlusState()
            state.nid = nid
            advert, self.setup[nid] = timed(client._setup, state, parameters)
            self.keys[nid] = (advert[Key.PUBLIC_KEY_1], advert[Key.PUBLIC_KEY_2])

    def share_keys(self):
        named = {str(nid): keys for nid, keys in self.keys.items()}
        self.sources = {nid: [] for nid in self.states}
        self.ciphertexts = {nid: [] for nid in self.states}
        for nid, state in self.states.items():
            shares, spent = timed(client._share_keys, state, named)
            self.setup[nid] += spent
            for to, ciphertext in zip(shares[Key.DESTINATION_LIST], shares[Key.CIPHERTEXT_LIST]):
                self.sources[to].append(nid)
                self.ciphertexts[to].append(ciphertext)

    def collect(self):
        """Every client masks its vector; of a sampled cohort only the first does, and the others only open their shares."""
        self.total, self.quantise, self.mask, self.masked = [], [], [], {}
        self.expected = np.zeros(self.d, dtype=np.int64)
        for nid, state in self.states.items():
            vector = self.checked or nid == 1
            integers = update(nid, self.d if vector else 1)
            if vector:
                self.expected += integers
            floats = (integers * (CLIP / Q)).astype(np.float32)
            inbox = {Key.CIPHERTEXT_LIST: self.ciphertexts[nid], Key.SOURCE_LIST: self.sources[nid]}
            sent, spent = timed(
                client._collect_masked_vectors, state, inbox, WEIGHT, ndarrays_to_parameters([floats])
            )
            opening, quantise = self.clock.take("decrypt"), self.clock.take("quantize")
            self.setup[nid] += opening
            if vector:
                self.total.append(spent)
                self.quantise.append(quantise)
                self.mask.append(spent - opening - quantise)
                self.masked[nid] = sent[Key.MASKED_PARAMETERS]
            else:
                self.masked[nid] = self.masked[1]

    def serve(self, survivors):
        """The server's stages after the masked vectors of the first `survivors` clients arrived, the others being lost."""
        everybody, active = set(self.states), set(range(1, survivors + 1))
        workflow, grid, strategy = self.workflow, Grid(), Strategy()
        state = server.WorkflowState(
            nid_to_proxies=dict.fromkeys(everybody),
            nid_to_fitins={nid: server.RecordDict() for nid in everybody},
            sampled_node_ids=everybody,
            active_node_ids=set(active),
            num_shares=self.n,
            threshold=self.threshold,
            clipping_range=workflow.clipping_range,
            quantization_range=workflow.quantization_range,
            mod_range=workflow.modulus_range,
            max_weight=workflow.max_weight,
            nid_to_neighbours={nid: set(everybody) for nid in everybody},
            nid_to_publickeys=dict(self.keys),
            forward_srcs=self.sources,
            forward_ciphertexts=self.ciphertexts,
        )
        configs = {server.MAIN_CONFIGS_RECORD: {server.WorkflowKey.CURRENT_ROUND: 1}}
        context = SimpleNamespace(state=SimpleNamespace(config_records=configs), strategy=strategy)

        grid.replies = {nid: content({Key.MASKED_PARAMETERS: self.masked[nid]}) for nid in active}
        done, ingest = timed(workflow.collect_masked_vectors_stage, grid, context, state)
        assert done
        question = {Key.ACTIVE_NODE_ID_LIST: sorted(active), Key.DEAD_NODE_ID_LIST: sorted(everybody - active)}
        grid.replies = {nid: content(client._unmask(self.states[nid], question)) for nid in active}
        done, unmask = timed(workflow.unmask_stage, grid, context, state)
        assert done
        if self.checked and survivors == self.n:
            self.check(strategy.result[0])
        return ingest / survivors, unmask

    def check(self, mean):
        """The mean is right up to one step of the quantiser and the precision of 32-bit floats."""
        error = np.abs(mean - self.expected * (CLIP / Q) / self.n).max()
        assert error < 2 * CLIP / self.workflow.quantization_range + 1e-5, f"Flower's mean is off by {error}"


def flower(case, clock):
    n, d, dropped = case["n"], case["d"], case["dropped"]
    cohort = Cohort(n, d, case["threshold"], clock)
    cohort.share_keys()
    cohort.collect()
    ingest, unmask_all = cohort.serve(n)
    unmask_dropped = cohort.serve(n - dropped)[1] if dropped else None
    return {
        "setup_s": statistics.median(cohort.setup.values()),
        "client_total_s": statistics.median(cohort.total),
        "client_quantise_s": statistics.median(cohort.quantise),
        "client_mask_s": statistics.median(cohort.mask),
        "wire_bytes_per_param": sum(map(len, cohort.masked[1])) / d,
        "ingest_s": ingest,
        "unmask_all_s": unmask_all,
        "unmask_dropped_s": unmask_dropped,
        "sum_checked": cohort.checked,
    }


def ours(bench, n, d):
    command = [bench, "--json", "--n", str(n), "--d", str(d), "--q", str(Q)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["cases"][0]


def rows(mine, theirs):
    server_side, d = mine["server"], mine["case"]["d"]
    dropped = server_side["unmask_dropped"]
    yield "client set-up (keys, shares)", mine["setup"]["total_cpu_s"], theirs["setup_s"]
    yield "client: agree, mask, serialise", mine["client"]["total_cpu_s"], theirs["client_mask_s"]
    yield "server ingest, one client", server_side["ingest_ns_per_param"] * d / 1e9, theirs["ingest_s"]
    yield "server unmask, none dropped", server_side["unmask_all"]["cpu_s"], theirs["unmask_all_s"]
    if dropped:
        yield f"server unmask, {mine['case']['dropped']} dropped", dropped["cpu_s"], theirs["unmask_dropped_s"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bench", required=True, help="the consort-bench program")
    parser.add_argument("--n", default="10,50,100")
    parser.add_argument("--d", default="1000000")
    parser.add_argument("--full", action="store_true", help="also n=100, d=10^7")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    # What carries messages is not measured.
    server.Message = lambda content, dst_node_id, **_: SimpleNamespace(content=content, dst_node_id=dst_node_id)
    clock = Clock(client, "decrypt", "quantize")

    cases = [(int(n), int(d)) for d in options.d.split(",") for n in options.n.split(",")]
    if options.full and (100, 10_000_000) not in cases:
        cases.append((100, 10_000_000))
    report = {"flwr": version("flwr"), "numpy": version("numpy"), "cases": []}
    for n, d in cases:
        mine = ours(options.bench, n, d)
        theirs = flower(mine["case"], clock)
        report["cases"].append({"consort": mine, "flower": theirs})
        if not options.json:
            show(mine, theirs)
    if options.json:
        print(json.dumps(report, indent=2))


def show(mine, theirs):
    case = mine["case"]
    print(f"\nn = {case['n']}, d = {case['d']}, threshold {case['threshold']}, flwr {version('flwr')}, CPU time on one core")
    print(f"  {'':<32}{'consort':>12}{'flower':>12}{'ratio':>8}")
    for what, own, peer in rows(mine, theirs):
        print(f"  {what:<32}{own * 1e3:>9.1f} ms{peer * 1e3:>9.1f} ms{peer / own:>8.1f}")
    own, peer = mine["wire_bytes_per_param"], theirs["wire_bytes_per_param"]
    print(f"  {'bytes per parameter':<32}{own:>12.3f}{peer:>12.3f}{peer / own:>8.1f}")
    print(f"  not compared: Flower quantises floats in {theirs['client_quantise_s'] * 1e3:.1f} ms;", end=" ")
    print(f"set-up here checks every share against commitments, there nothing; consort signs and proves outside of both")
    if not theirs["sum_checked"]:
        print("  Flower's sum was not checked: one client's vector stood for all (memory)")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
