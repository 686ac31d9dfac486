"""A Docker daemon of a test's own, in a network namespace of its own: it is stopped and started in mid-stage."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from docker import DockerClient


def missing() -> str | None:
    """Why none can be started on this machine, or None."""
    return None if os.geteuid() == 0 and shutil.which("dockerd") else "a second dockerd needs root and Docker's daemon"


@dataclass
class Daemon:
    """One dockerd below `folder`; it shares nothing with the machine's own."""

    folder: Path
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def address(self) -> str:
        """For DOCKER_HOST."""
        return f"unix://{self.folder}/docker.sock"

    def start(self) -> None:
        """Starts it and waits until it answers."""
        from docker.errors import DockerException

        for stale in self.folder.glob("exec/containerd/containerd.*"):  # they make a start after SIGKILL fail
            stale.unlink()
        options = ["--bridge=none", "--iptables=false", "--ip-masq=false", f"--host={self.address}"]
        roots = [f"--data-root={self.folder}/data", f"--exec-root={self.folder}/exec", f"--pidfile={self.folder}/pid"]
        with (self.folder / "log").open("ab") as log:
            # `--bridge none` removes the machine's docker0 unless it is in a namespace of its own
            self.process = subprocess.Popen(
                ["unshare", "-n", "-m", "dockerd", *options, *roots, *self.options], stdout=log, stderr=log
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            with suppress(DockerException):
                self.client().close()
                return
            time.sleep(0.1)
        pytest.skip(f"NOT RUN, a second dockerd does not start here: {(self.folder / 'log').read_text()[-500:]}")

    def client(self) -> DockerClient:
        """A client of it."""
        from docker import DockerClient

        return DockerClient(self.address, timeout=120)

    def end(self, number: int) -> None:
        """Sends it a signal and waits until it is gone."""
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(60)

    def load(self, other: DockerClient, images: list[str]) -> None:
        """Takes over images of another daemon's."""
        own = self.client()
        for image in images:
            own.images.load(b"".join(other.images.get(image).save()))
        own.close()

    def remove(self) -> None:
        """Ends it, and removes what it had."""
        if self.process is not None and self.process.poll() is None:
            self.end(signal.SIGTERM)
        shutil.rmtree(self.folder)
