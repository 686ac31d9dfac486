"""The state of long work (a training, a search): kept in the attempt's folder while it grows, for the next attempt."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from mcwbuild.contract import resumable
from mcwbuild.gate import admit_state

EVERY = 5.0  # seconds between two looks at whether there is a newer one
FOLDER = "state"


@dataclass
class Saved:
    """What the stage in `staging` has said of its state so far, kept below the attempt's `folder`."""

    staging: Path
    folder: Path
    _seen: dict[str, int] = field(default_factory=dict)
    _looked: float = field(default_factory=time.monotonic)

    def look(self) -> None:
        """Copies a state that is newer than the last one, now and then. The stage replaces it whole."""
        if time.monotonic() - self._looked < EVERY:
            return
        for kind in resumable.KINDS:
            raw = self.staging / kind.staged
            with suppress(OSError):  # not there yet; or the folder is gone, and the next look finds the same
                written = (raw / kind.file).lstat().st_mtime_ns
                if self._seen.get(kind.file) == written:
                    continue
                (self.folder / FOLDER).mkdir(parents=True, exist_ok=True)
                if admit_state(raw, self.folder / FOLDER / kind.staged / kind.file):
                    self._seen[kind.file] = written
        self._looked = time.monotonic()


def newest(call: Path, scratch: Path) -> dict[str, Path]:
    """By its flag, a copy in `scratch` of the last state of each kind that an attempt at the call has left."""
    found = ((kind.flag, _newest(kind, call, scratch)) for kind in resumable.KINDS)
    return {flag: copy for flag, copy in found if copy is not None}


def _newest(kind: resumable.Resumable, call: Path, scratch: Path) -> Path | None:
    found: list[tuple[int, Path]] = []
    for path in call.glob(f"*/{FOLDER}/{kind.staged}/{kind.file}"):
        with suppress(OSError):
            found.append((path.stat().st_mtime_ns, path))
    for _, path in sorted(found, reverse=True):
        copy = scratch / FOLDER / path.name
        copy.parent.mkdir(exist_ok=True)
        with suppress(OSError):
            return Path(shutil.copyfile(path, copy))
    return None
