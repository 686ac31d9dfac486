"""The same model built again and again where everything else differs: with `--reproducible`, to the last byte.

A trial has its own folders (of other lengths), user, locale, time zone, umask, number of threads and load, and every
second one an environment, a cache and a Python of its own, made elsewhere.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mcwbuild.contract.phases import PHASES, Phase
from mcwbuild.engines import python311
from mcwbuild.engines.locks import PYTHON
from tests.support.commands import EXAMPLE, MCWBUILD, ROOT

USER = 4242  # somebody whose home this is not
MADE = ("onnx_package/best.onnx", "rknn_package/best_fp16.rknn", "rknn_package/best_int8.rknn")
LOCALES = ("C", "de_DE.UTF-8", "C.UTF-8", "tr_TR.UTF-8", "ja_JP.EUC-JP")
ZONES = ("UTC", "Asia/Tokyo", "America/St_Johns")
IMAGES = 12  # of each split
_BUSY = "while True: pass"


@dataclass(frozen=True)
class Elsewhere:
    """A second home of the stages: `base` is a Python, `cache` holds environments made from it."""

    base: Path
    cache: Path

    def environment(self) -> dict[str, str]:
        """The variables that lead there."""
        path = f"{self.base / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        libraries = {"LD_LIBRARY_PATH": str(self.base / "lib")}  # a Python looks for its own where it was installed
        return {"PATH": path, **libraries, "XDG_CACHE_HOME": str(self.cache), "UV_PYTHON_PREFERENCE": "only-system"}


def elsewhere(folder: Path, phases: tuple[Phase, ...] = tuple(PHASES.values())) -> Elsewhere:
    """Make it in `folder`, which everybody may enter, unless it is there."""
    folder.mkdir(exist_ok=True)
    made = Elsewhere(folder / "base", folder / "cache")
    if not made.base.is_dir():
        python = Path(os.path.realpath(python311.obtain(folder, folder / "uv.log", lambda _event: None)))
        library, name = python.parents[1] / "lib", f"python{PYTHON}"
        shutil.copytree(library / name, made.base / "lib" / name, symlinks=True, ignore=_contents_of_packages)
        for shared in library.glob("libpython*.so*"):
            shutil.copy2(shared, made.base / "lib", follow_symlinks=False)
        (made.base / "bin").mkdir()
        shutil.copy2(python, made.base / "bin" / name)
    code = "from mcwbuild.contract.phases import PHASES\nfrom mcwbuild.engines.local import LocalEngine\nimport sys\n"
    code += "for name in sys.argv[1:]: LocalEngine().prepare(PHASES[name], lambda event: None)"
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **made.environment()}
    subprocess.run([sys.executable, "-c", code, *(phase.name for phase in phases)], env=variables, check=True)
    subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", f"{USER}:{USER}", made.cache], check=True)
    return made


def _contents_of_packages(folder: str, names: list[str]) -> list[str]:
    """What is not copied: what somebody installed into the base, and compiled files."""
    return [*names] if Path(folder).name in ("site-packages", "dist-packages", "__pycache__") else []


@contextmanager
def load(processes: int) -> Iterator[None]:
    """So many processes that only compute."""
    started = [subprocess.Popen([sys.executable, "-c", _BUSY]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def build(number: int, folder: Path, other: Elsewhere | None, words: tuple[str, ...] = ()) -> dict[str, str]:
    """Trial `number`: the SHA-256 of each artefact. `other` is where trials of odd number run, None: all run here.

    Raises AssertionError with what the command said where it fails.
    """
    place = folder / f"trial{number}" / "/".join("d" * (3 * number + 1) for _ in range(number % 4 + 1))
    shutil.copytree(EXAMPLE, place / "model", ignore=shutil.ignore_patterns("*[0-9][0-9][2-9][0-9].*"))
    command, variables = [*MCWBUILD], {}
    if other is not None and number % 2:
        variables = other.environment()
        if os.geteuid() == 0:  # what is only root's may be read, but who it is has changed
            capability = "+dac_read_search"
            who = [f"--reuid={USER}", f"--regid={USER}", "--clear-groups", f"--inh-caps={capability}"]
            command = ["setpriv", *who, f"--ambient-caps={capability}", *command]
    subprocess.run(["chmod", "-R", "a+rwX", folder / f"trial{number}"], check=True)
    out = place / "out"
    inputs = ["run", "--pt", place / "model" / "best.pt", "--data", place / "model" / "data.yaml", "--name", "same"]
    options = [
        "--target",
        "rk3588",
        "--engine",
        "local",
        "--reproducible",
        "--tune",
        "off",
        "--threads",
        str(number % 2 + 1),
        "--out",
        out,
    ]
    names = {"LANG": LOCALES[number % len(LOCALES)], "LC_ALL": LOCALES[number % len(LOCALES)]}
    surroundings = {"PYTHONPATH": str(ROOT), "CI": "1", "MCWBUILD_STORE": "false", "TZ": ZONES[number % len(ZONES)]}
    with load(2 * (number % 3)):
        done = subprocess.run(
            [*map(str, (*command, *inputs, *options, *words))],
            cwd=place,
            env={**os.environ, **surroundings, **names, **variables, "WEIGHT": "x" * (97 * number)},
            umask=(0o022, 0o077, 0o002)[number % 3],
            text=True,
            capture_output=True,
        )
    assert done.returncode in (0, 3), f"trial {number} ended with {done.returncode}: {done.stderr[-2000:]}"
    return {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in MADE}
