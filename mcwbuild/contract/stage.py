"""The wall between the orchestrator and a stage, seen from inside the stage.

`python -m stages.<phase> FLAGS --out DIR` runs the same way for a person, in an environment and in a
container: parse, require (check all that came in), work, ensure (check all that goes out), write.

* The package appears in DIR file by file, SHA256SUMS last: without it there is no package.
* With `--result FILE --nonce N` the outcome crosses as data: `{schema, nonce, phase, status, code, error, files}`,
  where `status` is `done`, `gate_failed` (files kept) or `failed` (nothing kept).
* Progress goes to standard output (`--progress json`: one event a line), everything else to standard error.
* Exit codes are those of `errors.ExitCode`.
"""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from types import FrameType
from typing import Any, Generic, NoReturn, TypeVar

from mcwbuild import __version__
from mcwbuild.contract import disk, documents, inherit, limits, look, manifest, names, performance, validate
from mcwbuild.contract.bench import Bench, claim_stdout, emitter, leave
from mcwbuild.contract.errors import ExitCode, GateFailed, McwbuildError
from mcwbuild.contract.phases import SUMS, Phase
from mcwbuild.contract.terminal import visible

Request = TypeVar("Request")

ALLOCATIONS = 50_000  # between two looks for garbage, of which loading makes none; by itself Python looks every 700
_STATE = "resume"  # the flags' beginning that give what a stopped run left: the package is the same without
CONFIDENCE, IOU, MAX_DETECTIONS = 0.25, 0.7, 300  # Ultralytics' own defaults, so that boards see what trainers saw


@dataclass(frozen=True)
class Stage(Generic[Request]):
    """One phase's program.

    `require` checks every input, all problems at once; `work` writes the artefacts, the source document and
    the performance record into `bench.out`; `delivered` takes away what is of no use once the package is there.
    """

    phase: Phase
    description: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    require: Callable[[argparse.Namespace], Request]
    work: Callable[[Request, Bench], None]
    delivered: Callable[[Request], None] = lambda _: None


def fraction(text: str) -> float:
    """A command line value between 0 and 1, both included."""
    value = float(text)
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def positive(text: str) -> int:
    """A command line value of 1 or more."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value


def _gate(phase: Phase) -> Callable[[str], limits.Override]:
    """A parser of the phase's gates on the command line."""

    def parse(text: str) -> limits.Override:
        try:
            return limits.override(text, limits.KEYS[phase.name])
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse


def parser(stage: Stage[Any]) -> argparse.ArgumentParser:
    """The stage's whole command line: its own flags and those that all stages share."""
    made = argparse.ArgumentParser(f"python -m stages.{stage.phase.name}", description=stage.description)
    stage.add_arguments(made)
    shared = made.add_argument_group("shared by all stages")
    shared.add_argument("--out", type=Path, required=True, help="folder of the package; made if missing")
    shared.add_argument("--data", type=Path, help="data.yaml of a labelled dataset, or the folder of a classification")
    shared.add_argument("--dataset", type=Path, help="text file with one image a line, or a folder of images")
    shared.add_argument("--previous", type=Path, help="the previous phase's performance record")
    shared.add_argument("--evaluation", type=Path, help="the previous phase's evaluation, image by image")
    shared.add_argument("--results", type=Path, help="what the previous phase found in some images, to choose pictures")
    shared.add_argument("--gate", type=_gate(stage.phase), action="append", help="a limit: int8.map50_95=3%% or =0.02")
    checked = shared.add_argument("--contract-check", choices=("auto", "off"), default="auto")
    checked.help = "auto: with labels, look whether accuracy rises under another contract"
    shared.add_argument("--strict", action="store_true", help="a gate that is undecided counts as failed")
    shared.add_argument("--conf", type=fraction, default=CONFIDENCE, help="deployed confidence threshold")
    shared.add_argument("--iou", type=fraction, default=IOU, help="IoU above which the weaker box is dropped")
    shared.add_argument("--max-detections", type=positive, default=MAX_DETECTIONS, help="boxes kept per image")
    shared.add_argument("--threads", type=positive, default=os.cpu_count() or 1, help="CPU threads")
    shared.add_argument("--progress", choices=("auto", "json", "plain", "quiet"), default="auto")
    shared.add_argument("--result", type=Path, help="write the outcome as JSON here")
    shared.add_argument("--nonce", default="", help="repeated in the outcome, so that it cannot be an older one")
    return made


def ensure(package: Path, args: argparse.Namespace, phase: Phase) -> dict[str, Any]:
    """Check what is about to leave: files, schemas, inheritance. Returns the performance record.

    Raises what the checks raise; a failure here is the stage's own bug or a broken contract, never published.
    """
    source, record = validate.require_all(
        [
            (package / phase.source, phase.source_schema),
            (package / phase.performance, phase.performance_schema),
        ]
    )
    given = getattr(args, "source", None)
    if given is not None:
        inherit.compare(source, inherit.complete(documents.read_yaml(given).value), phase.name, "given", given.name)
    missing = [name for name in phase.artefacts if name not in phase.optional and not (package / name).is_file()]
    extra = sorted({path.name for path in package.iterdir()} - set(phase.files))
    if missing or extra:
        raise RuntimeError(f"the {phase.name} stage made a wrong package: missing {missing}, extra {extra}")
    assert isinstance(record.value, dict)
    return record.value


def deliver(package: Path, out: Path, phase: Phase) -> None:
    """Move the finished package into `out`: an older one stops being valid first, the new one is valid last."""
    made = {path.name for path in package.iterdir()}
    for stale in (SUMS, *(name for name in phase.files if name not in made)):
        (out / stale).unlink(missing_ok=True)
    disk.sync_tree(package)
    for name in sorted(made - {SUMS}) + sorted(made & {SUMS}):
        os.replace(package / name, out / name)
    disk.sync_tree(out)


