#!/usr/bin/env python3
"""Measures PyTorch's plain step and Opacus' private ones, our plain and private steps beside them, and prints the ratios.

Called by scripts/bench_opacus.sh. Every figure is records per second of the median step: forward, backward, clipping, and for the peers their
optimiser with cheap float noise; ours ends with the integer sum, without the noise, which is drawn apart (`cargo bench -p consort-privacy --bench noise`). Each case runs for `--seconds` after a warm-up; the
peer's best over physical batches, modes and allocators counts against us.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import time
import warnings

CLASSES = {"mlp": 10, "tabular": 2}


def network(name):
    from torch import nn

    if name == "mlp":
        return nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10))
    return nn.Sequential(nn.Linear(100, 256), nn.ReLU(), nn.Linear(256, 2))


def records(name, batch):
    import torch

    shape = {"mlp": (784,), "tabular": (100,)}[name]
    return torch.rand(batch, *shape), torch.randint(0, CLASSES[name], (batch,))


def stepper(name, mode, physical, noise):
    """A function that makes one logical step over (x, y) in parts of `physical` records."""
    import torch
    from torch import nn

    model = network(name)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    criterion = nn.CrossEntropyLoss()
    if mode == "plain":
        def step(x, y):
            optimizer.zero_grad(set_to_none=True)
            for i in range(0, len(x), physical):
                part = x[i : i + physical]
                (criterion(model(part), y[i : i + physical]) * (len(part) / len(x))).backward()
            optimizer.step()

        return step
    from opacus import PrivacyEngine

    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*records(name, 4)), batch_size=2)
    extra = {"criterion": criterion, "grad_sample_mode": "ghost"} if mode == "ghost" else {}
    made = PrivacyEngine().make_private(
        module=model, optimizer=optimizer, data_loader=loader, noise_multiplier=noise, max_grad_norm=1.0, poisson_sampling=False, **extra
    )
    model, optimizer = made[0], made[1]
    criterion = made[2] if mode == "ghost" else criterion

    def step(x, y):
        parts = range(0, len(x), physical)
        for i in parts:
            # Until the last part sums only accumulate; then noise is added and the step is made.
            optimizer.signal_skip_step(do_skip=i + physical < len(x))
            criterion(model(x[i : i + physical]), y[i : i + physical]).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    return step


def measure(name, mode, batch, physical, noise, seconds):
    step, (x, y) = stepper(name, mode, physical, noise), records(name, batch)
    for _ in range(3):
        step(x, y)
    rates, begun = [], time.perf_counter()
    while time.perf_counter() - begun < seconds or len(rates) < 5:
        start = time.perf_counter()
        step(x, y)
        rates.append(batch / (time.perf_counter() - start))
    return statistics.median(rates)


def peer(arguments):
    """One process for one allocator: prints the best over modes and physical batches as JSON."""
    import torch

    warnings.filterwarnings("ignore")
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)
    found = []
    for name in arguments.models:
        for batch in arguments.batches:
            for mode in ("plain", "hooks", "ghost"):
                for physical in sorted({batch, min(batch, 256), min(batch, 64)}, reverse=True):
                    rate = measure(name, mode, batch, physical, arguments.noise, arguments.seconds)
                    found.append({"model": name, "batch": batch, "mode": mode, "physical": physical, "rate": rate})
    print(json.dumps(found))


def allocators():
    """The system's, and those others that this machine has."""
    libraries = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=True).stdout.splitlines()
    found = {"system": None}
    for wanted in ("libmimalloc", "libjemalloc"):
        for line in libraries:
            if wanted in line and "=>" in line:
                found.setdefault(wanted[3:], line.split("=>")[1].strip())
    return found


def peers(arguments):
    """(model, batch, plain or private) to the best rate, and how it came about."""
    best = {}
    for allocator, library in allocators().items():
        environment = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads)}
        if library:
            environment["LD_PRELOAD"] = library
        command = [sys.executable, __file__, "--peer", "--threads", str(arguments.threads), "--seconds", str(arguments.seconds),
                   "--noise", str(arguments.noise), "--models", *arguments.models, "--batches", *map(str, arguments.batches)]
        said = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
        for case in json.loads(said):
            kind = "plain" if case["mode"] == "plain" else "private"
            key = (case["model"], case["batch"], kind)
            if case["rate"] > best.get(key, {"rate": 0})["rate"]:
                best[key] = {**case, "allocator": allocator}
    return best


def ours(arguments):
    """(model, batch, kind) to the rate of the median step; kinds are `plain`, and `private` without its noise."""
    found = {}
    for name in arguments.models:
        for batch in arguments.batches:
            command = [arguments.bench, "--model", name, "--batch", str(batch), "--steps", str(arguments.steps)]
            cores = ",".join(map(str, range(arguments.threads)))
            said = subprocess.run(["taskset", "-c", cores, *command], stdout=subprocess.PIPE, text=True, check=True).stdout
            rows = [line for line in said.splitlines() if "," in line and ":" not in line]
            for row in csv.DictReader(rows):
                found[name, batch, row["kind"]] = batch / (float(row["median_ms"]) / 1000)
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--bench", help="our benchmark's program")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--steps", type=int, default=100, help="steps of ours that the median is of")
    parser.add_argument("--noise", type=float, default=1.0)
    parser.add_argument("--models", nargs="+", default=["mlp", "tabular"], choices=["mlp", "tabular"])
    parser.add_argument("--batches", nargs="+", type=int, default=[256, 1024])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.peer:
        return peer(arguments)
    own, others = ours(arguments), peers(arguments)
    rows = []
    for name in arguments.models:
        for batch in arguments.batches:
            plain, private = others[name, batch, "plain"], others[name, batch, "private"]
            row = {"model": name, "batch": batch, "pytorch_plain": plain["rate"], "opacus_best": private["rate"],
                   "opacus_mode": f"{private['mode']} x{private['physical']} {private['allocator']}"}
            for kind in ("plain", "private"):
                row[kind] = own[name, batch, kind]
            row["private_cost_to_plain"] = row["plain"] / row["private"]
            row["plain_to_pytorch"] = row["plain"] / plain["rate"]
            row["private_to_opacus"] = row["private"] / private["rate"]
            rows.append(row)
    if arguments.json:
        print(json.dumps(rows))
        return None
    for row in rows:
        print(", ".join(f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items()))
    return None


if __name__ == "__main__":
    main()
