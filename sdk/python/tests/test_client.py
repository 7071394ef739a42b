"""The SDK against a coordinator and three members that run."""

from __future__ import annotations

import json
import pathlib
import socket
import subprocess
import sys

import consort
import numpy as np
import pytest
import yaml

from .consortium import Consortium


def test_a_job_is_submitted_watched_to_its_end_and_its_model_is_fetched_as_arrays(
    client: consort.Client, consortium: Consortium, tmp_path: pathlib.Path
) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(consortium.document()))
    job = client.submit(file)
    assert not job.ended
    assert job.name == consortium.document()["name"]

    seen = list(client.watch(job.id))
    assert seen[-1].state is consort.State.COMPLETED, seen[-1]
    assert [it.ended for it in seen] == [False] * (len(seen) - 1) + [True]
    spent = [it.epsilon_spent for it in seen]
    assert spent == sorted(spent)

    ended = client.job(job.id)
    assert ended == seen[-1]
    assert ended.round == ended.rounds_planned == 2
    assert 0 < ended.epsilon_spent <= ended.epsilon + 1e-9
    table = ended.metrics()
    assert list(table["round"]) == [1, 2]
    assert np.isfinite(table["loss"]).all()
    assert (table["survivors"] == 3).all()
    assert [set(it.survivors) for it in client.rounds(job.id)] == [{"clinic-1", "clinic-2", "clinic-3"}] * 2
    assert job.id in [it.id for it in client.jobs()]

    model = client.model(job.id)
    assert model.parameters
    for name, array in model.parameters.items():
        assert array.dtype == np.float32 and np.isfinite(array).all(), name
    path = model.save(tmp_path / "model")
    assert path.read_bytes() == model.file
    assert json.loads((tmp_path / "model/manifest.json").read_text()) == model.manifest
    for shown in (job, ended, model, client):
        assert "object at 0x" not in repr(shown)
    assert "completed" in repr(ended)


def test_the_same_key_makes_no_second_job_and_is_refused_for_another(
    client: consort.Client, consortium: Consortium
) -> None:
    first = client.submit(consortium.document(), idempotency_key="once")
    again = client.submit(consortium.document(), idempotency_key="once")
    assert first.id == again.id
    with pytest.raises(consort.RefusedError) as refused:
        client.submit(consortium.document(name="another"), idempotency_key="once")
    assert refused.value.code == "idempotency_key_reused"
    client.cancel(first.id)


def test_a_cancelled_job_ends_the_watch_and_has_no_model(client: consort.Client, consortium: Consortium) -> None:
    job = client.submit(consortium.document())
    assert client.cancel(job.id).state is consort.State.CANCELLED
    with pytest.raises(consort.JobEndedError) as ended:
        client.wait(job.id)
    assert ended.value.job.id == job.id
    with pytest.raises(consort.RefusedError):
        client.model(job.id)


def test_a_job_that_no_machine_can_take_is_voted_down(client: consort.Client, consortium: Consortium) -> None:
    asking = consortium.document(training_job={"compute": {"memory": "1000TB"}})
    with pytest.raises(consort.JobEndedError) as ended:
        client.wait(client.submit(asking).id)
    assert "1000TB of main memory" in ended.value.job.reason


def test_simulated_machines_refuse_a_job_that_asks_for_genuine_ones(
    client: consort.Client, consortium: Consortium
) -> None:
    asking = consortium.document(training_job={"security": {"enclave": "enabled", "attestation": "required"}})
    with pytest.raises(consort.JobEndedError) as ended:
        client.wait(client.submit(asking).id)
    assert "genuine confidential hardware" in ended.value.job.reason


def test_a_job_that_is_wrong_is_refused_by_code_and_field(client: consort.Client, consortium: Consortium) -> None:
    document = consortium.document()
    for change, code, says in [
        ({"privacy": document["privacy"] | {"epsilon": -1}}, "job_number_out_of_range", "privacy.epsilon"),
        ({"privacy": document["privacy"] | {"epsilon": "much"}}, "job_malformed", "privacy.epsilon"),
        ({"colour": "blue"}, "job_malformed", "colour"),
        ({"members": ["clinic-1", "clinic-2", "nobody"]}, "job_member_not_in_roster", "nobody"),
        ({"training_job": {"resources": {"gpu": "enabled"}}}, "job_malformed", "training_job.resources.gpu"),
    ]:
        with pytest.raises(consort.RefusedError) as refused:
            client.submit(document | change)
        assert refused.value.code == code and says in refused.value.message, refused.value
    with pytest.raises(consort.JobFileError):
        client.submit({"name": object()})
    with pytest.raises(consort.RefusedError) as refused:
        client.job("job-999")
    assert refused.value.code


def test_a_wrong_token_a_wrong_certificate_and_a_wrong_address_are_told_apart(
    consortium: Consortium, tmp_path: pathlib.Path
) -> None:
    with consort.connect(consortium.url, ca=consortium.ca, token="0" * 64) as stranger:
        with pytest.raises(consort.RefusedError) as refused:
            stranger.jobs()
        assert refused.value.code == "operator_token"
        with pytest.raises(consort.RefusedError):
            list(stranger.watch("job-1"))
    other = tmp_path / "other.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]
    subprocess.run(
        [*made, "-subj", "/CN=other", "-keyout", str(tmp_path / "key.pem"), "-out", str(other)],
        check=True,
        capture_output=True,
    )
    with consort.connect(consortium.url, ca=other, token_file=consortium.token_file, timeout=5) as misled:
        with pytest.raises(consort.FailedError) as failed:
            misled.jobs()
        assert failed.value.code == "coordinator_unreachable"
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = f"https://127.0.0.1:{unused.getsockname()[1]}"
        with consort.connect(nowhere, ca=consortium.ca, token_file=consortium.token_file, timeout=5) as lost:
            with pytest.raises(consort.FailedError):
                lost.jobs()
    for wrong in ("http://127.0.0.1:1", "127.0.0.1:1", "https://127.0.0.1"):
        with pytest.raises(ValueError):
            consort.connect(wrong, ca=consortium.ca, token="x")


def test_the_example_trains_and_plots(consortium: Consortium, tmp_path: pathlib.Path) -> None:
    example = pathlib.Path(__file__).parent.parent / "examples/train.py"
    arguments = ["--coordinator", consortium.url, "--ca", str(consortium.ca), "--token-file", str(consortium.token_file)]
    job = str(consortium.folder / "job.json")
    done = subprocess.run(
        [sys.executable, str(example), *arguments, "--out", str(tmp_path), job], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "model.safetensors").exists()
    assert "parameters" in done.stdout, done.stdout
