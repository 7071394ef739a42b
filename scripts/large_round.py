#!/usr/bin/env python3
"""Rounds of a large model through the real daemons: wall time of each phase, and the memory of every process.

    scripts/large_round.py [--parameters N] [--members N] [--rounds N] [--records N] [--fedavg] [--keep DIR] [--json]

Founds a consortium with `consort demo`, gives its job a hidden layer so wide that the model has N parameters (a network of the demo's
inputs, one hidden layer and one output: two parameters more than inputs for each hidden unit), starts the daemons again and runs that job. The
data are those of the demo, or the first --records of each member, so that training is small; its time, and that of the noise, stand apart from what
aggregation costs. With --fedavg the job is one of federated averaging with one local step and values of 16 bits, rotated. The first round
trains on the model that follows from the contract; from the second on the members also fetch the model.

`beyond` is a round's time, from the first member's start to the last one's result, less the noise and training of the member that took
longest for both. `between` is what passes from the result to the next round's start: the model's way to the members. The table at the
end puts both beside the limit of a round, and a run beside other work says so by the load.

Needs the built program (CONSORT, default target/release/consort). Figures are of this machine and of what else runs on it.
"""

import argparse
import datetime
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
CONSORT = os.environ.get("CONSORT", str(ROOT / "target/release/consort"))
PHASE_LIMIT_MS = 1_200_000
WATCH_LIMIT_S = 3600
POLL_S = 3.0
# What a round may take beyond noise and training, by its parameters: the fewest that have the limit, and the limit.
LIMITS_MS = [(20_000_000, 2000), (0, 1000)]


def main():
    options = arguments()
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(options.keep or pathlib.Path(temporary) / "demo")
        found(folder, options.members)
        parameters = enlarge(folder, options)
        daemons = start(folder, options.members)
        try:
            job = submit_and_watch(folder)
            memory = {name: peak_kib(process) for name, process in daemons.items()}
        finally:
            for process in daemons.values():
                process.terminate()
            for process in daemons.values():
                process.wait()
        if job["state"] != "completed":
            sys.exit(f"the job ended as {job['state']}: {job}")
        report(folder, options, parameters, job, memory)


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--parameters", type=int, default=1_000_000)
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--records", type=int, help="most records of each member")
    parser.add_argument("--fedavg", action="store_true", help="federated averaging instead of dp_fedsgd")
    parser.add_argument("--keep", help="a folder to make and keep")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def found(folder, members):
    command = [CONSORT, "demo", "--rounds", "1", "--members", str(members), "--dir", str(folder), "--json"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def enlarge(folder, options):
    """Writes the large job; its parameters."""
    job = json.loads((folder / "job.json").read_text())
    job["name"] = "large"
    per_unit = len(job["data"]["features"]) + 2
    hidden = max(1, round(options.parameters / per_unit))
    job["model"]["layers"] = [{"dense": {"outputs": hidden}}, "tanh", {"dense": {"outputs": 1}}]
    job["dp_fedsgd"]["rounds"] = options.rounds
    if options.fedavg:
        old = job.pop("dp_fedsgd")
        job["fedavg"] = {
            **{name: old[name] for name in ("rounds", "clip", "loss_weight", "max_records_per_member")},
            "local_steps": 1,
            "local_learning_rate": 0.1,
            "local_divisor": old["divisor"] / options.members,
            "update_clip": 1.0,
            "value_range": 0.01,
            "value_bits": 16,
            "rotation": "hadamard",
            "learning_rate": 1.0,
            "momentum": 0.0,
        }
    for deadline in job["deadlines"]:
        job["deadlines"][deadline] = PHASE_LIMIT_MS
    (folder / "large.json").write_text(json.dumps(job))
    members = options.members
    for member in range(1, members + 1):
        path = folder / f"clinic-{member}/consent.toml"
        text = path.read_text().replace("max_epsilon_lifetime = 1.0", "max_epsilon_lifetime = 9.0")
        path.write_text(re.sub(r"max_parameters = \d+", "max_parameters = 100000000", text))
        if options.records:
            data = folder / f"clinic-{member}/train.csv"
            data.write_text("".join(data.read_text().splitlines(keepends=True)[: options.records + 1]))
    return hidden * per_unit + 1


def start(folder, members):
    environment = dict(os.environ, RUST_LOG="info,consort_participant=debug,consort_coordinator=debug,h2=warn,hyper=warn,tonic=warn")
    daemons = {}
    for name in ["coordinator"] + [f"clinic-{member}" for member in range(1, members + 1)]:
        program = "coordinator" if name == "coordinator" else "participant"
        log = open(folder / name / "large.txt", "w")
        command = [CONSORT, program, "serve", "--config", str(folder / name / "config.toml")]
        daemons[name] = subprocess.Popen(command, stderr=log, stdout=log, env=environment)
    return daemons


def submit_and_watch(folder):
    deadline = time.monotonic() + 60
    while True:
        done = operate(folder, ["job", "submit", "--json", "--job", str(folder / "large.json")])
        if done.returncode == 0:
            break
        if time.monotonic() > deadline:
            sys.exit(done.stderr)
        time.sleep(0.2)
    job = json.loads(done.stdout)["id"]
    deadline = time.monotonic() + WATCH_LIMIT_S
    while time.monotonic() < deadline:
        lines = operate(folder, ["job", "list", "--json"]).stdout.splitlines()
        view = next(view for view in map(json.loads, lines) if view["id"] == job)
        if view["state"] in ("completed", "failed", "cancelled"):
            # The list has the newest round of each job alone.
            return json.loads(operate(folder, ["job", "show", "--json", job]).stdout)
        # Each question is a process with a TLS connection of its own: asked often, it takes from the rounds what it measures.
        time.sleep(POLL_S)
    sys.exit("the job does not end")


def operate(folder, command):
    config = (folder / "coordinator/config.toml").read_text()
    address = re.search(r'operators_address = "([^"]+)"', config).group(1)
    access = ["--coordinator", f"https://{address}", "--ca", str(folder / "coordinator/tls/cert.pem")]
    access += ["--token-file", str(folder / "coordinator/operator.token")]
    return subprocess.run([CONSORT, *command, *access], capture_output=True, text=True)


def peak_kib(process):
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1))


