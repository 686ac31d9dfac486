"""Containers that nobody waits for any more: found by their labels, removed."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from docker import DockerClient

RUN, OWNER = "mcwbuild.run", "mcwbuild.owner"


def owner() -> str:
    """This process, told from every other one of this machine's: host, process number, and when it began."""
    return f"{socket.gethostname()}/{os.getpid()}/{_began(os.getpid())}"


def orphans(client: DockerClient) -> int:
    """Removes every container whose orchestrator on this machine is gone; how many there were.

    Their stages have ended by themselves (see `supervisor`); what is left of them is a name and a layer.
    """
    from docker.errors import APIError, NotFound

    removed = 0
    for found in client.api.containers(all=True, filters={"label": OWNER}):
        if _is_alive(found["Labels"].get(OWNER, "")):
            continue
        with suppress(NotFound, APIError):  # another mcwbuild sweeps at the same time
            client.api.remove_container(found["Id"], force=True, v=True)
            removed += 1
    return removed


def _is_alive(label: str) -> bool:
    """Whether the owner may still be there: what another machine started is its own affair."""
    host, _, process = label.partition("/")
    number, _, began = process.partition("/")
    if host != socket.gethostname() or not number.isdigit():
        return True
    return Path(f"/proc/{number}").exists() and _began(int(number)) == began


def _began(process: int) -> str:
    """The process's start in clock ticks since boot; empty where the system does not tell."""
    try:
        return Path(f"/proc/{process}/stat").read_text("ascii", "replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
