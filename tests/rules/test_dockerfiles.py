"""The Dockerfiles: linted, in step with docker/images.yaml and with the environment that the local engine gives."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mcwbuild.contract.phases import PHASES, RKNN, Phase
from mcwbuild.engines import StageCall, local
from mcwbuild.engines.docker import bases
from tests.rules.test_walls import run, tool

ROOT = Path(__file__).parents[2]
phases = pytest.mark.parametrize("phase", PHASES.values(), ids=lambda phase: phase.name)


def dockerfile(phase: Phase) -> str:
    return (ROOT / "docker" / phase.name / "Dockerfile").read_text()


def test_hadolint_finds_nothing() -> None:
    done = run(tool("hadolint"), *(str(ROOT / "docker" / name / "Dockerfile") for name in PHASES))
    assert done.returncode == 0, done.stdout


@phases
def test_the_classic_builder_can_build_them(phase: Phase) -> None:
    assert not re.search(r"^\s*RUN --mount|<<[A-Z-]|^# syntax=", dockerfile(phase), re.MULTILINE)


@phases
def test_base_images_are_the_ones_of_the_table(phase: Phase) -> None:
    defaults = dict(re.findall(r"^ARG (\w+_IMAGE)=(\S+)$", dockerfile(phase), re.MULTILINE))
    assert defaults == {base.argument: base.reference for base in bases.bases(phase)}
    assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", base.digest) for base in bases.bases(phase))


@phases
def test_the_environment_is_the_local_engines(phase: Phase, tmp_path: Path) -> None:
    """The same variables; those that name folders name /tmp, threads and limits are the engine's, GPUs Docker's."""
    block = re.search(r"^ENV (PATH=.*?[^\\])\n", dockerfile(phase), re.MULTILINE | re.DOTALL)
    assert block is not None
    image = dict(word.split("=", 1) for word in block[1].replace("\\\n", " ").split())
    folders = {name: Path("/tmp") for name in ("home", "tmp", "work")}
    wanted = local.environment(Path("/opt/mcwbuild/env/bin/python"), Path("/opt/mcwbuild/code"), folders, 1)
    wanted.pop("OPENCV_IO_MAX_IMAGE_PIXELS")
    for only_here in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "TZ"):
        wanted.pop(only_here, None)
    assert image.pop("PATH").startswith("/opt/mcwbuild/env/bin:")
    wanted.pop("PATH")
    assert image == wanted


@phases
def test_the_entry_point_is_the_local_engines_command(phase: Phase, tmp_path: Path) -> None:
    call = StageCall(phase, (), (), tmp_path, tmp_path / "log", "0")
    python, *words = local.command(Path("python"), call)
    entry = re.search(r"^ENTRYPOINT \[(.*)\]$", dockerfile(phase), re.MULTILINE)
    assert entry is not None
    wanted = [python, *words[: words.index(f"stages.{phase.name}") + 1]]
    assert [word.strip().strip('"') for word in entry[1].split(",")] == wanted


def test_torch_is_the_same_in_all_phases() -> None:
    """The images share torch's layer because they all take the pt phase's lock of it."""
    for name in ("torch-cpu.lock", "torch-cuda.lock"):
        assert len({(ROOT / "docker" / phase / name).read_bytes() for phase in PHASES}) == 1
    assert all("COPY docker/pt/torch-${TORCH}.lock" in dockerfile(phase) for phase in PHASES.values())


def test_only_rknn_takes_its_python_from_elsewhere() -> None:
    assert [phase for phase in PHASES.values() if "PYTHON_IMAGE" in dockerfile(phase)] == [RKNN]
