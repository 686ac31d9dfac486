"""A cache of a test's own whose environments are the machine's, and count each stage that they start."""

from __future__ import annotations

import shlex
from pathlib import Path

from mcwbuild.contract.phases import PHASES
from mcwbuild.engines import environments

FORKS = """
import runpy, sys
run = runpy.run_module

def counting(module, *args, **named):
    with open({starts!r}, "a") as file:
        file.write(" ".join(["-m", module, *sys.argv[1:]]) + "\\n")
    return run(module, *args, **named)

runpy.run_module = counting
"""


class Counted:
    """`folder` is for MCWBUILD_CACHE; nothing is in its store at first."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._starts = folder, folder / "starts"
        patch = folder / "counting"
        patch.mkdir(parents=True)
        (patch / "sitecustomize.py").write_text(FORKS.format(starts=str(self._starts)))
        for phase in PHASES.values():
            real = environments.make(phase, lambda event: None)
            own = folder / "environments" / real.locks.name
            (own / "bin").mkdir(parents=True)
            (own / environments.MARKER).write_bytes((real.folder / environments.MARKER).read_bytes())
            python, starts = shlex.quote(str(real.python)), shlex.quote(str(self._starts))
            # The supervisor is started by the same Python, with other words before its own; a fork server, which
            # counts by itself what it forks, with the words of a stage but for -m.
            counting = f'[ "$1" = -s ] && [ "$3" = -m ] && echo "$@" >> {starts}\n'
            counting += f'[ "$1" = -s ] && [ "$3" != -m ] && PYTHONPATH={patch}:$PYTHONPATH\nexec {python} "$@"\n'
            (own / "bin" / "python").write_text(f"#!/bin/sh\n{counting}")
            (own / "bin" / "python").chmod(0o755)

    def starts(self) -> list[tuple[str, str, str]]:
        """Every stage that was started: its phase, the name of the model's folder, its target or nothing."""
        found = []
        for line in self._starts.read_text().splitlines() if self._starts.exists() else ():
            words = line.split()
            phase = words[words.index("-m") + 1].removeprefix("stages.")
            parts = Path(words[words.index("--result") + 1]).parts
            target = words[words.index("--target") + 1] if "--target" in words else ""
            found.append((phase, parts[parts.index("build") + 1], target))
        return found

    def forked(self) -> int:
        """How many of them a fork server began."""
        return sum(line.startswith("-m ") for line in self._starts.read_text().splitlines())

    def stored(self) -> list[str]:
        """The keys of the packages in its store."""
        return sorted(path.name for path in (self.folder / "store" / "packages").iterdir())