def perform(stage: Stage[Any], args: argparse.Namespace, bench: Bench, out: Path) -> GateFailed | None:
    """Require, work, ensure, write. Returns the missed gate of a package that was delivered all the same."""
    started = manifest.now()
    names.require_file_names(value for value in vars(args).values() if isinstance(value, Path) and look.is_file(value))
    request = stage.require(args)
    tools = dict(sorted((found.name, found.version) for found in distributions()))
    stage.work(request, bench)
    if alone := _alone(args, stage.phase):
        name, schema = alone
        validate.require(documents.read(bench.out / name), schema)
        disk.sync_tree(bench.out)
        os.replace(bench.out / name, out / name)
        return None
    record = ensure(bench.out, args, stage.phase)
    files = {flag: value for flag, value in vars(args).items() if isinstance(value, Path) and look.is_file(value)}
    inputs = {flag: value for flag, value in files.items() if not flag.startswith(_STATE)}
    facts = {
        "version": __version__,
        "command": _command(stage.phase, args),
        "started": started,
        "tools": tools,
    }
    manifest.write(bench.out, stage.phase, facts, inputs=inputs)
    deliver(bench.out, out, stage.phase)
    stage.delivered(request)
    for text in performance.warnings(record):
        bench.note(text, "warning")
    return performance.missed_gate(record, stage.phase, strict=args.strict)


def _alone(args: argparse.Namespace, phase: Phase) -> tuple[str, str] | None:
    """The one document, with its schema, that is written in place of a package; None where a package is."""
    if getattr(args, "describe", False):
        return phase.source, phase.source_schema
    return (phase.board, phase.board_schema) if getattr(args, "board_record", None) else None


def _command(phase: Phase, args: argparse.Namespace) -> list[str]:
    """The stage's command as provenance: what shaped the package, files by name alone, folders of this machine not."""
    words = ["python", "-m", f"stages.{phase.name}"]
    for name, value in sorted(vars(args).items()):
        shaping = name not in ("out", "result", "nonce", "progress") and not name.startswith(_STATE)
        if shaping and value not in (None, False):
            words += ["--" + name.replace("_", "-"), *([] if value is True else [_word(value)])]
    return words


def _word(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(str(part) for part in value)
    return value.name if isinstance(value, Path) else str(value)


def _report(args: argparse.Namespace, phase: Phase, error: McwbuildError | None, code: int) -> None:
    """Tell the outcome: as data where the orchestrator asked for it, else as sentences on standard error."""
    if args.result is not None:
        kept = error is None or isinstance(error, GateFailed)
        files = (
            sorted(p.name for p in args.out.iterdir() if p.name in phase.files) if kept and args.out.is_dir() else []
        )
        outcome = {
            "schema": "result/1",
            "nonce": args.nonce,
            "phase": phase.name,
            "status": "done" if error is None else "gate_failed" if isinstance(error, GateFailed) else "failed",
            "code": code,
            "error": None if error is None else error.as_dict(),
            "files": files,
        }
        documents.write_json(args.result, outcome)
    elif error is not None:
        for problem in error.problems:
            print(visible(str(problem)), file=sys.stderr)
        print(f"error: {visible(str(error))}", file=sys.stderr)


class _Terminated(BaseException):
    """SIGTERM, raised where the stage stands, so that its scratch folders go."""


def _on_sigterm(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise _Terminated


def run(stage: Stage[Any], argv: Sequence[str] | None = None) -> int:
    """Run the stage once and return its exit code: the error boundary of a stage's process."""
    args = parser(stage).parse_args(argv)
    signal.signal(signal.SIGTERM, _on_sigterm)
    stream = claim_stdout()
    staging: Path | None = None
    error: McwbuildError | None = None
    try:
        documents.make_folder(args.out)
        _sweep(args.out)
        staging = Path(tempfile.mkdtemp(prefix=f".partial-{os.getpid()}-", dir=args.out))
        with tempfile.TemporaryDirectory(prefix="mcwbuild-") as scratch:
            bench = Bench(staging, Path(scratch), args.threads, emitter(args.progress, stream))
            error = perform(stage, args, bench, args.out)
        code = int(error.code) if error else int(ExitCode.DONE)
    except McwbuildError as raised:
        error, code = raised, int(raised.code)
    except KeyboardInterrupt:
        return _stopped("interrupted", ExitCode.INTERRUPTED)
    except _Terminated:
        return _stopped("terminated", ExitCode.TERMINATED)
    except Exception as bug:  # the stage's boundary: a bug becomes data and a traceback in the log
        traceback.print_exc()
        error, code = McwbuildError(f"A bug in the {stage.phase.name} stage: {type(bug).__name__}: {bug}"), ExitCode.BUG
    finally:
        if staging is not None:
            with suppress(OSError):  # the next run sweeps what is left
                disk.remove_tree(staging)
    _report(args, stage.phase, error, int(code))
    return int(code)


def main(stage: Stage[Any]) -> NoReturn:
    """The stage as a program."""
    gc.set_threshold(ALLOCATIONS)
    leave(run(stage))


def _stopped(how: str, code: ExitCode) -> int:
    print(f"{how}: nothing half-written was left; the same command goes on from here.", file=sys.stderr)
    return int(code)


def _sweep(out: Path) -> None:
    """Remove what killed runs left in `out`; folders of processes that live are let be."""
    for left in out.glob(".partial-*-*"):
        if not Path("/proc", left.name.split("-")[1]).exists():
            disk.remove_tree(left)
