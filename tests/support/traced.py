"""A publish under strace: every call of it that changes something, killed or failed, one in each trial."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mcwbuild.contract.errors import ExitCode
from mcwbuild.package import Workspace
from tests.campaign.series import Made
from tests.support import generations
from tests.support.commands import ROOT

# What changes a file system or makes a change durable; `flock` decides who may.
CALLS = (
    *("write", "pwrite64", "fsync", "fdatasync", "rename", "renameat", "renameat2", "mkdir", "mkdirat", "unlink"),
    *("unlinkat", "rmdir", "fchmod", "chmod", "fchmodat", "ftruncate", "flock", "link", "linkat", "symlink"),
)
WAYS = {"killed": "signal=KILL", "no space": "error=ENOSPC", "input/output error": "error=EIO"}
BEGINNINGS = ("first", "again")  # nothing is there yet, or an older package
_LINE = re.compile(r"(?:[0-9]+ +)?([a-z0-9]+)\((.*)")
_WRITES = re.compile(r"O_WRONLY|O_RDWR|O_CREAT")
SECONDS = 60  # for a run; none takes one


@dataclass(frozen=True)
class Point:
    """One call of the publish: the `number`-th of its name in the process."""

    beginning: str
    call: str
    number: int
    words: str


@dataclass(frozen=True)
class Trial:
    """One call, and what happens to it."""

    point: Point
    way: str

    def __str__(self) -> str:
        return f"{self.point.beginning}, {self.point.call} {self.point.number} {self.way}: {self.point.words}"


def missing() -> str | None:
    """Why no trial can be made on this machine, or None."""
    if not shutil.which("strace"):
        return "strace is not installed"
    done = subprocess.run(["strace", "-f", "-e", "trace=none", "true"], capture_output=True, check=False)
    return None if done.returncode == 0 else "strace may trace nothing here"


def _place(folder: Path, beginning: str) -> None:
    """A fresh output folder, and the packages that are published into it."""
    if not (folder / "raw").is_dir():
        generations.prepare(folder / "raw", 2)
    shutil.rmtree(folder / "out", ignore_errors=True)
    (folder / "out").mkdir()
    if beginning == "again":
        with Workspace(folder / "out") as workspace:
            generations.put(workspace, folder / "raw", 0)


def _traced(folder: Path, *options: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    traced = f"trace=openat,newfstatat,stat,{','.join(CALLS)}"
    words = ["strace", "-f", "-o", folder / "trace", "-e", traced, *options]
    program = [sys.executable, "-B", "-m", "tests.support.generations", folder / "raw", folder / "out", "1", "1"]
    done = subprocess.run(
        [str(word) for word in (*words, *program)],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    return done, (folder / "trace").read_text("utf-8", "replace").splitlines()


def points() -> list[Point]:
    """Every call of a publish that changes something, in both beginnings."""
    found = []
    with tempfile.TemporaryDirectory(prefix="mcw-trace-") as text:
        for beginning in BEGINNINGS:
            folder = Path(text)
            _place(folder, beginning)
            done, lines = _traced(folder)
            assert done.returncode == 0, done.stderr
            counted: Counter[str] = Counter()
            begun = False
            for line in lines:
                if (called := _LINE.match(line)) is None:
                    continue
                name, words = called.groups()
                counted[name] += 1
                begun = begun or generations.BEGIN in words
                if words.startswith("1, "):  # the program's own word, not the publish's
                    continue
                if begun and (name in CALLS or (name == "openat" and _WRITES.search(words))):
                    shown = re.sub(r"[0-9a-f]{8}(?=[./\"])", "*", words.replace(str(folder), ""))
                    found.append(Point(beginning, name, counted[name], shown[:90]))
    return found


def trials() -> list[Trial]:
    """Every point in every way."""
    return [Trial(point, way) for point in points() for way in WAYS]


def run(chosen: Sequence[Trial]) -> Made:
    """What came of these trials."""
    made = Made()
    with tempfile.TemporaryDirectory(prefix="mcw-traced-") as text:
        for trial in chosen:
            try:
                made.outcomes[_one(Path(text), trial)] += 1
            except (AssertionError, OSError, subprocess.TimeoutExpired) as error:
                made.outcomes["violation"] += 1
                made.violations.append(f"{trial}: {type(error).__name__}: {error!s:.300}")
    return made


def _one(folder: Path, trial: Trial) -> str:
    _place(folder, trial.point.beginning)
    old = 0 if trial.point.beginning == "again" else None
    done, lines = _traced(folder, "-e", f"inject={trial.point.call}:{WAYS[trial.way]}:when={trial.point.number}")
    begun = next((number for number, line in enumerate(lines) if generations.BEGIN in line), len(lines))
    struck = any("INJECTED" in line or "killed by SIGKILL" in line for line in lines[begun:])
    assert struck, "nothing was struck: the calls come in another order"
    assert "Traceback" not in done.stderr, done.stderr
    acknowledged = done.stdout == "1\n"
    before = generations.found(folder / "out")
    assert before in (old, 1), f"{before} lies there"
    after = generations.recovered(folder / "out")
    assert after == before, f"recovery made {before} to {after}"
    assert after == 1 or not acknowledged, "acknowledged and lost"
    if trial.way != "killed":
        code = done.returncode
        assert code in (ExitCode.DONE, ExitCode.ENVIRONMENT), f"exit code {code}: {done.stderr}"
        assert code or acknowledged, "ended well without a word"
        assert code == 0 or done.stderr.strip(), "failed without a word"
    return f"{trial.way}: {'the new package' if after == 1 else 'as before'}"
