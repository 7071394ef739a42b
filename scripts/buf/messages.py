"""The JSON messages of scripts/buf.sh: makes the request from a job document, and holds the answers to what they must say.

messages.py request DOCUMENT KEY   prints a SubmitJobRequest
messages.py request-json DOCUMENT KEY   the same with the document as it is, in job_json
messages.py key FILE               prints the key of a SubmitJobRequest
messages.py rounds FILE WATCHED    a ListRoundsResponse: all rounds of the job that was watched, with their survivors
messages.py model FILE WATCHED     a stream of DownloadModelResponse: its manifest names the file that came
messages.py id FILE                prints the job's id of a SubmitJobResponse
messages.py completed FILE ID      a stream of WatchJobResponse: it tells of this job, and ends completed
messages.py listed FILE ID         a ListJobsResponse: the job is there, completed
"""

import base64
import hashlib
import json
import sys

COMPLETED = "JOB_STATE_COMPLETED"


def main(arguments):
    command, path, *rest = arguments
    with open(path, encoding="utf-8") as file:
        text = file.read()
    commands = {
        "request": request,
        "request-json": request_json,
        "key": key_of,
        "id": job_id,
        "completed": completed,
        "listed": listed,
        "rounds": rounds,
        "model": model,
    }
    return commands[command](text, *rest)


def request(text, key):
    """The document's names are the schema's; only enums, layers without parameters and the seed are written otherwise."""
    spec = json.loads(text)
    data, model = spec["data"], spec["model"]
    data["missing"] = "MISSING_VALUES_" + data.get("missing", "refuse").upper()
    model["loss"] = "LOSS_" + model["loss"].upper()
    model["layers"] = layers(model["layers"])
    model["seed"] = base64.b64encode(bytes.fromhex(model.get("seed", "00" * 32))).decode()
    print(json.dumps({"spec": spec, "idempotency_key": key}))


def layers(written):
    def message(layer):
        if isinstance(layer, str):
            return {layer: {}}
        return {"residual": {"layers": layers(layer["residual"]["layers"])}} if "residual" in layer else layer

    return [message(layer) for layer in written]


def request_json(text, key):
    print(json.dumps({"job_json": text, "idempotency_key": key}))


def key_of(text):
    print(json.loads(text)["idempotency_key"])


def job_id(text):
    print(json.loads(text)["job"]["id"])


def completed(text, wanted):
    jobs = [message["job"] for message in messages(text)]
    check(jobs, "the watch told nothing")
    check(all(job["id"] == wanted for job in jobs), "the watch told of another job")
    last = jobs[-1]
    check(
        last["state"] == COMPLETED,
        f"the job ended as {last['state']} [{last.get('code', '')}]: {last.get('reason', '')}",
    )
    check(len(last.get("model", "")) == 64, "a completed job names its model's hash")
    planned = last["spec"]["dpFedsgd"]["rounds"]
    survivors = [len(summary.get("survivors", [])) for summary in last["rounds"]]
    check(len(survivors) == planned, f"{len(survivors)} rounds of {planned} are told")
    print(f"watched {wanted} through {len(jobs)} messages: completed, survivors per round {survivors}")


def listed(text, wanted):
    states = {job["id"]: job["state"] for job in json.loads(text).get("jobs", [])}
    check(states.get(wanted) == COMPLETED, f"{wanted} is not listed as completed: {states}")
    print(f"listed {len(states)} jobs, {wanted} among them, completed")


def rounds(text, watched):
    told = json.loads(text)["rounds"]
    job = last_of(watched)
    check([it["round"] for it in told] == [it["round"] for it in job["rounds"]], "the rounds differ from those that were watched")
    check(all(it["survivors"] for it in told), "a round has no survivors")
    print(f"listed {len(told)} rounds with their survivors")


def model(text, watched):
    parts = list(messages(text))
    manifest = json.loads(base64.b64decode(parts[0]["manifest"]))["manifest"]
    file = b"".join(base64.b64decode(part["data"]) for part in parts[1:])
    check(hashlib.sha256(file).hexdigest() == manifest["model_sha256"], "the file is not the one that the manifest names")
    check(manifest["job"] == last_of(watched)["id"], "the manifest is of another job")
    print(f"downloaded a model of {len(file)} bytes, which its manifest names")


def last_of(path):
    with open(path, encoding="utf-8") as file:
        return list(messages(file.read()))[-1]["job"]


def messages(text):
    """A stream is one JSON value after another."""
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        value, at = decoder.raw_decode(text, at)
        yield value


def check(holds, problem):
    if not holds:
        sys.exit(problem)


if __name__ == "__main__":
    main(sys.argv[1:])
