"""A container that runs: listened to, waited for, and gone when we are done.

What it says arrives through an attached stream, and its standard input hangs on the same connection: when
this process is gone, however it went, the input ends and the supervisor in the container kills its stage.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from mcwbuild.contract.errors import EnvironmentLacking, StageFailed
from mcwbuild.contract.events import Emit
from mcwbuild.engines.docker import daemon
from mcwbuild.engines.patience import Patience
from mcwbuild.engines.stage_log import BoundedLog, Lines, sorter

if TYPE_CHECKING:
    from docker import DockerClient

PATIENCE = 60.0  # seconds for a daemon that is restarted; with its containers to stop it takes 10 to 15
TICK = 0.2  # seconds between two looks at the deadline
POLL = 0.05  # seconds between two looks at a container that is about to end
REMOVAL = 20.0  # seconds for the daemon to remove a container
STDOUT = 1  # the stream's number in the attach protocol's frames
Result = TypeVar("Result")


def run(
    client: DockerClient, body: Mapping[str, Any], name: str, emit: Emit, log: BoundedLog, patience: Patience
) -> dict[str, Any]:
    """Creates the container, runs it to its end, removes it; its last `State`, as `docker inspect` tells it.

    When it returns or raises, the container is gone. Raises TimedOut, Stopped, EnvironmentLacking, StageFailed
    (kind `engine-lost`), and whatever `emit` raises.
    """
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    what = "The stage's container cannot be started."
    try:
        container = _created(client, body, name)
    except (DockerException, RequestException, OSError) as error:
        raise daemon.told(error, what) from error
    try:
        try:
            stream = _attach(client, container)
            client.api.start(container)
        except (DockerException, RequestException, OSError) as error:
            raise daemon.told(error, what) from error
        try:
            _listen(stream, emit, log, patience)
            return _ended(client, container, log, patience)
        finally:
            _let_go(stream)
    finally:
        remove(client, container)


def _created(client: DockerClient, body: Mapping[str, Any], name: str) -> str:
    return str(client.api.create_container_from_config(dict(body), name)["Id"])  # type: ignore[no-untyped-call]


def _attach(client: DockerClient, container: str) -> Any:
    flags = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
    return client.api.attach_socket(container, params=flags)


def _listen(stream: Any, emit: Emit, log: BoundedLog, patience: Patience) -> None:
    """Takes frames until the stream ends: with the container, or with the connection."""
    from docker.utils.socket import frames_iter

    frames: queue.Queue[tuple[int, bytes] | None] = queue.Queue(maxsize=64)
    gone = threading.Event()

    def pump() -> None:
        with suppress(OSError, ValueError):  # a connection that breaks is an end like another: `_ended` looks why
            for frame in frames_iter(stream, tty=False):  # type: ignore[no-untyped-call]
                while not gone.is_set():
                    with suppress(queue.Full):
                        frames.put(frame, timeout=TICK)
                        break
                if gone.is_set():
                    return
        frames.put(None)

    lines = Lines(sorter(emit, log))
    reader = threading.Thread(target=pump, name="mcwbuild-container", daemon=True)
    reader.start()
    try:
        while True:
            with suppress(queue.Empty):
                frame = frames.get(timeout=TICK)
                if frame is None:
                    break
                number, data = frame
                lines.feed(data) if number == STDOUT else log.write(data)
            patience.check()
        lines.feed(b"")
    finally:
        gone.set()


def _ended(client: DockerClient, container: str, log: BoundedLog, patience: Patience) -> dict[str, Any]:
    """The state of the container once it has ended; a daemon that was restarted meanwhile is found again."""
    while True:
        state: dict[str, Any] = answer(lambda: client.api.inspect_container(container)["State"], log)
        if state["Status"] not in ("created", "running", "paused", "restarting", "removing"):
            return state
        patience.check()
        time.sleep(POLL)


def answer(ask: Callable[[], Result], log: BoundedLog | None = None, patience: float | None = None) -> Result:
    """What the daemon answers, asked again for `patience` seconds (`PATIENCE`) while it does not.

    Raises StageFailed (kind `engine-lost`) where it has no such container any more, EnvironmentLacking.
    """
    from docker.errors import APIError, NotFound
    from requests.exceptions import RequestException
    from urllib3.exceptions import HTTPError

    since: float | None = None
    while True:
        try:
            return ask()
        except NotFound as error:
            raise StageFailed(
                "The stage's container is gone.",
                "Somebody else removed it, or the Docker daemon lost it.",
                "Run again: what is done stays done.",
                kind="engine-lost",
            ) from error
        except (APIError, RequestException, HTTPError, OSError) as error:
            if isinstance(error, APIError) and not error.is_server_error():
                raise daemon.told(error, "The Docker daemon does not do what it is asked.") from error
            now = time.monotonic()
            if since is None:
                since = now
                if log is not None:
                    log.write(b"mcwbuild: the connection to the Docker daemon was lost; waiting for it\n")
            if now - since > (PATIENCE if patience is None else patience):
                raise daemon.told(error, "The Docker daemon was lost in the middle of a stage.") from error
            time.sleep(min(1.0, POLL + (now - since) / 4))


def _let_go(stream: Any) -> None:
    """Ends the connection, for the thread that reads from it too."""
    with suppress(OSError):
        getattr(stream, "_sock", stream).shutdown(socket.SHUT_RDWR)
    with suppress(OSError):
        stream.close()


def remove(client: DockerClient, container: str) -> None:
    """Kills and removes the container, and returns when it is gone. Raises EnvironmentLacking where it cannot be."""
    from docker.errors import APIError, NotFound

    deadline = time.monotonic() + REMOVAL

    def attempt() -> bool:
        with suppress(NotFound):
            try:
                client.api.remove_container(container, force=True, v=True)
            except APIError as error:
                if error.status_code != 409:  # it is being removed already
                    raise
            client.api.inspect_container(container)
            return False
        return True

    while not answer(attempt, patience=REMOVAL):
        if time.monotonic() > deadline:
            raise EnvironmentLacking(
                "The stage's container cannot be removed.",
                f"It is {container[:12]}, and what it wrote is not taken over while it is there.",
                "Look at `docker ps -a`, and run again.",
                kind="container",
            )
        time.sleep(POLL)
