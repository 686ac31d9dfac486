"""The locks that are shipped: hashed, bound to no machine, weighed, and to be resolved from the ordinary index."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from mcwbuild.contract.phases import PHASES, PhaseName
from mcwbuild.engines import uvtool
from mcwbuild.engines.locks import Locks, TorchBuild
from tests.support.engines import python_of_stages

BUILDS: tuple[TorchBuild, ...] = ("cpu", "cuda")


def pinned(lock: Path) -> dict[str, str]:
    """Package -> version; every one must have a hash."""
    entries = re.split(r"\n(?=\S)", lock.read_text("utf-8").strip())
    found = {}
    for entry in entries:
        head = re.match(r"([a-z0-9-]+)==(\S+) \\\n    --hash=sha256:[0-9a-f]{64}", entry)
        assert head, entry
        found[head[1]] = head[2]
    return found


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("phase", PHASES)
def test_a_lock_names_no_host_and_no_folder(phase: PhaseName, build: TorchBuild) -> None:
    for lock in Locks(PHASES[phase], build).files:
        assert not re.search(r"https?:|file:|/|--(?!hash=)", lock.read_text("utf-8"))


@pytest.mark.parametrize("phase", PHASES)
def test_torch_stands_in_its_own_locks_only(phase: PhaseName) -> None:
    requirements, cpu = map(pinned, Locks(PHASES[phase], "cpu").files)
    cuda = pinned(Locks(PHASES[phase], "cuda").files[1])
    assert cpu == {"torch": "2.13.0+cpu"}
    assert cuda["torch"] == "2.13.0"
    assert not set(requirements) & set(cuda)
    assert "triton" in cuda
    assert {"filelock", "sympy", "networkx", "jinja2", "fsspec", "typing-extensions"} <= set(requirements)


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("phase", PHASES)
def test_every_package_of_a_lock_is_weighed(phase: PhaseName, build: TorchBuild) -> None:
    locks = Locks(PHASES[phase], build)
    sizes = locks.sizes()
    assert set(sizes) == {name for lock in locks.files for name in pinned(lock)}
    assert all(size > 1000 for size in sizes.values())


@pytest.mark.parametrize("phase", PHASES)
def test_a_lock_holds_what_its_input_asks_for(phase: PhaseName) -> None:
    locks = Locks(PHASES[phase], "cuda")
    asked = dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", (locks.files[0].parent / "requirements.in").read_text(), re.M))
    held = {**pinned(locks.files[0]), **pinned(locks.files[1])}
    assert {name.replace(".", "-"): version for name, version in asked.items()}.items() <= held.items()


def test_all_stages_decode_and_scale_images_with_the_same_library() -> None:
    versions = {pinned(Locks(phase, "cpu").files[0])["opencv-python-headless"] for phase in PHASES.values()}
    assert len(versions) == 1


@pytest.mark.network
@pytest.mark.parametrize("phase", PHASES)
def test_a_lock_set_resolves_without_any_wheel_folder(phase: PhaseName, tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in ("PIP_FIND_LINKS", "UV_FIND_LINKS")}
    environment["UV_CACHE_DIR"] = str(tmp_path / "uv")
    uv = uvtool.program()
    subprocess.run([uv, "venv", "-q", "-p", python_of_stages(), tmp_path / "venv"], check=True, env=environment)
    words = [uv, "pip", "install", "--dry-run", "--python", tmp_path / "venv" / "bin" / "python", "--require-hashes"]
    for lock in Locks(PHASES[phase], "cuda").files:
        words += ["-r", lock]
    done = subprocess.run(
        [*words, "--no-deps", "--only-binary", ":all:"], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert "torch==2.13.0\n" in done.stderr
