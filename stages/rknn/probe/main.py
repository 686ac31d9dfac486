"""The board's one command: `python3 run_board.py` measures every model of the archive and writes one record.

Part of the archive of `mcwbuild board pack`. Each model runs in a process of its own: one that the runtime kills
leaves the other's figures. Python 3.8.

Exit codes: 0 all models were measured, 2 input, 4 a model failed (the others are in the record), 5 the board lacks
something, 6 a file is not the one that was packed.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RECORD = "performance_rknn.device.json"
PACK = "pack.json"
SUMS = "SHA256SUMS"
TIMEOUT = 900  # seconds for one model
BLOCKS = (
    "device", "accuracy_metrics", "inference_performance", "model_info", "comparison_with_simulator", "throughput",
    "conditions", "results",
)  # fmt: skip
_JUDGED_LATER = {"status": "unmeasured", "reason": "`mcwbuild board merge` judges the results."}


def main(argv: Sequence[str] | None = None) -> int:
    """Run, and return the exit code."""
    parser = argparse.ArgumentParser("run_board.py", description="Measure the packed models on this board.")
    parser.add_argument("--out", type=Path, default=Path(RECORD), help="the record to write; default %(default)s")
    parser.add_argument("--model", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    folder = Path(__file__).resolve().parents[3]
    wrong = changed(folder)
    if wrong:
        sys.stderr.write(f"error: {', '.join(wrong)} changed since it was packed. Copy the archive again.\n")
        return 6
    try:
        program = importlib.import_module("npu_inference")
    except ImportError as error:
        install = "pip install numpy opencv-python-headless"
        sys.stderr.write(f"error: {error.name or 'a package'} cannot be imported ({error}). On the board: {install}\n")
        return 5
    pack = json.loads((folder / PACK).read_text("ascii"))
    try:
        if args.model:
            from stages.rknn.probe import model

            write(args.out, model.measure(program, args.model, pack, folder))
            return 0
        return every_model(program, pack, folder, args.out)
    except program.Stop as stop:
        sys.stderr.write(f"error: {stop}\n")
        return int(stop.code)


def changed(folder: Path) -> list[str]:
    """The files that are not as `SHA256SUMS` says."""
    wrong = []
    for line in (folder / SUMS).read_text("ascii").splitlines():
        wanted, _, name = line.partition("  ")
        try:
            found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        except OSError:
            found = ""
        if found != wanted:
            wrong.append(name)
    return wrong


def every_model(program: Any, pack: Mapping[str, Any], folder: Path, out: Path) -> int:
    """Measure one model after the other and write the record. Raises `program.Stop` where the board lacks something."""
    from stages.rknn.probe import machine

    data = json.loads(program.DATA)
    program.check_chip(data, machine.ROOT, ())
    try:
        importlib.import_module("rknnlite.api")
    except ImportError as error:
        missing = f"rknn-toolkit-lite2 cannot be imported ({error}). Install it on the board:"
        install = f"pip install rknn-toolkit-lite2=={data['toolkit']}"
        raise program.Stop(program.ENVIRONMENT, f"{missing} {install}") from None
    parts, code = {}, 0
    for variant, file in sorted(pack["models"].items()):
        sys.stderr.write(f"measuring {file} ...\n")
        part, failed = one_model(file, folder)
        code = code or failed
        parts[variant] = part
        sys.stderr.write(f"  {figures_of(part)}\n")
    if code and all("reason" in part["inference_performance"] for part in parts.values()):
        return code
    write(out, record(pack, parts, folder, machine.board(), machine.is_stand_in()))
    sys.stderr.write(f"wrote {out}\n")
    return code


def one_model(file: str, folder: Path) -> tuple[dict[str, Any], int]:
    """The model's blocks, measured in a process of its own, and 0 or the code with which that failed."""
    with tempfile.TemporaryDirectory() as scratch:
        part = Path(scratch, "part.json")
        command = [sys.executable, str(folder / "run_board.py"), "--model", file, "--out", str(part)]
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIMEOUT)
            code, said = done.returncode, done.stdout.decode("utf-8", "replace")
        except subprocess.TimeoutExpired:
            code, said = 4, f"error: {file} was not done after {TIMEOUT} seconds"
        if code == 0 and part.is_file():
            measured: dict[str, Any] = json.loads(part.read_text("ascii"))
            return {**measured, "accuracy_metrics": _JUDGED_LATER}, 0
    sys.stderr.write(said)
    last = next((line for line in reversed(said.splitlines()) if line.strip()), "it said nothing")
    reason = f"killed by signal {-code}" if code < 0 else last.replace("error: ", "", 1)
    told = {"status": "unmeasured", "reason": ascii(reason)[1:-1][:500]}
    part_of = {block: told for block in BLOCKS if block not in ("results", "conditions")}
    nothing = {"text": None, "reason": told["reason"]}
    return {**part_of, "results": nothing, "conditions": told}, code if code > 0 else 4


def record(
    pack: Mapping[str, Any], parts: Mapping[str, Any], folder: Path, board: Mapping[str, Any], stand_in: bool
) -> dict[str, Any]:
    """The whole document; a variant that was not packed is unmeasured."""
    absent = {"status": "unmeasured", "reason": "It is not in the archive."}
    for variant in ("fp16", "int8"):
        if variant not in parts:
            nothing = {"text": None, "reason": absent["reason"]}
            parts = {**parts, variant: {**dict.fromkeys(BLOCKS, absent), "results": nothing}}
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {
        "schema": "performance_rknn.device/1",
        "report_info": {**pack["report_info"], "created": now, "tool": "run_board.py"},
        "stand_in": stand_in,
        "pack": {
            "sha256": hashlib.sha256((folder / PACK).read_bytes()).hexdigest(),
            "images": len(pack["images"]),
        },
        "board": dict(board),
        "test_configuration": pack["test_configuration"],
        **{block: {variant: parts[variant][block] for variant in ("fp16", "int8")} for block in BLOCKS},
        "issues": [],
    }


def figures_of(part: Mapping[str, Any]) -> str:
    """The model's figures in a line."""
    from stages.common.agreement import in_words

    speed, comparison = part["inference_performance"], part["comparison_with_simulator"]
    if "reason" in speed:
        return str(speed["reason"])
    latency, fps = speed["latency_ms"], part["throughput"]["fps"]
    parts = ", ".join(f"{name} {latency[name]['p50']:.2f}" for name in ("pre", "inference", "post"))
    drift = f"; beside the simulator: {in_words(comparison['outputs'])}" if "outputs" in comparison else ""
    return f"{parts} ms (p50 of {speed['runs']} runs), {speed['fps']} FPS one at a time, {fps} on all cores{drift}"


def write(path: Path, document: Mapping[str, Any]) -> None:
    """Write the document whole: under another name first."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", "ascii")
    partial.replace(path)
