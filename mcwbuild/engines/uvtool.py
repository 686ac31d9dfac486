"""uv, as the local engine uses it: its settings from the usual variables, its failures as one error."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Timer

from mcwbuild.contract.errors import EnvironmentLacking

TIMEOUT = 3600.0  # seconds: CUDA's 2.7 GB on a line of 1 MB/s
# Settings of somebody's project, which would change what the locks mean.
_FOREIGN = {
    *("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "UV_FIND_LINKS", "UV_TORCH_BACKEND", "UV_CONSTRAINT"),
    *("UV_OVERRIDE", "UV_EXCLUDE_NEWER", "UV_PYTHON", "UV_SYSTEM_PYTHON", "UV_PROJECT", "UV_NO_DEPS"),
}
# pip's variables that uv does not read by itself, and uv's names for them
_TRANSLATED = {"PIP_INDEX_URL": "UV_DEFAULT_INDEX", "PIP_EXTRA_INDEX_URL": "UV_INDEX", "PIP_CERT": "SSL_CERT_FILE"}


def wheel_folders(environment: Mapping[str, str] = os.environ) -> list[str]:
    """The entries of UV_FIND_LINKS (between commas) and PIP_FIND_LINKS (between blanks) that can be used.

    Folders that are not there are left out: uv would fail on them.
    """
    entries = environment.get("UV_FIND_LINKS", "").split(",") + environment.get("PIP_FIND_LINKS", "").split()
    usable = [
        entry for entry in map(str.strip, entries) if "://" in entry or (entry and Path(entry).expanduser().is_dir())
    ]
    return list(dict.fromkeys(usable))


def settings(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment for uv: the caller's, with pip's settings translated and no project's left."""
    made = {key: value for key, value in environment.items() if key not in _FOREIGN}
    for pip, uv in _TRANSLATED.items():
        if environment.get(pip) and uv not in environment:
            made[uv] = environment[pip]
    if environment.get("PIP_NO_INDEX", "").lower() in ("1", "true", "yes", "on"):
        made.setdefault("UV_NO_INDEX", "1")
    return {**made, "UV_NO_PROGRESS": "1", "NO_COLOR": "1"}


def install_arguments(python: Path, locks: Sequence[Path], torch_backend: str | None = None) -> list[str]:
    """`uv pip install` of exactly what the locks name, into the environment of `python`."""
    arguments = ["pip", "install", "--python", str(python), "--require-hashes", "--no-deps", "--only-binary", ":all:"]
    for folder in wheel_folders():
        arguments += ["--find-links", folder]
    for lock in locks:
        arguments += ["-r", str(lock)]
    return arguments + (["--torch-backend", torch_backend] if torch_backend else [])


def program() -> str:
    """uv's executable, which is installed with mcwbuild. Raises EnvironmentLacking."""
    from uv import find_uv_bin

    try:
        return str(find_uv_bin())
    except FileNotFoundError as error:
        raise EnvironmentLacking(
            "uv, which makes the stages' environments, is not there.", f"{error}.", "Install mcwbuild again."
        ) from error


def attempt(
    arguments: Sequence[str],
    folder: Path,
    *,
    extra: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT,
    on_line: Callable[[str], object] = str,
) -> tuple[int, str]:
    """Runs uv in `folder`, so that no project's settings count; exit code and output. Killed at `timeout`: 124."""
    process = subprocess.Popen(
        [program(), *arguments],
        cwd=folder,
        env={**settings(), **(extra or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    overdue = Timer(timeout, process.kill)
    overdue.start()
    output = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            output.append(line)
            on_line(line.rstrip("\n"))
        code = process.wait()
    finally:
        process.kill()
        process.wait()
        alive = overdue.is_alive()
        overdue.cancel()
    return code if alive else 124, "".join(output)


def run(arguments: Sequence[str], folder: Path, log: Path, what: str, on_line: Callable[[str], object] = str) -> str:
    """As `attempt`, with the output added to `log`. Raises EnvironmentLacking with uv's own cause."""
    code, output = attempt(arguments, folder, on_line=on_line)
    with log.open("a", encoding="utf-8") as file:
        file.write(f"$ uv {' '.join(arguments)}\n{output}\n")
    if code:
        raise EnvironmentLacking(what, f"{cause(output)}.", f"The log is {log}; {remedy(output)}", kind="uv")
    return output


def cause(output: str) -> str:
    """uv's last word on why it failed, in one line of at most 300 characters."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"(error|cause|×|╰─▶|Caused by)", line)]
    first = errors[0] if errors else (lines[-1] if lines else "uv ended without a word")
    last = errors[-1] if len(errors) > 1 else ""
    text = re.sub(r"^(error|cause|×|╰─▶|Caused by):?\s*", "", first)
    last = re.sub(r"^(error|cause|×|╰─▶|Caused by):?\s*", "", last)
    return (f"{text}: {last}" if last else text).rstrip(".")[:300]


def remedy(output: str) -> str:
    """What to do about it, as far as the output tells."""
    lowered = output.lower()
    if any(word in lowered for word in ("dns error", "connect", "request", "timed out", "offline", "network")):
        return "run again with a network, or name an index or wheel folders in UV_DEFAULT_INDEX and UV_FIND_LINKS."
    if "no space" in lowered:
        return "free disk space, or put the cache elsewhere with MCWBUILD_CACHE."
    if "hash" in lowered:
        return "the index gave other files than the lock names: use the ordinary index or a true mirror of it."
    return "run again, or use --engine docker."
