"""Other programs that the orchestrator asks, engines apart: the one place for `subprocess`."""

from __future__ import annotations

import subprocess
from pathlib import Path


def answer(*command: str, folder: Path | None = None, timeout: float = 5.0) -> str | None:
    """What `command` prints, without the last newline; None where it is not there, fails or takes too long."""
    try:
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace").rstrip("\n") if done.returncode == 0 else None


def git_commit(folder: Path) -> str | None:
    """The commit that `folder` is a checkout of; None outside of one."""
    return answer("git", "rev-parse", "--verify", "HEAD", folder=folder)