def trained_ms(folder, members):
    """For each round, the slowest member's noise and training."""
    rounds = {}
    for member in range(1, members + 1):
        text = (folder / f"clinic-{member}/large.txt").read_text()
        for match in re.finditer(r"trained job=\S+ round=(\d+) noise_ms=(\d+) training_ms=(\d+)", text):
            number, noise, training = map(int, match.groups())
            known = rounds.get(number, (0, 0))
            rounds[number] = max(known, (noise, training), key=sum)
    return rounds


def steps_ms(folder, members):
    """For each round, the slowest member's way from its training's end to the masked update, and from there to the acknowledgement."""
    rounds = {}
    for member in range(1, members + 1):
        at = {}
        for line in (folder / f"clinic-{member}/large.txt").read_text().splitlines():
            match = re.search(r"(trained|is masked|is stored by the coordinator) job=\S+ round=(\d+)", line)
            if match:
                moment = datetime.datetime.fromisoformat(line.split()[0])
                at[(match.group(1), int(match.group(2)))] = moment
        for number in {number for _, number in at}:
            moments = [at.get((step, number)) for step in ("trained", "is masked", "is stored by the coordinator")]
            if None not in moments:
                spans = [(later - earlier).total_seconds() * 1000 for earlier, later in zip(moments, moments[1:])]
                known = rounds.get(number, (0, 0))
                rounds[number] = tuple(max(round(span), before) for span, before in zip(spans, known))
    return rounds


