"""What the docker engine makes of a container's end, of its images, and what every container is created with."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mcwbuild.contract.errors import EnvironmentLacking, StageFailed
from mcwbuild.contract.phases import ONNX
from mcwbuild.engines import StageCall
from mcwbuild.engines.docker import container, engine
from mcwbuild.engines.docker.container import Host, Limits, User
from mcwbuild.engines.docker.engine import DockerEngine
from mcwbuild.engines.docker.places import Binding

LIMITS = Limits(1 << 30, 2)
CALL = StageCall(ONNX, (), ("--opset", "17"), Path("/staging"), Path("/log"), "n")


def test_memory_that_ran_out_is_a_failure_whatever_the_exit_code() -> None:
    for code in (0, 3, 137):
        with pytest.raises(StageFailed) as raised:
            engine._judged({"OOMKilled": True, "ExitCode": code, "Error": ""}, CALL, LIMITS)
        assert raised.value.kind == "out-of-memory"


def test_a_container_that_did_not_start_is_the_machines_lack_and_else_the_code_counts() -> None:
    with pytest.raises(EnvironmentLacking):
        engine._judged({"OOMKilled": False, "ExitCode": 127, "Error": "no such file"}, CALL, LIMITS)
    assert engine._judged({"OOMKilled": False, "ExitCode": 3, "Error": ""}, CALL, LIMITS) == 3


def test_an_image_built_anew_is_another_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DockerEngine, "_client", None)
    first, second = (DockerEngine(find=lambda *_, name=name: name).identity(ONNX) for name in ("sha256:1", "sha256:2"))
    assert first != second


def test_a_reproducible_stage_may_turn_address_randomization_off_and_little_else() -> None:
    asked = replace(CALL, options=("--reproducible",))
    made = container.configuration(asked, "sha256:1", (), LIMITS, User("1:1", None), {}, Host((), False))
    privileges, seccomp = made["HostConfig"]["SecurityOpt"]
    assert privileges == "no-new-privileges:true"
    profile = json.loads(seccomp.removeprefix("seccomp="))
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    plainly = {name for rule in profile["syscalls"] if not rule.get("args") for name in rule["names"]} - {"clone3"}
    assert {"read", "futex", "execve", "mmap"} <= plainly
    walls = {
        "mount",
        "ptrace",
        "bpf",
        "keyctl",
        "setns",
        "unshare",
        "personality",
        "clone",
        "init_module",
        "kexec_load",
    }
    assert not walls & plainly


def test_a_container_is_walled_in_whatever_is_asked_of_it() -> None:
    bindings = (Binding(Path("/data"), "/in/data"), Binding(Path("/staging"), "/out", writable=True))
    made = container.configuration(CALL, "sha256:1", bindings, LIMITS, User("10001:10001", None), {}, Host((), False))
    host: dict[str, Any] = made["HostConfig"]
    assert made["NetworkDisabled"] is True
    assert host["NetworkMode"] == "none"
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert (host["ReadonlyRootfs"], host["Privileged"], host["AutoRemove"]) == (True, False, False)
    assert host["Memory"] == host["MemorySwap"] == 1 << 30
    assert host["PidsLimit"] > 0
    assert {mount["Target"]: mount["ReadOnly"] for mount in host["Mounts"]} == {"/in/data": True, "/out": False}
    assert "Binds" not in host
    assert (made["OpenStdin"], made["StdinOnce"]) == (True, True)
