"""A real consortium of three clinics and a coordinator, as processes of the built program."""

from __future__ import annotations

import json
import os
import pathlib
import re
import socket
import subprocess
import time
from typing import Any

# Twenty times what a daemon takes to start on a busy machine.
PATIENCE = 120.0


class Consortium:
    """Made from the files that a short demo leaves; ends its processes when it is closed."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.program = os.environ.get("CONSORT", "target/release/consort")
        self.folder = folder / "consortium"
        demo = ["demo", "--members", "3", "--rounds", "2", "--json", "--dir", str(self.folder)]
        done = subprocess.run([self.program, *demo], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        # The demo's members consent to one job for ever; here there are more.
        for consent in self.folder.glob("*/consent.toml"):
            text = re.sub(r"(?m)^max_epsilon_lifetime = .*$", "max_epsilon_lifetime = 100.0", consent.read_text())
            consent.write_text(text)
        self.processes: list[subprocess.Popen[bytes]] = []
        try:
            for consent in sorted(self.folder.glob("*/consent.toml")):
                self._serve("participant", consent.parent)
            self._serve("coordinator", self.folder / "coordinator")
            config = (self.folder / "coordinator/config.toml").read_text()
            address = re.search(r'(?m)^operators_address = "(.*)"$', config)
            assert address, config
            self.address = address[1]
            self._answers()
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        return f"https://{self.address}"

    @property
    def ca(self) -> pathlib.Path:
        return self.folder / "coordinator/tls/cert.pem"

    @property
    def token_file(self) -> pathlib.Path:
        return self.folder / "coordinator/operator.token"

    def document(self, **changes: Any) -> dict[str, Any]:
        """The demo's job, changed."""
        document: dict[str, Any] = json.loads((self.folder / "job.json").read_text())
        return document | changes

    def close(self) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()

    def _serve(self, role: str, folder: pathlib.Path) -> None:
        with open(folder / "sdk.log", "wb") as log:
            arguments = [self.program, role, "serve", "--config", str(folder / "config.toml")]
            self.processes.append(subprocess.Popen(arguments, stdout=log, stderr=subprocess.STDOUT))

    def _answers(self) -> None:
        host, port = self.address.rsplit(":", 1)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection((host, int(port)), timeout=1).close()
                return
            except OSError:
                assert time.monotonic() < deadline, (self.folder / "coordinator/sdk.log").read_text()
                time.sleep(0.2)
