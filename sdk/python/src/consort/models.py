"""Released models: NumPy arrays out of safetensors, and the signed manifest that says what they are and what they cost."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy

from .errors import FailedError


@dataclasses.dataclass(frozen=True)
class Model:
    """A released model."""

    job: str
    parameters: dict[str, npt.NDArray[np.float32]]
    """By the names of the layout, in the shapes of the layers."""
    manifest: dict[str, Any]
    """What the coordinator signed about it. That the file is the one it names was checked; the signature is for `consort audit`."""
    file: bytes
    """The safetensors file as it came."""

    def save(self, folder: str | os.PathLike[str]) -> pathlib.Path:
        """Writes model.safetensors and manifest.json into a folder, which is made; returns the model's path."""
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "model.safetensors"
        path.write_bytes(self.file)
        (folder / "manifest.json").write_text(json.dumps(self.manifest, indent=2), encoding="utf-8")
        return path

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {'x'.join(map(str, it.shape))}" for name, it in self.parameters.items())
        return f"<model of {self.job}: {shapes}>"


def model_of(job: str, manifest: bytes, file: bytes) -> Model:
    """From what was downloaded."""
    try:
        signed = json.loads(manifest)
        named = signed["manifest"]["model_sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise FailedError("manifest_malformed", f"the manifest of {job} cannot be read: {error}") from error
    if named != hashlib.sha256(file).hexdigest():
        raise FailedError("manifest_other_model", f"the file that came is not the one that the manifest of {job} names")
    return Model(job=job, parameters=safetensors.numpy.load(file), manifest=signed, file=file)
