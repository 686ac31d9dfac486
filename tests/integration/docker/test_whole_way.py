"""The same checkpoint through both engines, and a stage image run without the orchestrator."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mcwbuild.contract import artefacts, documents
from mcwbuild.contract.errors import EnvironmentLacking
from mcwbuild.contract.phases import PHASES
from mcwbuild.engines import choose
from mcwbuild.engines.docker import images as images_of_stages
from mcwbuild.engines.docker.container import NOBODY
from tests.support.commands import EXAMPLE, mcwbuild

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = pytest.mark.docker

MOMENT = {"date", "conversion_date", "created", "latency_ms", "fps", "seconds", "sha256", "size", "model", "backend"}
MOMENT |= {"simulator_ms", "build_seconds", "peak_memory_mb"}


@pytest.fixture(scope="session")
def through_docker(images: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole run on the example checkpoint, in containers."""
    folder = tmp_path_factory.mktemp("docker")
    data = EXAMPLE / "data.yaml"
    done = mcwbuild(
        "run", "--engine", "docker", "--pt", EXAMPLE / "best.pt", "--data", data, "--target", "rk3588", cwd=folder
    )
    assert done.code == 0, done.stderr
    return folder / "build" / "shapes"


def lasting(value: Any) -> Any:
    """A document without what belongs to one run: moments, times, and hashes of files that hold a moment."""
    if isinstance(value, dict):
        return {key: lasting(part) for key, part in value.items() if key not in MOMENT}
    return [lasting(part) for part in value] if isinstance(value, list) else value


@pytest.mark.parametrize("phase", PHASES.values(), ids=PHASES)
def test_both_engines_write_the_same_documents(phase: Any, example: Path, through_docker: Path) -> None:
    for name in (phase.source, phase.performance):
        of_local, of_docker = (documents.read(run / phase.package / name).value for run in (example, through_docker))
        assert lasting(of_docker) == lasting(of_local), name


def test_both_engines_write_the_same_network(example: Path, through_docker: Path) -> None:
    ours, others = ((run / "onnx_package" / "best.onnx").read_bytes() for run in (example, through_docker))
    assert ours == others
    for dtype in ("fp16", "int8"):
        files = [run / "rknn_package" / f"best_{dtype}.rknn" for run in (example, through_docker)]
        local, docker = (artefacts.read_rknn(file) for file in files)
        assert (local.target, local.inputs, local.outputs) == (docker.target, docker.inputs, docker.outputs)


def test_the_packages_are_whole_and_say_which_image_made_them(through_docker: Path, images: dict[str, str]) -> None:
    assert mcwbuild("verify", through_docker, cwd=through_docker).code == 0
    for name, phase in PHASES.items():
        provenance = json.loads((through_docker / phase.package / "manifest.json").read_text())["provenance"]
        assert provenance["engine"] == "docker"
        assert provenance["environment"] == {"image": images[name]}


def test_an_unchanged_run_starts_no_container(through_docker: Path) -> None:
    done = mcwbuild(
        *("run", "--engine", "docker", "--pt", EXAMPLE / "best.pt", "--data", EXAMPLE / "data.yaml"),
        *("--target", "rk3588", "--json"),
        cwd=through_docker.parents[1],
    )
    assert [package["state"] for package in done.json["packages"]] == ["fresh"] * 3


HARDENED = (
    *("--rm", "--network", "none", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"),
    *("--security-opt", "no-new-privileges"),
)


def docker_run(image: str, folder: Path, user: str, *words: str) -> subprocess.CompletedProcess[str]:
    """`docker run` as the README shows it."""
    mounts = ["-v", f"{folder}:/in:ro", "-v", f"{folder}/out:/out"]
    command = ["docker", "run", *HARDENED, "-u", user, *mounts, image, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_stage_image_is_run_without_the_orchestrator(
    images: dict[str, str], through_docker: Path, tmp_path: Path
) -> None:
    tmp_path.chmod(0o755)  # pytest's folders are closed to others, and as root the container's user is another
    for name in ("best.pt", "training_source.yaml"):
        (tmp_path / name).write_bytes((through_docker / "pt_package" / name).read_bytes())
    user = f"{os.geteuid() or NOBODY}:{os.getegid() or NOBODY}"
    (tmp_path / "out").mkdir()
    os.chown(tmp_path / "out", *map(int, user.split(":")))
    words = ["--pt", "/in/best.pt", "--source", "/in/training_source.yaml", "--out", "/out"]
    done = docker_run(images["onnx"], tmp_path, user, *words)
    assert done.returncode == 0, done.stderr
    made = {path.name for path in (tmp_path / "out").iterdir()}
    papers = {"onnx_source.yaml", "performance_onnx.json", "results_onnx.json", "manifest.json", "SHA256SUMS"}
    assert {"best.onnx", *papers} == made
    assert {path.stat().st_uid for path in (tmp_path / "out").iterdir()} == {int(user.split(":")[0])}
    (tmp_path / "training_source.yaml").write_text("schema: training_source/1\nno: source\n")
    broken = docker_run(images["onnx"], tmp_path, user, *words)
    assert broken.returncode == 2
    assert "training_source.yaml:2" in broken.stderr


def test_auto_takes_docker_where_it_is_ready(images: dict[str, str]) -> None:
    said: list[Any] = []
    assert choose("auto", emit=said.append).name == "docker"
    assert [event.text for event in said] == ["Engine: docker."]


def test_auto_takes_the_local_engine_where_docker_is_not_ready_and_names_the_way(
    client: DockerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[Any] = []
    monkeypatch.setattr(images_of_stages, "find", lambda *_, **__: None)
    assert choose("auto", emit=said.append).name == "local"
    assert "The pt image is not built. `mcwbuild images build` makes it so." in said[0].text
    said.clear()
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    assert choose("auto", emit=said.append).name == "local"
    assert "mcwbuild images build" in said[0].text
    with pytest.raises(EnvironmentLacking) as raised:
        choose("docker").prepare(PHASES["pt"], said.append)
    assert raised.value.kind == "daemon"
