"""Engines for tests: one that only plays, and what makes the local engine run a toy stage."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from mcwbuild.contract import disk, documents, inherit, manifest
from mcwbuild.contract.errors import EnvironmentLacking, StageFailed
from mcwbuild.contract.events import Emit, Finished, Noted, Progressed, Started
from mcwbuild.contract.phases import ONNX, PT, RKNN, Phase
from mcwbuild.engines import StageCall, python311
from mcwbuild.engines.environments import MARKER, Environment
from mcwbuild.engines.locks import Locks

CONTRACT = Path(__file__).parents[1] / "contract"
EXAMPLES = CONTRACT / "examples" / "valid"
DOCUMENTS = {
    PT: ("training_source/workflow.yaml", "performance_pt/labelled.json"),
    ONNX: ("onnx_source/written.yaml", "performance_onnx/labelled.json"),
    RKNN: ("rknn_source/both.yaml", "performance_rknn/both.json"),
}
PLACEHOLDER = b"0123456789abcdef" * 4  # the contract's hash in tiny_int8.rknn


def write_package(folder: Path, phase: Phase, edit: Callable[[dict[str, Any]], None] = lambda source: None) -> None:
    """A package whose documents are valid and agree with each other; `edit` may change the source document."""
    folder.mkdir(parents=True, exist_ok=True)
    source, record = (documents.read(EXAMPLES / name).value for name in DOCUMENTS[phase])
    source |= contract()
    edit(source)
    source["contract_sha256"] = record["report_info"]["contract_sha256"] = inherit.contract_sha256(source)
    for name in phase.artefacts:
        (folder / name).write_bytes(model(name, source))
    measured = {"best.onnx": record["model_info"]} if phase is ONNX else {}
    if phase is RKNN:
        measured = {f"best_{variant}.rknn": block for variant, block in record["model_info"].items()}
    for name, block in measured.items():
        block["sha256"] = disk.sha256_of(folder / name)
    documents.write_yaml(folder / phase.source, source)
    documents.write_json(folder / phase.performance, record)
    manifest.write(folder, phase, {})


def contract() -> dict[str, Any]:
    """The contract that the tiny models were made under: see tests/contract/models/README.md."""
    carried = inherit.carry(documents.read(EXAMPLES / DOCUMENTS[ONNX][0]).value)
    carried["input"] |= {"size": [16, 32], "format": "BGR"}
    carried["preprocessing"]["normalize"] |= {"mean": [10, 20, 30], "std": [255, 128, 64]}
    return carried


def model(name: str, source: dict[str, Any]) -> bytes:
    """A real small model that says in its own bytes what `source` says; a stand-in for what nobody reads back."""
    if name.endswith(".rknn"):
        return (
            (CONTRACT / "models" / "tiny_int8.rknn")
            .read_bytes()
            .replace(PLACEHOLDER, source["contract_sha256"].encode())
        )
    if name.endswith(".onnx"):
        block = inherit.canonical(inherit.critical(source))
        tiny = (CONTRACT / "models" / "tiny.onnx").read_bytes()
        own = b"\x11mcwbuild.contract\x12"  # its own block goes under another name
        return tiny.replace(own, own.replace(b"contract", b"formerly")) + metadata("mcwbuild.contract", block)
    return f"# {name}\n".encode()


def metadata(key: str, value: str) -> bytes:
    """One more entry of `ModelProto.metadata_props`, to be put at the end of an ONNX file."""
    entry = b"".join(
        tag + varint(len(part)) + part for tag, part in ((b"\x0a", key.encode()), (b"\x12", value.encode()))
    )
    return b"\x72" + varint(len(entry)) + entry


def varint(number: int) -> bytes:
    """A length in protobuf's encoding."""
    low = bytes([number & 0x7F | (0x80 if number > 0x7F else 0)])
    return low + (varint(number >> 7) if number > 0x7F else b"")


def write_outcome(call: StageCall, code: int, error: dict[str, Any] | None = None) -> None:
    """`result.json` as the stages' harness writes it."""
    outcome = {"schema": "result/1", "nonce": call.nonce, "phase": call.phase.name, "code": code, "error": error}
    status = {0: "done", 3: "gate_failed"}.get(code, "failed")
    documents.write_json(call.staging / "result.json", {**outcome, "status": status, "files": []})


Play = Callable[[StageCall, Emit], int]


