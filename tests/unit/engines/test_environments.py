"""Environments are made by the real uv, from toy wheels in a folder: whole, once, and with the reason when not."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import threading
import zipfile
from pathlib import Path

import pytest

from mcwbuild.contract import assets
from mcwbuild.contract.errors import EnvironmentLacking
from mcwbuild.contract.events import Event, Finished, Noted, Started
from mcwbuild.contract.phases import ONNX, PT
from mcwbuild.engines import environments, machine, python311, torch_source, uvtool
from mcwbuild.engines.local import LocalEngine
from tests.support.engines import python_of_stages

TORCH = "torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl"


def write_wheel(folder: Path, file: str) -> str:
    """A wheel with one module of one line; its lock line."""
    name, version = file.split("-")[:2]
    path = folder / file
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}/__init__.py": f"VERSION = '{version}'\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {'-'.join(file[:-4].split('-')[2:])}\n",
    }
    record = "".join(
        f"{place},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip('=')},\n"
        for place, text in files.items()
    )
    with zipfile.ZipFile(path, "w") as archive:
        for place, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(place, text)
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


@pytest.fixture
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Toy locks for the onnx and pt phases, their wheels in a folder, an empty cache, and no index."""
    python = python_of_stages()
    wheels, folder = tmp_path / "wheels", tmp_path / "docker"
    wheels.mkdir()
    toy, torch = write_wheel(wheels, "toy-1.0-py3-none-any.whl"), write_wheel(wheels, TORCH)
    for phase in (ONNX, PT):
        place = folder / phase.name
        place.mkdir(parents=True)
        (place / "requirements.lock").write_text(toy)
        (place / "torch-cpu.lock").write_text(torch)
        (place / "torch-cuda.lock").write_text(torch.replace("+cpu", ""))
        sizes = {"requirements.lock": {"toy": 1_000_000}, "torch-cpu.lock": {"torch": 5_000_000}}
        (place / "sizes.json").write_text(json.dumps({**sizes, "torch-cuda.lock": {"torch": 9_000_000}}))
    monkeypatch.setattr(assets, "locks_dir", lambda: folder)
    monkeypatch.setattr(machine, "has_nvidia_gpu", lambda: False)
    monkeypatch.setattr(python311, "candidates", lambda folder: iter([python]))
    monkeypatch.setenv("MCWBUILD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("PIP_FIND_LINKS", f"{tmp_path / 'nothing'} {wheels}")
    monkeypatch.delenv("UV_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    torch_source.decide.cache_clear()
    return folder


def left(cache: Path) -> list[str]:
    return [path.name for path in (cache / "environments").iterdir() if path.name.startswith(".tmp-")]


def test_an_environment_is_made_from_its_locks_and_says_what_it_downloads(locks: Path, tmp_path: Path) -> None:
    said: list[Event] = []
    made = environments.make(ONNX, said.append)
    assert isinstance(said[0], Noted)
    assert "1 MB to download" in said[0].text
    assert str(tmp_path / "wheels") in said[0].text
    assert isinstance(said[1], Started)
    assert isinstance(said[-1], Finished)
    assert made.lacking() is None
    program = "import toy, torch, sys; print(toy.VERSION, torch.VERSION, '%d.%d' % sys.version_info[:2])"
    done = subprocess.run([made.python, "-c", program], capture_output=True, text=True)
    assert done.stdout == "1.0 2.13.0+cpu 3.11\n"
    assert left(tmp_path / "cache") == []


def test_a_second_making_finds_the_first_and_says_nothing(locks: Path) -> None:
    made = environments.make(ONNX, lambda event: None)
    said: list[Event] = []
    assert environments.make(ONNX, said.append) == made
    assert said == []


def test_a_changed_lock_is_another_environment(locks: Path) -> None:
    first = environments.intended(ONNX).folder
    with (locks / "onnx" / "requirements.lock").open("a") as file:
        file.write("# changed\n")
    assert environments.intended(ONNX).folder != first


def test_two_makings_at_once_make_one(locks: Path) -> None:
    events: list[Event] = []
    both = [threading.Thread(target=environments.make, args=(ONNX, events.append)) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join(120)
    assert len([event for event in events if isinstance(event, Finished)]) == 1


def test_what_an_interrupted_making_left_is_removed(locks: Path, tmp_path: Path) -> None:
    rest = tmp_path / "cache" / "environments" / ".tmp-onnx-0123abcd"
    rest.mkdir(parents=True)
    environments.make(ONNX, lambda event: None)
    assert not rest.exists()


def test_an_interrupt_leaves_nothing_and_the_next_making_goes_on(locks: Path, tmp_path: Path) -> None:
    def interrupt(event: Event) -> None:
        if isinstance(event, Started):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        environments.make(ONNX, interrupt)
    assert left(tmp_path / "cache") == []
    assert environments.find(ONNX) is None
    assert environments.make(ONNX, lambda event: None).lacking() is None


def test_an_environment_whose_python_is_gone_is_made_again(locks: Path) -> None:
    made = environments.make(ONNX, lambda event: None)
    made.python.unlink()
    made.python.symlink_to("/nowhere/python3.11")
    assert LocalEngine().health(ONNX) is not None
    environments.make(ONNX, lambda event: None)
    assert subprocess.run([made.python, "-c", "import toy"]).returncode == 0


def test_a_wheel_that_is_not_the_locks_is_not_installed(locks: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "wheels" / "toy-1.0-py3-none-any.whl", "a") as archive:
        archive.writestr("toy/tampered.py", "")
    with pytest.raises(EnvironmentLacking, match=r"[Hh]ash") as raised:
        environments.make(ONNX, lambda event: None)
    log = next(word for word in str(raised.value).replace(";", " ").split() if word.endswith(".log"))
    assert "toy" in Path(log).read_text()
    assert environments.find(ONNX) is None
    assert left(tmp_path / "cache") == []


def test_no_network_is_one_error_with_the_cause_and_the_log(locks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setattr(torch_source, "_resolves", lambda *arguments: False)
    said: list[Event] = []
    with pytest.raises(EnvironmentLacking, match=r"127\.0\.0\.1.*\.log; run again with a network"):
        environments.make(ONNX, said.append)
    assert isinstance(said[0], Noted)
    assert "10 MB to download" in said[0].text
    assert "with CUDA because neither a wheel folder nor PyTorch's CPU index" in said[0].text


def test_a_disk_that_is_too_small_is_told_before_anything_is_fetched(locks: Path) -> None:
    sizes = {"requirements.lock": {"toy": 10**15}, "torch-cpu.lock": {"torch": 1}}
    (locks / "onnx" / "sizes.json").write_text(json.dumps(sizes))
    with pytest.raises(EnvironmentLacking) as raised:
        environments.make(ONNX, lambda event: None)
    assert raised.value.kind == "disk"


def test_no_python_and_no_download_is_one_error_before_anything_is_fetched(
    locks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(python311, "candidates", lambda folder: iter(()))
    monkeypatch.setenv("UV_PYTHON_INSTALL_MIRROR", "http://127.0.0.1:9")
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path / "pythons"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(EnvironmentLacking, match=r"Python 3\.11.*neither on this machine nor could be downloaded"):
        environments.make(ONNX, lambda event: None)
    assert not (tmp_path / "uv" / "wheels-v6").exists()


def test_another_system_is_told_to_use_docker(locks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "unsuitable", lambda: "Darwin on arm64 is not Linux on x86-64")
    assert LocalEngine().can_prepare(ONNX)
    with pytest.raises(EnvironmentLacking, match="docker"):
        LocalEngine().prepare(ONNX, lambda event: None)


def test_a_gpu_gives_cuda_to_the_pt_phase_alone(locks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "has_nvidia_gpu", lambda: True)
    assert environments.intended(PT).locks.torch == "cuda"
    assert environments.intended(ONNX).locks.torch == "cpu"


def test_a_finished_environment_with_cuda_will_do_where_cpu_is_wanted(locks: Path) -> None:
    made = environments.Environment(environments.Locks(ONNX, "cuda"))
    made.python.parent.mkdir(parents=True)
    made.python.symlink_to(python_of_stages())
    (made.folder / environments.MARKER).write_text("{}")
    assert environments.intended(ONNX) == made


def test_wheel_folders_come_from_both_variables_and_must_be_there(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.mkdir()
    b.mkdir()
    found = uvtool.wheel_folders(
        {"UV_FIND_LINKS": f"{a},https://example.org/w", "PIP_FIND_LINKS": f"{b} {tmp_path / 'no'} {a}"}
    )
    assert found == [str(a), "https://example.org/w", str(b)]


def test_pips_settings_reach_uv_and_a_projects_do_not() -> None:
    made = uvtool.settings(
        {"PIP_INDEX_URL": "https://mirror/simple", "PIP_CERT": "/ca.pem", "UV_TORCH_BACKEND": "cu130", "HOME": "/h"}
    )
    assert made["UV_DEFAULT_INDEX"] == "https://mirror/simple"
    assert made["SSL_CERT_FILE"] == "/ca.pem"
    assert "UV_TORCH_BACKEND" not in made
    assert uvtool.settings({"PIP_INDEX_URL": "a", "UV_DEFAULT_INDEX": "b"})["UV_DEFAULT_INDEX"] == "b"


def test_uvs_cause_is_told_in_one_line() -> None:
    output = "Using Python 3.11\nerror: Failed to fetch: `http://x/`\n  cause: client error\n  cause: dns error\n"
    assert uvtool.cause(output) == "Failed to fetch: `http://x/`: dns error"
    assert "network" in uvtool.remedy(output)
    assert uvtool.cause("") == "uv ended without a word"
