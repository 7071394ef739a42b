"""Submits a job, watches it with a progress bar, fetches the model into NumPy and plots the loss.

    python examples/train.py --coordinator https://127.0.0.1:7401 --ca cert.pem --token-file operator.token job.yaml

Needs `pip install -e 'sdk/python[examples]'`.
"""

# %% The options
from __future__ import annotations

import argparse
import pathlib

import consort
import matplotlib
from tqdm import tqdm

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402: after its backend is chosen

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--coordinator", required=True, metavar="URL")
parser.add_argument("--ca", required=True, type=pathlib.Path, metavar="FILE")
parser.add_argument("--token-file", required=True, type=pathlib.Path, metavar="FILE")
parser.add_argument("--out", default=pathlib.Path("."), type=pathlib.Path, metavar="DIR")
parser.add_argument("job", type=pathlib.Path, help="the job file (YAML or JSON)")
options = parser.parse_args()

client = consort.connect(options.coordinator, ca=options.ca, token_file=options.token_file)

# %% Submit
job = client.submit(options.job)
print(job)

# %% Watch
with tqdm(total=job.rounds_planned, unit="round") as bar:
    for job in client.watch(job.id):
        bar.n = len(job.rounds)
        bar.set_postfix(state=job.state.value, phase=job.phase, epsilon=f"{job.epsilon_spent:.3f}")
if job.state is not consort.State.COMPLETED:
    raise consort.JobEndedError(job)

# %% The model, as NumPy arrays
model = client.model(job.id)
print(model)
print(f"{sum(array.size for array in model.parameters.values())} parameters in {model.save(options.out)}")

# %% The loss, which is noised: the curve is as private as the model
rounds = job.metrics()
figure, axes = plt.subplots()
axes.plot(rounds["round"], rounds["loss"], marker="o")
axes.set(xlabel="round", ylabel="noised mean loss", title=f"{job.name}, epsilon {job.epsilon_spent:.2f}")
figure.savefig(options.out / "loss.png")
print(f"the loss is plotted in {options.out / 'loss.png'}")
client.close()