def play(call: StageCall, emit: Emit) -> int:
    """What the toy stage does, without a process: the words after `--do` say which; else it works."""
    deed, *rest = call.options[1:] if call.options[:1] == ("--do",) else ("done",)
    emit(Started("work", deed))
    call.log.parent.mkdir(parents=True, exist_ok=True)
    call.log.write_text("a library's noise\n")
    if deed == "sleep":
        if call.stop is not None and call.stop.wait(60):
            raise StageFailed(f"The {call.phase.name} stage was stopped.", kind="stopped")
        if call.timeout is not None:
            time.sleep(call.timeout)
            raise StageFailed(f"The {call.phase.name} stage was stopped.", kind="timeout")
    elif deed == "name":
        found = f"{dict(call.inputs)['--pt']}:1:2"
        emit(Noted(f"{found} is odd"))
        documents.write_json(call.staging / "result.json", {"nonce": call.nonce, "found": found})
    elif deed == "done":
        emit(Progressed("work", 1, 2))
        write_package(call.staging / "out", call.phase)
        write_outcome(call, 0)
        emit(Finished("work", 0.1))
    return int(rest[0]) if deed == "exit" else 0


@dataclass
class FakeEngine:
    """An engine that runs no process: `play` writes the documents that a stage would. Keeps its calls."""

    play: Play = play
    ready: set[str] = field(default_factory=set)
    calls: list[StageCall] = field(default_factory=list)
    name: str = "fake"
    elsewhere: bool = False

    def health(self, phase: Phase) -> str | None:
        """None once it was prepared."""
        return None if phase.name in self.ready else "it was not prepared"

    def can_prepare(self, phase: Phase) -> str | None:
        """Always."""
        return None

    def prepare(self, phase: Phase, emit: Emit) -> None:
        """Says that nothing is downloaded."""
        if phase.name not in self.ready:
            emit(Noted(f"The {phase.name} environment is a fake: nothing to download."))
        self.ready.add(phase.name)

    def identity(self, phase: Phase) -> dict[str, str]:
        """One constant."""
        return {"fake": phase.name}

    def run(self, call: StageCall, emit: Emit) -> int:
        """Plays."""
        if reason := self.health(call.phase):
            raise EnvironmentLacking(f"The {call.phase.name} stage cannot run.", f"{reason}.")
        self.calls.append(call)
        return self.play(call, emit)


@cache
def python_of_stages() -> Path:
    """A Python 3.11 of this machine."""
    found = python311.find(Path("/"))
    assert found is not None, "these tests need a Python 3.11"
    return found


def toy_environment(phase: Phase) -> Environment:
    """A finished environment in the cache that MCWBUILD_CACHE names: a bare Python 3.11 and the marker."""
    environment = Environment(Locks(phase, "cpu"))
    environment.python.parent.mkdir(parents=True)
    environment.python.symlink_to(python_of_stages())
    (environment.folder / MARKER).write_text("{}")
    return environment


def toy_environment_in(cache: Path, phase: Phase) -> None:
    """The same in another cache."""
    before = os.environ.get("MCWBUILD_CACHE")
    os.environ["MCWBUILD_CACHE"] = str(cache)
    try:
        toy_environment(phase)
    finally:
        os.environ.pop("MCWBUILD_CACHE")
        if before is not None:
            os.environ["MCWBUILD_CACHE"] = before


def toy_code(folder: Path, phase: Phase) -> Path:
    """A code folder whose stage is tests/support/toy_stage.py."""
    place = folder / "stages" / phase.name
    place.mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("toy_stage.py"), place / "__main__.py")
    return folder


def alive(word: str) -> list[int]:
    """Processes whose command line holds `word`, zombies apart."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if word.encode() in (process / "cmdline").read_bytes() and int(process.name) != os.getpid():
                found.append(int(process.name))
        except OSError:
            continue
    return found


@contextmanager
def gone_soon(word: str, seconds: float = 6.0) -> Iterator[None]:
    """Afterwards, within `seconds`, no process may be left whose command line holds `word`."""
    yield
    deadline = time.monotonic() + seconds
    while (left := alive(word)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left


class Silent:
    """A reporter that tells nobody."""

    def begin(self, step: Any, log: Path) -> None:
        """Nothing."""

    def emit(self, event: Any) -> None:
        """Nothing."""

    def end(self, outcome: Any) -> None:
        """Nothing."""
