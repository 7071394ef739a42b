#!/usr/bin/env python3
"""Holds `consort privacy epsilon` against Google's dp-accounting on random rows.

    scripts/accountant_crosscheck.py [--rows 30] [--seed N] [--consort target/debug/consort]

The seed is printed; with it the same rows come again. dp-accounting is installed into target/crosscheck; where that is not
possible, the script says so and ends with status 0.
"""
import argparse
import json
import math
import random
import subprocess
import sys
import venv
from pathlib import Path

VERSION = "0.6.0"


def installed(folder):
    """The interpreter of an environment that has dp-accounting, or None."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    known = [str(python), "-c", "import dp_accounting"]
    if subprocess.run(known, stderr=subprocess.DEVNULL).returncode == 0:
        return python
    install = [str(python), "-m", "pip", "install", "--quiet", f"dp-accounting=={VERSION}"]
    return python if subprocess.run(install).returncode == 0 else None


def random_row(source):
    """One question; about half of them plain Poisson sampling, the others replace-one or capped."""
    row = {
        "sampling": 10 ** source.uniform(-3, -0.1),
        "sigma": 10 ** source.uniform(-0.3, 1),
        "steps": int(10 ** source.uniform(0, 4)),
        "delta": 10 ** source.uniform(-10, -3),
        "relation": source.choice(["add-remove", "add-remove", "replace-one"]),
    }
    if row["relation"] == "add-remove" and source.random() < 0.3:
        records = source.randint(200, 20_000)
        mean = records * row["sampling"]
        row["records"] = records
        row["max_batch"] = max(1, int(mean + source.uniform(0, 5) * math.sqrt(mean)))
    return row


def ours(consort, row):
    command = [consort, "privacy", "epsilon", "--json"]
    for name, value in row.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


# Runs in the environment: rows in, one answer a line out.
THEIRS = """
import json, sys
import dp_accounting as dp
for row in json.load(sys.stdin):
    relation = dp.NeighboringRelation[{"add-remove": "ADD_OR_REMOVE_ONE", "replace-one": "REPLACE_ONE"}[row["relation"]]]
    q, sigma = row["sampling"], row["sigma"]
    if "records" in row:
        event = dp.TruncatedSubsampledGaussianDpEvent(row["records"], q, row["max_batch"], sigma)
    else:
        event = dp.PoissonSampledDpEvent(q, dp.GaussianDpEvent(sigma))
    event = dp.SelfComposedDpEvent(event, row["steps"])
    answer = {}
    for grid in (1e-4, 1e-3):
        accountant = dp.pld.PLDAccountant(relation, value_discretization_interval=grid)
        accountant.compose(event)
        answer[str(grid)] = accountant.get_epsilon(row["delta"])
    if row["relation"] == "add-remove" and "records" not in row:
        accountant = dp.rdp.RdpAccountant(list(range(2, 257)), relation)
        accountant.compose(event)
        answer["rdp"] = float(accountant.get_epsilon(row["delta"]))
    print(json.dumps(answer), flush=True)
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=30)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--consort", default="target/debug/consort")
    options = parser.parse_args()
    print(f"seed {options.seed}")
    python = installed(Path("target/crosscheck").resolve())
    if python is None:
        print("dp-accounting cannot be installed here: nothing was compared")
        return 0
    source = random.Random(options.seed)
    rows = [random_row(source) for _ in range(options.rows)]
    process = subprocess.Popen([str(python), "-W", "ignore", "-c", THEIRS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process.stdin.write(json.dumps(rows))
    process.stdin.close()
    worst = {"pld": 0.0, "rdp": 0.0}
    faults = 0
    for row, line in zip(rows, process.stdout):
        theirs, found = json.loads(line), ours(options.consort, row)
        fine, coarse = theirs["0.0001"], theirs["0.001"]
        # Their grid adds about a 99th of what the ten times coarser one adds; where that is much, it is no yardstick.
        added = (coarse - fine) / 99
        is_fine_enough = fine < math.inf and added < 5e-4 * fine
        pld = found["pld"] / fine - 1
        rdp = found["rdp"] / theirs["rdp"] - 1 if theirs.get("rdp") else 0.0
        if is_fine_enough:
            worst["pld"] = max(worst["pld"], abs(pld))
        worst["rdp"] = max(worst["rdp"], abs(rdp))
        is_wrong = (is_fine_enough and abs(pld) > 1e-3) or pld > 1e-3 or abs(rdp) > 1e-6
        faults += is_wrong
        note = "WRONG" if is_wrong else "" if is_fine_enough else "their grid is too coarse here"
        print(f"{row} pld {found['pld']:.9g} ({pld:+.1e}) rdp {found['rdp']:.9g} ({rdp:+.1e}) {note}", flush=True)
    process.wait()
    print(f"largest relative differences: pld {worst['pld']:.1e}, rdp {worst['rdp']:.1e}; {faults} of {len(rows)} rows differ")
    return 1 if faults or process.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
