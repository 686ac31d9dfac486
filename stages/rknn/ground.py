"""Where the toolkit's process runs: in this machine's folders as they are, or on ground that never changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from mcwbuild.contract import errors
from mcwbuild.contract.errors import EnvironmentLacking
from stages.rknn import compiler_log, fixed_ground
from stages.rknn.job import Job

_PASSED_ON = ("LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ", "PYTHONDONTWRITEBYTECODE")
_IMAGE = "/opt/mcwbuild"  # where everything lies in an image: its paths are fixed already
_OWN = "/mcwbuild"  # where everything lies in a root of its own
_NOWHERE = "/nowhere"
_ASKED = 30.0  # seconds for a process that does nothing


@dataclass(frozen=True)
class Start:
    """How a process is started: its words, its environment, its working folder."""

    command: tuple[str, ...]
    environment: dict[str, str]
    folder: Path


class Ground:
    """This machine as it is; `folder` holds the toolkit's folders.

    `shared`: whether all builds are split off from one process that has loaded the toolkit.
    """

    shared = True

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mcwbuild-toolkit-"))

    def start(self, child: Sequence[str], arguments: Sequence[str], work: Path, tmp: Path, threads: int) -> Start:
        """`child` with `arguments`, in its empty folders `work` and `tmp`, in a clean environment.

        A `.rknn` holds fragments of the memory of the process that made it, so no secrets there.
        """
        kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        environment = {
            **kept,
            "PATH": os.defpath,
            "HOME": str(work),
            "TMPDIR": str(tmp),
            "PYTHONPATH": os.pathsep.join(_roots()),
            "PYTHONHASHSEED": "0",
            "OMP_NUM_THREADS": str(threads),
        }
        return Start((*child, *arguments), environment, work)

    def place(self, folder: Path) -> str:
        """A folder of the toolkit's as its process sees it."""
        return str(folder)

    def seen(self, job: Job) -> Job:
        """What the process is told before it builds: the job without what only a measurement needs."""
        return replace(job, images=(), texts=(), kept="", left="")


class FixedGround(Ground):
    """Ground that never changes, so that a build's bytes do not either; see `fixed_ground`.

    Raises EnvironmentLacking where the kernel does not allow it.
    """

    shared = False  # what was split off before would be seen in the memory

    def __init__(self) -> None:
        if _in_image():
            self.folder = Path(tempfile.gettempdir(), "mcwbuild-toolkit")
            self.folder.mkdir()
        else:
            super().__init__()
        self._started = 0
        try:
            self._try()
        except EnvironmentLacking:
            self.folder.rmdir()
            raise

    @cached_property
    def _places(self) -> dict[str, str]:
        """The folders by the path at which the process sees them."""
        if _in_image():
            return {}
        code = {f"{_OWN}/code{number}": root for number, root in enumerate(_roots())}
        python = {f"{_OWN}/base": os.path.realpath(sys.base_prefix), f"{_OWN}/env": sys.prefix}
        return {**python, **code, f"{_OWN}/toolkit": str(self.folder)}

    def _as_seen(self, path: str) -> str:
        for place, source in self._places.items():
            if path == source or path.startswith(f"{source}/"):
                return place + path[len(source) :]
        return path

    def start(self, child: Sequence[str], arguments: Sequence[str], work: Path, tmp: Path, threads: int) -> Start:
        """As for any ground; `threads` is 1 here, and the search for programs finds none: the toolkit asks `lscpu`."""
        command = (*self._python(), *child[1:], *(self._as_seen(word.zfill(10)) for word in arguments))
        root = work.with_name("root")
        root.mkdir()
        started = {
            "root": str(root),
            "places": self._places,
            "cpu": self._started,
            "folder": self._as_seen(str(work)),
            "command": command,
            "environment": self._environment(self._as_seen(str(work)), self._as_seen(str(tmp))),
        }
        self._started += 1
        return Start((sys.executable, "-I", "-S", fixed_ground.__file__, json.dumps(started)), {}, work)

    def _python(self) -> tuple[str, ...]:
        if not self._places:
            return (sys.executable,)
        real = os.path.realpath(sys.executable)  # of the base, and not a link that an environment has for it
        return self._as_seen(real), "-S"  # the base's own packages are no business of the environment

    def _environment(self, home: str, scratch: str) -> dict[str, str]:
        packages = Path(os.__file__).relative_to(os.path.realpath(sys.base_prefix)).parent / "site-packages"
        own = [f"{_OWN}/env/{packages}"] if self._places else []
        libraries = [f"{_OWN}/base/lib"] if self._places else []  # Python's own, if it has one
        libraries += [place for place in [os.environ.get("LD_LIBRARY_PATH")] if place]
        return {
            "PATH": _NOWHERE,
            "HOME": home,
            "USER": "mcwbuild",
            "TMPDIR": scratch,
            "LANG": "C.UTF-8",
            "PYTHONPATH": os.pathsep.join([*own, *map(self._as_seen, _roots())]),
            "PYTHONHASHSEED": "0",
            # Everything is compiled anew: who finds a compiled file has another heap than who does not.
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPYCACHEPREFIX": _NOWHERE,
            "OMP_NUM_THREADS": "1",
            # The build's thread has a heap of its own, which begins empty, takes no block from another one's, and
            # leaves no large block to the kernel, which would put it where there is room.
            "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0",
            "MALLOC_ARENA_TEST": "8",
            "MALLOC_MMAP_THRESHOLD_": "33554432",
            "TQDM_DISABLE": "1",  # its bars have a thread, and write as often as there is time
            **({"LD_LIBRARY_PATH": os.pathsep.join(libraries)} if libraries else {}),
        }

    def place(self, folder: Path) -> str:
        """As for any ground."""
        return self._as_seen(str(folder))

    def seen(self, job: Job) -> Job:
        """As for any ground, with the paths at which the process sees them."""
        told = super().seen(job)
        calibration = None if told.calibration is None else self._as_seen(told.calibration)
        model, export, ranges = map(self._as_seen, (told.model, told.export, told.ranges))
        return replace(told, calibration=calibration, model=model, export=export, ranges=ranges)

    def _try(self) -> None:
        """Raises EnvironmentLacking where a process that does nothing cannot be started so."""
        with tempfile.TemporaryDirectory(dir=self.folder, ignore_cleanup_errors=True) as name:
            work = Path(name, "work")
            work.mkdir()
            asked = self.start((sys.executable, "-c", "pass"), (), work, work, 1)
            try:
                done = subprocess.run(asked.command, cwd=work, capture_output=True, text=True, timeout=_ASKED)
            except subprocess.TimeoutExpired:
                raise _lacking("It did not start.") from None
        if done.returncode != 0:
            raise _lacking(f"{done.stderr.strip().splitlines()[-1] if done.stderr.strip() else 'It says nothing'}.")


def _lacking(found: str) -> EnvironmentLacking:
    return EnvironmentLacking(
        "--reproducible cannot be kept here: the toolkit's process gets no fixed ground.",
        found,
        "In a container it needs a seccomp profile that allows personality(0x40000); outside of one, user namespaces, "
        "which a sysctl or AppArmor may forbid. --engine docker has that profile.",
        kind="reproducible",
    )


def _in_image() -> bool:
    return sys.prefix.startswith(f"{_IMAGE}/")


def _roots() -> list[str]:
    """The folders that the contract and the stages are imported from."""
    return list(dict.fromkeys(str(Path(module.__file__ or "").parents[2]) for module in (errors, compiler_log)))
