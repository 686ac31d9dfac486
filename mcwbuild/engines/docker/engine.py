"""The docker engine: each stage in a locked-down container of its phase's image."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from mcwbuild.contract.errors import EnvironmentLacking, McwbuildError, StageFailed
from mcwbuild.contract.events import Emit
from mcwbuild.contract.phases import PT, RKNN, Phase
from mcwbuild.engines import StageCall, gpus, invocation
from mcwbuild.engines.docker import attached, container, daemon, images, places, sweep
from mcwbuild.engines.docker.container import Host, Limits
from mcwbuild.engines.patience import Patience, Stopped, TimedOut
from mcwbuild.engines.stage_log import BoundedLog
from mcwbuild.gate import lacking_disk

if TYPE_CHECKING:
    from docker import DockerClient

MEMORY_SHARE = 0.8  # of the machine's memory, where no limit is given: the rest is the orchestrator's and the system's
OUT_OF_MEMORY = "out-of-memory"


class DockerEngine:
    """Containers made from images that `mcwbuild images build` made, through the Docker SDK."""

    name = "docker"
    elsewhere = False

    def __init__(
        self,
        memory: int | None = None,
        toolkit: str | None = None,
        find: Callable[[DockerClient, Phase], str] | None = None,
    ) -> None:
        """`memory` is a stage's limit in bytes, `toolkit` RKNN-Toolkit2's version where not the default one.

        `find` gives the id of a phase's image, or raises EnvironmentLacking.
        """
        self._memory = memory
        self._find = find or partial(ready_image, toolkit=toolkit)

    @cached_property
    def _client(self) -> DockerClient:
        client = daemon.connect()
        sweep.orphans(client)
        return client

    @cached_property
    def _info(self) -> dict[str, Any]:
        found: dict[str, Any] = attached.answer(self._client.info, patience=0)
        return found

    @cached_property
    def _is_podman(self) -> bool:
        version: dict[str, Any] = attached.answer(self._client.version, patience=0)
        return any("Podman" in part.get("Name", "") for part in version.get("Components") or ())

    def health(self, phase: Phase) -> str | None:
        """None, or what is missing."""
        try:
            self._find(self._client, phase)
        except McwbuildError as error:
            return f"{error.found or error.what}".rstrip(".")
        return None

    def can_prepare(self, phase: Phase) -> str | None:
        """As `health`: images are built by `mcwbuild images build`, never on the way."""
        return self.health(phase)

    def prepare(self, phase: Phase, emit: Emit) -> None:
        """Nothing where the image is there. Raises EnvironmentLacking where it is not."""
        self._find(self._client, phase)

    def identity(self, phase: Phase) -> dict[str, str]:
        """The image's id: a hash over all that is in it. Raises EnvironmentLacking where there is none."""
        return {"image": self._find(self._client, phase)}

    def run(self, call: StageCall, emit: Emit) -> int:
        """Runs the stage; see `Engine.run`."""
        image = self._find(self._client, call.phase)
        limits, host = self._limits(call), self._host(call.phase)
        who = container.user(host)
        bindings, names = places.bindings(call), places.Names(call)
        try:
            for folder in container.folders(call.staging):
                folder.mkdir(parents=True, exist_ok=True)
            if who.owner is not None:
                bindings = tuple(places.readable_copy(each, call.staging / "in") for each in bindings)
                for path in (call.staging, *container.folders(call.staging)):
                    os.chown(path, *who.owner)
            call.log.parent.mkdir(parents=True, exist_ok=True)
            log = BoundedLog(call.log.open("wb", buffering=0))
        except OSError as error:
            raise lacking_disk(call.staging, error) from error
        labels = {sweep.RUN: call.nonce, sweep.OWNER: sweep.owner(), "mcwbuild.phase": call.phase.name}
        name = f"mcwbuild-{call.phase.name}-{secrets.token_hex(4)}"
        try:
            with gpus.held(call, emit) as alone:
                body = container.configuration(alone, image, bindings, limits, who, labels, host)
                patience = Patience.begin(call.timeout, call.stop)
                state = attached.run(self._client, body, name, names.telling(emit), log, patience)
        except (TimedOut, Stopped) as error:
            raise invocation.cut_short(call, error) from error
        finally:
            log.close()
        names.tell(call.staging)
        return _judged(state, call, limits)

    def _host(self, phase: Phase) -> Host:
        info = self._info
        hidden = os.environ.get("NVIDIA_VISIBLE_DEVICES") in ("", "none", "void")
        gpus = phase is PT and "nvidia" in info.get("Runtimes", {}) and not hidden
        return Host(tuple(info.get("SecurityOptions") or ()), gpus, self._is_podman)

    def _limits(self, call: StageCall) -> Limits:
        info = self._info
        memory = self._memory or int(info["MemTotal"] * MEMORY_SHARE / call.share)
        return Limits(memory, min(invocation.threads(call.options) or info["NCPU"], info["NCPU"]))


def ready_image(client: DockerClient, phase: Phase, toolkit: str | None) -> str:
    """The id of the phase's image, built from today's files. Raises EnvironmentLacking."""
    found = images.find(client, phase, toolkit=toolkit if phase is RKNN else None)
    what = f"The {phase.name} stage has no image to run in."
    again = "Build it with `mcwbuild images build`, or use --engine local."
    if found is None:
        named = f"The {phase.name} image{f' with RKNN-Toolkit2 {toolkit}' if toolkit else ''}"
        raise EnvironmentLacking(what, f"{named} is not built.", again, kind="image")
    if found.stale is not None:
        raise EnvironmentLacking(what, f"The {phase.name} image is out of date: {found.stale}.", again, kind="image")
    return found.id


def _judged(state: dict[str, Any], call: StageCall, limits: Limits) -> int:
    """The exit code, unless memory ran out: the kernel may kill a child, and a stage may end with 0 all the same."""
    if state.get("OOMKilled"):
        raise StageFailed(
            f"The {call.phase.name} stage ran out of memory.",
            f"The limit of {limits.memory / 1e9:.1f} GB was hit.",
            "Give --memory more, a smaller --imgsz or fewer --threads.",
            kind=OUT_OF_MEMORY,
        )
    if state.get("Error"):
        raise EnvironmentLacking(
            f"The {call.phase.name} stage's container did not start.",
            f"The daemon says: {state['Error']}.",
            "Look at `docker info`, or use --engine local.",
            kind="container",
        )
    return int(state["ExitCode"])
