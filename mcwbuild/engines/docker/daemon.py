"""The Docker daemon: reached in one place, and its failures told in one sentence each with what to do."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mcwbuild.contract.errors import EnvironmentLacking, McwbuildError

if TYPE_CHECKING:
    from docker import DockerClient

QUICK = 10.0  # seconds: a daemon that is well answers in milliseconds
_LONGEST = 300  # characters of a daemon's own words
# A system error inside the text of requests' and urllib3's errors
_SYSTEM = (
    r"\[Errno (\d+)\] ([^'\")]+)"
    r"|(?:Permission|FileNotFound|ConnectionRefused)Error\((\d+), '([^']+)'"
)

# What the daemon's or the kernel's words mean, what to do, and the error's kind; the first that fits is told.
_MEANINGS: tuple[tuple[str, str, str], ...] = (
    (r"no space left|disk quota exceeded", "Free disk space: `docker system df` tells what takes it.", "disk"),
    (
        r"permission denied.*(docker|podman).*|eacces",
        "Join the group `docker` and log in again, or name a daemon of your own in DOCKER_HOST.",
        "permission",
    ),
    (
        r"could not select device driver|nvidia-container|libnvidia",
        "Install the NVIDIA container toolkit and restart Docker, or hide the GPU: NVIDIA_VISIBLE_DEVICES=void.",
        "gpu",
    ),
    (
        r"certificate|x509|tls",
        "Give your organization's certificates: with --ca-bundle for package indexes, to the daemon for registries.",
        "certificate",
    ),
    (
        r"unauthorized|authentication required|denied: requested access|toomanyrequests|rate limit",
        "Log in with `docker login`, wait, or name images of your own with --base-image and --python-image.",
        "registry",
    ),
    (
        r"manifest unknown|manifest for .* not found|pull access denied|repository does not exist|no such image",
        "Name an image that is there with --base-image and --python-image.",
        "image",
    ),
    (
        r"dial tcp|lookup .*|no such host|network is unreachable|i/o timeout|connection refused.*registry"
        r"|tls handshake timeout|proxyconnect|temporary failure in name resolution|client\.timeout",
        "Give the daemon a network or its proxy, or load the base images with `docker load` and name them"
        " with --base-image and --python-image.",
        "network",
    ),
)


def connect(timeout: float = QUICK) -> DockerClient:
    """A client of the daemon that DOCKER_HOST, the CLI's context or the usual sockets name; it has answered once.

    `timeout` is in seconds and holds for every request of the client. Raises EnvironmentLacking.
    """
    import docker
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    what = "The Docker daemon cannot be used."
    failure: Exception | None = None
    for environment in _places():
        try:
            client = docker.from_env(environment=environment, timeout=timeout)  # type: ignore[arg-type]
            client.ping()
        except (DockerException, RequestException, OSError, ValueError) as error:
            failure = failure or error
            continue
        return client
    assert failure is not None
    raise told(failure, what) from failure


def _places() -> Iterator[dict[str, str]]:
    """Environments to try: the caller's own; then, where it names no daemon, sockets of one's own daemons."""
    own = dict(os.environ)
    yield own
    if "DOCKER_HOST" in own or "DOCKER_CONTEXT" in own:
        return
    runtime = Path(own.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}")
    for socket in (runtime / "docker.sock", runtime / "podman" / "podman.sock"):
        if socket.exists():
            yield {**own, "DOCKER_HOST": f"unix://{socket}"}


def told(error: BaseException, what: str) -> McwbuildError:
    """The error of the SDK, of requests or of the system as EnvironmentLacking; `what` is its first sentence.

    Errors that are mcwbuild's own already are given back as they are.
    """
    if isinstance(error, McwbuildError):
        return error
    words = _words(error)
    for pattern, remedy, kind in _MEANINGS:
        if re.search(pattern, words, re.IGNORECASE):
            return EnvironmentLacking(what, f"The daemon says: {words}.", remedy, kind=kind)
    if _is_unreachable(error, words):
        return EnvironmentLacking(
            what,
            f"No daemon answers at {os.environ.get('DOCKER_HOST') or 'its usual socket'}: {words}.",
            "Start Docker (`systemctl start docker`), name its socket in DOCKER_HOST, or use --engine local.",
            kind="daemon",
        )
    return EnvironmentLacking(
        what, f"The daemon says: {words}.", "Look into the daemon's own log, or use --engine local.", kind="docker"
    )


def _words(error: BaseException) -> str:
    """What the error says, in one line without a last full stop."""
    said = getattr(error, "explanation", None) or getattr(error, "msg", None) or str(error) or type(error).__name__
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    inner = re.search(_SYSTEM, text)
    if inner:
        number = int(inner[1] or inner[3])
        place = " on the docker socket" if number in (errno.EACCES, errno.EPERM) else ""
        text = f"{inner[2] or inner[4]}{place}"
    return re.sub(r"\s+", " ", "".join(c if c.isprintable() else " " for c in text)).strip().rstrip(".")[:_LONGEST]


def _is_unreachable(error: BaseException, words: str) -> bool:
    """True where no answer came at all: a socket that is missing, closed or silent."""
    from requests.exceptions import ConnectionError as NoConnection
    from requests.exceptions import HTTPError, Timeout

    silent = r"no such file|connection refused|connection aborted|timed out|error while fetching server api version"
    if isinstance(error, HTTPError):  # which the SDK's APIError is: an answer
        return False
    return isinstance(error, NoConnection | Timeout | OSError) or bool(re.search(silent, words, re.IGNORECASE))
