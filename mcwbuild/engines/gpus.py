"""One stage at a time on a GPU, whichever run it belongs to: a lock for each, in the cache of this machine's user.

The kernel lets go of a lock when its owner dies. Where there is no GPU nobody waits.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from mcwbuild.contract import documents
from mcwbuild.contract.errors import EnvironmentLacking, McwbuildError
from mcwbuild.contract.events import Emit, Noted
from mcwbuild.contract.phases import PT
from mcwbuild.engines import StageCall
from mcwbuild.engines.environments import cache_folder
from mcwbuild.engines.patience import Patience
from mcwbuild.process import answer

_LOOK = 0.5  # seconds between two looks for a GPU that has become free


def visible() -> tuple[str, ...]:
    """The GPUs that a stage may see, as CUDA_VISIBLE_DEVICES names them: all of the driver where it is not set."""
    said = answer("nvidia-smi", "-L")
    count = sum(line.startswith("GPU ") for line in (said or "").splitlines())
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return tuple(word.strip() for word in given.split(",") if word.strip() not in ("", "-1")) if count else ()
    return tuple(map(str, range(count)))


@contextmanager
def held(call: StageCall, emit: Emit) -> Iterator[StageCall]:
    """The call with a GPU for its stage alone, the first that is free; as it is where the phase or machine has none.

    What a training's train.yaml says of its device is kept to. Raises Stopped while it waits, EnvironmentLacking.
    """
    config = dict(call.inputs).get("--train")
    asked = None if config is None else _asked(config)
    if call.phase is not PT or "--describe" in call.options or asked == "cpu" or not (there := visible()):
        yield call
        return
    if asked is not None:  # it sees all of them, and takes the one that it names
        there = there[int(asked) : int(asked) + 1] or (asked,)
    name, lock = _taken(there, emit, Patience(None, call.stop))
    try:
        yield call if asked is not None else replace(call, gpu=name)
    finally:
        lock.release()


def _taken(there: tuple[str, ...], emit: Emit, patience: Patience) -> tuple[str, _Lock]:
    told = False
    while True:
        for name in there:
            lock = _Lock(name)
            if lock.taken():
                return name, lock
        if not told:
            which = f"GPU {there[0]} is" if len(there) == 1 else f"All {len(there)} GPUs are"
            emit(Noted(f"{which} in use by other runs of mcwbuild; waiting."))
            told = True
        patience.check()
        time.sleep(_LOOK)


class _Lock:
    """The lock of one GPU."""

    def __init__(self, name: str) -> None:
        from filelock import FileLock

        folder = cache_folder() / "gpus"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EnvironmentLacking(
                "The lock of a GPU cannot be written.",
                f"{error.strerror or error}: {folder}.",
                "Free disk space, or put the cache elsewhere with MCWBUILD_CACHE.",
                kind="disk",
            ) from error
        plain = "".join(letter if letter.isalnum() else "-" for letter in name)
        self._lock = FileLock(folder / f"{plain}.lock", timeout=0)

    def taken(self) -> bool:
        """Whether it is ours now."""
        from filelock import Timeout

        try:
            self._lock.acquire()
        except Timeout:
            return False
        return True

    def release(self) -> None:
        """Let the next one have it."""
        self._lock.release()


def _asked(config: Path) -> str | None:
    """What train.yaml says of its device: `cpu`, a number, or None. What is wrong with it is the stage's to tell."""
    try:
        said = documents.read_yaml(config).value
    except McwbuildError:
        return None
    device = str(said.get("device", "")) if isinstance(said, dict) else ""
    return device if device == "cpu" or device.isdecimal() else None
