"""What a stage's container is created with: one fixed table, in which a user's text is an argument and nothing else."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcwbuild.contract.phases import PT
from mcwbuild.engines import StageCall, invocation
from mcwbuild.engines.docker import seccomp
from mcwbuild.engines.docker.places import OUT, Binding, place

# In every image; see docker/<phase>/Dockerfile.
CODE, PYTHON, SUPERVISOR = "/opt/mcwbuild/code", "/opt/mcwbuild/env/bin/python", "/opt/mcwbuild/supervisor.py"
NOBODY = 10001  # the stage's user where the caller is root: no file of the host is its own
FILE_SIZE = 16 << 30  # bytes that one file may have: a model ends at 2 GiB, a calibration set is larger
USER_PROCESSES = 16384  # of the user on the whole machine: no stage comes near, and a service may set as many
REPRODUCIBLE = "--reproducible"
_PASSED = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "TZ")


@dataclass(frozen=True)
class Limits:
    """What a container may take: `memory` in bytes, swap included; `cpus` as a number of threads."""

    memory: int
    cpus: int

    @property
    def processes(self) -> int:
        """Processes and threads together: numerical libraries start a few pools of `cpus` threads each."""
        return 256 + 16 * self.cpus

    @property
    def scratch(self) -> int:
        """Bytes of /tmp: they are memory, so that a full /tmp is told before memory is."""
        return min(self.memory // 4, 1 << 30)


@dataclass(frozen=True)
class Host:
    """What the daemon says of itself: security options, whether it can give GPUs to a container, if it is Podman."""

    security: tuple[str, ...]
    gpus: bool
    podman: bool = False

    def has(self, option: str) -> bool:
        """Whether a security option is on, for example `selinux` or `rootless`."""
        return any(option in said for said in self.security)


@dataclass(frozen=True)
class User:
    """Who the stage is in the container, and to whom the staging folder is made over first, if to anybody."""

    number: str
    owner: tuple[int, int] | None


def user(host: Host) -> User:
    """The caller; for root, nobody in particular; root where the daemon is the caller's own and maps the two."""
    if host.has("rootless"):
        return User("0:0", None)
    if os.geteuid() == 0:
        return User(f"{NOBODY}:{NOBODY}", (NOBODY, NOBODY))
    return User(f"{os.geteuid()}:{os.getegid()}", None)


def configuration(
    call: StageCall,
    image: str,
    bindings: Sequence[Binding],
    limits: Limits,
    who: User,
    labels: Mapping[str, str],
    host: Host,
) -> dict[str, Any]:
    """The body of the Engine API's `POST /containers/create`.

    No network, root file system read-only, no capability, no new privilege, Docker's seccomp profile (or `seccomp`'s),
    limits on memory, processes and files, standard input that ends with the client that holds it.
    """
    command = [PYTHON, *invocation.words(call, place, OUT)]
    environment = {
        "PATH": "/opt/mcwbuild/env/bin:/usr/local/bin:/usr/bin:/bin",
        "PYTHONPATH": CODE,
        **invocation.environment(f"{OUT}/home", f"{OUT}/tmp", limits.cpus),
        **invocation.bounds(),
        **(invocation.passed(*_PASSED) if call.phase is PT else {}),
        **invocation.gpu(call),
    }
    return {
        "Image": image,
        "Entrypoint": [PYTHON, "-I", "-S", SUPERVISOR],
        "Cmd": command,
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "User": who.number,
        "WorkingDir": f"{OUT}/work",
        "Labels": dict(labels),
        "Tty": False,
        "OpenStdin": True,
        "StdinOnce": True,
        **{f"Attach{stream}": True for stream in ("Stdin", "Stdout", "Stderr")},
        "NetworkDisabled": True,
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": _host(bindings, limits, host, [f"seccomp={seccomp.profile()}"] * (REPRODUCIBLE in call.options)),
    }


def _host(bindings: Sequence[Binding], limits: Limits, host: Host, security: Sequence[str]) -> dict[str, Any]:
    return {
        "NetworkMode": "none",
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        # SELinux would ask for new labels on the user's own files, or hide them.
        "SecurityOpt": ["no-new-privileges:true", *(["label=disable"] if host.has("selinux") else []), *security],
        "Privileged": False,
        "IpcMode": "private",
        "PidsLimit": limits.processes,
        "Memory": limits.memory,
        "MemorySwap": limits.memory,
        "NanoCpus": limits.cpus * 10**9,
        "Tmpfs": {"/tmp": f"rw,noexec,nosuid,nodev,mode=1777,size={limits.scratch}"},
        "Ulimits": [
            {"Name": name, "Soft": value, "Hard": value}
            for name, value in (("nofile", 4096), ("core", 0), ("fsize", FILE_SIZE), *_of_podman(host))
        ],
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "5m", "max-file": "1"}},
        "AutoRemove": False,
        "RestartPolicy": {"Name": "no"},
        "Mounts": [
            {"Type": "bind", "Source": str(each.source), "Target": each.target, "ReadOnly": not each.writable}
            for each in bindings
        ],
        **({"DeviceRequests": [{"Driver": "", "Count": -1, "Capabilities": [["gpu"]]}]} if host.gpus else {}),
    }


def _of_podman(host: Host) -> list[tuple[str, int]]:
    """Podman asks for more processes than its service may have, unless it is told how many; `PidsLimit` counts."""
    return [("nproc", USER_PROCESSES)] if host.podman else []


def folders(staging: Path) -> tuple[Path, ...]:
    """What lies in the staging folder before the stage begins."""
    return tuple(staging / name for name in ("home", "tmp", "work"))
