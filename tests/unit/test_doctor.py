"""`mcwbuild doctor` on this machine, and on one that lacks things."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from mcwbuild import doctor
from mcwbuild.contract import assets
from tests.support.commands import mcwbuild


def test_every_line_that_is_not_in_order_says_what_to_do(tmp_path: Path) -> None:
    done = mcwbuild("doctor", "--engine", "local", "--json", cwd=tmp_path)
    found = {one["what"]: one for one in json.loads(done.stdout)}
    assert set(found) >= {"machine", "processor", "memory", "disk", "GPU", "Docker", "engine", "locks", "boards"}
    assert {f"{phase} stage" for phase in ("pt", "onnx", "rknn")} <= set(found)
    assert all(one["remedy"] for one in found.values() if one["state"] != "ok")
    assert done.code == (5 if any(one["state"] == "lacking" for one in found.values()) else 0)


def test_a_daemon_that_does_not_answer_is_lacking_only_where_it_is_asked_for(tmp_path: Path) -> None:
    nowhere = {"DOCKER_HOST": f"unix://{tmp_path}/docker.sock"}
    done = mcwbuild("doctor", "--json", cwd=tmp_path, environment=nowhere)
    by_auto = {one["what"]: one for one in json.loads(done.stdout)}
    assert by_auto["Docker"]["state"] == "absent"
    assert by_auto["engine"] == {"what": "engine", "state": "ok", "detail": "local", "remedy": ""}
    done = mcwbuild("doctor", "--engine", "docker", "--json", cwd=tmp_path, environment=nowhere)
    asked = {one["what"]: one for one in json.loads(done.stdout)}
    assert done.code == 5
    assert asked["engine"]["state"] == "lacking"
    assert "systemctl start docker" in asked["engine"]["remedy"]


def test_an_old_processor_and_a_full_disk_are_told_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_lines", lambda _file: ["model name : Old One", "flags : sse sse2 fma"])
    processor = doctor._processor()
    assert (processor.state, processor.detail) == ("absent", "Old One, without avx2")
    monkeypatch.setattr(doctor, "NEEDED_DISK", 1 << 62)  # no environment is in an empty cache
    monkeypatch.setenv("MCWBUILD_CACHE", str(tmp_path))
    (disk, _temporary) = doctor._disks()
    assert disk.state == "lacking"
    assert "MCWBUILD_CACHE" in disk.remedy


def test_the_cache_s_key_is_of_what_the_stages_are_made_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = mcwbuild("doctor", "--cache-key", "--engine", "local", cwd=tmp_path).stdout
    before = {engine: doctor.key(engine) for engine in ("local", "docker")}
    assert said == f"{before['local']}\n"
    assert before["local"] == doctor.key("auto")
    copy = Path(shutil.copytree(assets.locks_dir(), tmp_path / "docker"))
    monkeypatch.setattr(assets, "locks_dir", lambda: copy)
    assert {engine: doctor.key(engine) for engine in before} == before
    with (copy / "onnx" / "requirements.lock").open("a") as lock:
        lock.write("# another\n")
    assert {engine for engine, key in before.items() if doctor.key(engine) != key} == {"local", "docker"}
    same = [one == other for one, other in zip(doctor.key("local").split("-"), before["local"].split("-"), strict=True)]
    assert same == [True, True, True, False, True, True]  # the onnx environment's hash alone


@pytest.mark.parametrize(
    ("said", "state", "detail"),
    [
        ("List of devices attached\nA1\tdevice\nB2\toffline\n", "ok", "adb lists A1"),
        ("List of devices attached\nB2\tunauthorized\n", "absent", "adb: B2 is unauthorized"),
        ("List of devices attached\n\n", "absent", "adb lists none"),
    ],
)
def test_boards_are_told_as_adb_lists_them(monkeypatch: pytest.MonkeyPatch, said: str, state: str, detail: str) -> None:
    monkeypatch.setattr(doctor, "answer", lambda *_words: said)
    found = doctor._boards()
    assert (found.state, found.detail) == (state, detail)
