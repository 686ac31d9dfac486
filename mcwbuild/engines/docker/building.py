"""Building a stage's image: the context goes to the daemon as a stream, its words come back as events."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from mcwbuild.contract.errors import EnvironmentLacking
from mcwbuild.contract.events import Emit, Finished, Noted, Progressed, Started
from mcwbuild.engines.docker import context, daemon, wheelhouse
from mcwbuild.engines.docker.recipes import Recipe

if TYPE_CHECKING:
    from docker import DockerClient

_STEP = re.compile(r"Step (\d+/\d+) : (.*)")
_SHOWN = 100  # characters of an instruction
_KEPT = 12  # last lines of a build, told when it fails
_REMEDIES = (
    (r"No space left", "Free disk space: `docker system df` tells what takes it.", "disk"),
    (r"certificate|SSL", "Give your organization's certificates with --ca-bundle FILE.", "certificate"),
    (
        r"No matching distribution|not found in the package registry|no version of|dns error|[Cc]onnection|timed out"
        r"|Failed to fetch|Name or service not known|Temporary failure in name resolution",
        "Give the build a network or an index (--index-url, HTTPS_PROXY), or take --wheelhouse DIR and no network.",
        "network",
    ),
    (
        r"[Hh]ash(es)? (mismatch|do not match)|HASHES|[Hh]ash-checking",
        "The index gave other files than the lock names: use the ordinary index or a true mirror.",
        "hash",
    ),
)


@dataclass
class Transcript:
    """What the daemon says during a build: into the log, and a line for each step to `emit`."""

    log: IO[str]
    emit: Emit
    step: str = ""
    begun: float = field(default_factory=time.monotonic)
    cached: bool = False
    last: list[str] = field(default_factory=list)
    image: str | None = None
    error: str | None = None

    def take(self, message: Mapping[str, Any]) -> None:
        """One message of the daemon's stream."""
        if "error" in message:
            self.error = str(message["error"])
        if "aux" in message and "ID" in message["aux"]:
            self.image = str(message["aux"]["ID"])
        text = str(message.get("stream") or message.get("error") or "")
        self.log.write(text)
        for line in filter(None, map(str.strip, text.splitlines())):
            self._line(line)

    def _line(self, line: str) -> None:
        if match := _STEP.match(line):
            self.close()
            self.step, self.begun, self.cached = f"{match[1]} {match[2]}", time.monotonic(), False
            self.emit(Started("step", self.step[:_SHOWN]))
        elif line.startswith("---> Using cache"):
            self.cached = True
        elif not line.startswith("--->"):
            self.last = [*self.last, line][-_KEPT:]

    def close(self) -> None:
        """The present step is done."""
        if self.step:
            text = self.step[:_SHOWN] + (", cached" if self.cached else "")
            self.emit(Finished("step", round(time.monotonic() - self.begun, 1), text))
            self.step = ""


def announce(recipe: Recipe, files: Mapping[str, Path | bytes], network: bool, emit: Emit) -> None:
    """Says how much will be downloaded, before anything is."""
    if not network:
        emit(Noted(f"The {recipe.name} image is built without a network: the wheelhouse has all packages."))
        return
    carried = {wheelhouse.key(path)[0] for path in files.values() if isinstance(path, Path) and path.suffix == ".whl"}
    size = sum(bytes_ for name, bytes_ in recipe.sizes().items() if name not in carried)
    emit(Noted(f"The {recipe.name} image: {size / 1e6:.0f} MB of packages to download, unless the cache has them."))


def build(
    client: DockerClient,
    recipe: Recipe,
    wheels: Mapping[str, Path | bytes],
    arguments: Mapping[str, str],
    *,
    network: bool,
    log: Path,
    emit: Emit,
) -> str:
    """Builds and tags the image; gives its id. `wheels` and a CA bundle are more of the context, by their places.

    `arguments` are more build arguments: indexes, proxies. Raises EnvironmentLacking with the step and its last words.
    """
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    files = {**recipe.files(), **wheels}
    total = context.size(files)
    what = f"The {recipe.name} image could not be built."
    emit(Started("context", f"{len(files)} files, {total / 1e6:.0f} MB"))
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with log.open("w", buffering=1, encoding="utf-8") as stream:
            transcript = Transcript(stream, emit)
            messages: Iterable[Mapping[str, Any]] = client.api.build(
                fileobj=context.stream(files, lambda done: emit(Progressed("context", done, total))),  # type: ignore[arg-type]
                custom_context=True,
                dockerfile=recipe.dockerfile,
                buildargs={**recipe.arguments(), **arguments},
                labels=recipe.labels(),
                network_mode=None if network else "none",
                rm=True,
                forcerm=True,
                decode=True,
            )
            for message in messages:
                transcript.take(message)
        if transcript.error is not None or transcript.image is None:
            raise failure(transcript, what, log)
        transcript.close()
        for tag in recipe.tags:
            repository, _, version = tag.rpartition(":")
            client.api.tag(transcript.image, repository, version)
    except (DockerException, RequestException, OSError) as error:
        raise daemon.told(error, what) from error
    emit(Noted(f"{recipe.tags[0]} is {transcript.image}."))
    return transcript.image


def failure(transcript: Transcript, what: str, log: Path) -> EnvironmentLacking:
    """A step of the build failed, or the daemon could not begin one: it asks for a base image before the first."""
    said = (transcript.error or "it ended without an image").strip().rstrip(".")
    words = " | ".join(transcript.last[-4:])
    if not transcript.step or transcript.step.split(" ", 1)[-1].startswith("FROM"):
        known = daemon.told(RuntimeError(said), what)
        return EnvironmentLacking(what, known.found, f"{known.remedy} The log is {log}.", kind=known.kind)
    fitting = (row[1:] for row in _REMEDIES if re.search(row[0], f"{said} {words}"))
    remedy, kind = next(fitting, ("The cause is near the log's end.", "build"))
    found = f"Step {transcript.step[:_SHOWN]} failed: {words or said}."
    return EnvironmentLacking(what, found, f"{remedy} The log is {log}.", kind=kind)