def opened_ms(folder):
    """For each round, the coordinator's sum, step and storing of its state."""
    text = (folder / "coordinator/large.txt").read_text()
    found = re.finditer(r"opened job=\S+ round=(\d+) sum_ms=(\d+) step_ms=(\d+) store_ms=(\d+)", text)
    return {int(match.group(1)): tuple(map(int, match.groups()[1:])) for match in found}


def spans_ms(folder, members):
    """For each round, from the first member's start to the last one's result, and from there to the last one's start of the next."""
    starts, ends = {}, {}
    for member in range(1, members + 1):
        for line in (folder / f"clinic-{member}/large.txt").read_text().splitlines():
            match = re.search(r"(takes part|sum is published) job=\S+ round=(\d+)", line)
            if match:
                moments = starts if match.group(1) == "takes part" else ends
                moment = datetime.datetime.fromisoformat(line.split()[0])
                moments.setdefault(int(match.group(2)), []).append(moment)
    ms = lambda earlier, later: round((later - earlier).total_seconds() * 1000)
    whole = {number: ms(min(starts[number]), max(ends[number])) for number in ends if number in starts}
    between = {number: ms(max(ends[number]), max(starts[number + 1])) for number in ends if number + 1 in starts}
    return whole, between


def report(folder, options, parameters, job, memory):
    trained = trained_ms(folder, options.members)
    steps = steps_ms(folder, options.members)
    opened = opened_ms(folder)
    whole, between = spans_ms(folder, options.members)
    rounds = []
    for entry in job["rounds"]:
        noise, training = trained.get(entry["round"], (None, None))
        mask, upload = steps.get(entry["round"], (None, None))
        of_members = {"noise_ms": noise, "training_ms": training, "mask_ms": mask, "upload_ms": upload}
        summed, stepped, stored = opened.get(entry["round"], (None, None, None))
        took = whole.get(entry["round"])
        beyond = None if None in (took, noise, training) else took - noise - training
        of_all = {"sum_ms": summed, "step_ms": stepped, "store_ms": stored, "whole_ms": took, "beyond_ms": beyond}
        of_all["between_ms"] = between.get(entry["round"])
        rounds.append({"round": entry["round"], "phase_ms": entry["phase_ms"], **of_members, **of_all})
    sent = max(member["sent_bytes"] for member in job["members"])
    result = {"parameters": parameters, "members": options.members, "rounds": rounds, "sent": sent, "peak_kib": memory}
    result["limit_ms"] = limit = next(limit for fewest, limit in LIMITS_MS if parameters >= fewest)
    result["load"] = os.getloadavg()[0]
    if options.json:
        print(json.dumps(result))
        return
    print(f"{parameters} parameters, {options.members} members; bytes sent per member and job: {sent}")
    for entry in rounds:
        phases = " ".join(f"{phase} {ms}" for phase, ms in sorted(entry["phase_ms"].items()))
        total = sum(entry["phase_ms"].values())
        slowest = ", ".join(f"{step} {entry[step + '_ms']}" for step in ("noise", "training", "mask", "upload"))
        print(f"round {entry['round']}: {total} ms ({phases}); slowest member: {slowest}")
        rest = ", ".join(f"{step} {entry[step + '_ms']}" for step in ("sum", "step", "store", "whole", "beyond", "between"))
        print(f"  {rest}")
    print("peak memory, MiB: " + ", ".join(f"{name} {kib // 1024}" for name, kib in memory.items()))
    print(f"\nload of the machine at the end: {result['load']:.1f}, of {os.cpu_count()} processors")
    print("round   noise  training   beyond    limit  of limit   next model")
    for entry in rounds:
        beyond = entry["beyond_ms"]
        share = "-" if beyond is None else f"{beyond / limit:.2f}"
        cells = [entry[name] for name in ("noise_ms", "training_ms", "beyond_ms")]
        shown = "".join(f"{'-' if cell is None else cell:>9}" for cell in cells)
        following = entry["between_ms"]
        print(f"{entry['round']:>5}{shown}{limit:>9}{share:>10}{'-' if following is None else following:>13}")


if __name__ == "__main__":
    main()
