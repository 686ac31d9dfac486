"""What an attempt says while it runs: by the scheduler's events, on one of a fixed number of topics.

The scheduler keeps a list for every topic it has ever seen, so calls share a few.
"""

from __future__ import annotations

import json
import queue
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mcwbuild.contract.events import Event, Progressed, to_line

if TYPE_CHECKING:
    from distributed import Client, Worker

TOPICS = 256
PACE = 0.5  # seconds between two words on the progress of one part


@dataclass
class Voice:
    """The worker's side. Of a part's progress the first word goes out, then one in `PACE` seconds, then the last."""

    worker: Worker
    topic: str
    call: str
    attempt: str
    prefix: str = ""  # the folder below which the files were laid out: people know the paths without it
    said: int = 0
    _told: dict[str, float] = field(default_factory=dict)
    _waiting: dict[str, Event] = field(default_factory=dict)

    def begun(self) -> None:
        """The attempt begins."""
        self._send("")

    def emit(self, event: Event) -> None:
        """One event of the stage's."""
        if isinstance(event, Progressed):
            now = time.monotonic()
            if now - self._told.get(event.name, -PACE) < PACE:
                self._waiting[event.name] = event
                return
            self._told[event.name] = now
            self._waiting.pop(event.name, None)
        else:
            self.flush()
        self._send(to_line(event))

    def flush(self) -> None:
        """What was held back goes out."""
        waiting, self._waiting = self._waiting, {}
        for event in waiting.values():
            self._send(to_line(event))

    def _send(self, line: str) -> None:
        self.said += 1
        message = {
            "call": self.call,
            "attempt": self.attempt,
            "worker": str(self.worker.address),
            "line": without(self.prefix, line),
        }
        self.worker.log_event(self.topic, message)


@dataclass(frozen=True)
class Word:
    """One message of an attempt; an empty `line`: it begins."""

    attempt: str
    worker: str
    line: str


Words = queue.SimpleQueue["Word | None"]  # None: the task is over


@dataclass
class Ears:
    """The driver's side: one topic for all its calls."""

    topic: str = field(default_factory=lambda: f"mcwbuild-{secrets.randbelow(TOPICS):02x}")
    _calls: dict[str, Words] = field(default_factory=dict)

    def open(self, client: Client) -> None:
        """From now on."""
        client.subscribe_topic(self.topic, self._hear)

    def listen(self, call: str) -> Words:
        """Where the words of this call arrive."""
        return self._calls.setdefault(call, queue.SimpleQueue())

    def forget(self, call: str) -> None:
        """No more of this call."""
        self._calls.pop(call, None)

    def _hear(self, event: tuple[float, Mapping[str, Any]]) -> None:
        said = event[1]
        words = self._calls.get(str(said.get("call")))  # another driver may use the same topic
        if words is not None:
            words.put(Word(str(said["attempt"]), str(said["worker"]), str(said["line"])))


def without(prefix: str, line: str) -> str:
    """The text with the paths that the driver knows, where the worker's stand in it."""
    return line.replace(json.dumps(prefix)[1:-1] + "/", "/").replace(prefix + "/", "/") if prefix else line
