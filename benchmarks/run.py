"""Run the benchmarks, print the ratios, and keep them in the table of benchmarks/README.md.

    python benchmarks/run.py                          # help and decode, in this Python
    python benchmarks/run.py evaluator --onnx-python ~/.cache/mcwbuild/environments/onnx-*/bin/python

The interpreters of the phases are those that `mcwbuild run` makes, found in its cache where none is given. The network
is that of examples/shapes: `mcwbuild run --pt examples/shapes/best.pt --data examples/shapes/data.yaml --target rk3588`
makes the `best.onnx` for the benchmarks that start from one.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import platformdirs
import report
import sides

EXAMPLE = sides.ROOT / "examples" / "shapes"
NAMES = (
    "help",
    "decode",
    "pipeline",
    "evaluator",
    "conversion",
    "simulator",
    "ultralytics_export",
    "engines",
    "tuning",
    "noop",
    "batch",
)
ROUNDS = {"help": 11, "decode": 31, "conversion": 3, "simulator": 2, "ultralytics_export": 3, "tuning": 3}
OTHER_ROUNDS = 5


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(NAMES)}; default: help decode")
    made.add_argument("--rounds", type=int, help=f"counted runs of each side; default: {ROUNDS}, else {OTHER_ROUNDS}")
    made.add_argument("--threads", type=int, default=sides.machine_threads(), help="CPU threads of both sides")
    made.add_argument("--onnx-python", type=Path, default=environment("onnx"), help="of the onnx phase's environment")
    made.add_argument("--rknn-python", type=Path, default=environment("rknn"), help="of the rknn phase's environment")
    made.add_argument("--all-python", type=Path, help="of an environment with benchmarks/requirements-all.in")
    made.add_argument("--onnx", type=Path, default=sides.ROOT / "build" / "shapes" / "onnx_package" / "best.onnx")
    made.add_argument("--onnx-large", type=Path, default=sides.ROOT / "build/shapes-640/onnx_package/best.onnx")
    made.add_argument("--folders", type=Path, default=sides.ROOT / "build" / "hard", help="of networks, for tuning")
    made.add_argument("--pt", type=Path, default=EXAMPLE / "best.pt")
    made.add_argument("--data", type=Path, default=EXAMPLE / "data.yaml")
    made.add_argument("--vendor", type=Path, help="yolov8.py of rknn_model_zoo, for decode")
    made.add_argument("--write", action="store_true", help="put the rows into the table of benchmarks/README.md")
    return made


def environment(phase: str) -> Path | None:
    """The newest interpreter that mcwbuild made for the phase, if there is one."""
    folder = platformdirs.user_cache_path("mcwbuild") / "environments"
    found = sorted(folder.glob(f"{phase}-*/bin/python"), key=lambda path: path.lstat().st_mtime)
    return found[-1] if found else None


def command(name: str, args: argparse.Namespace, answer: Path) -> list[str]:
    """How the benchmark is started. Raises BenchmarkError where its interpreter is not known."""
    here = Path(sys.executable)
    model = ["--onnx", str(args.onnx), "--data", str(args.data)]
    needs: dict[str, tuple[Path | None, str, list[str]]] = {
        "help": (here, "", []),
        "decode": (here, "", ["--vendor", str(args.vendor)] if args.vendor else []),
        "pipeline": (here, "", []),
        "evaluator": (args.onnx_python, "--onnx-python", [*model, "--onnx-large", str(args.onnx_large)]),
        "conversion": (args.rknn_python, "--rknn-python", model),
        "tuning": (args.rknn_python, "--rknn-python", ["--folders", str(args.folders)]),
        "simulator": (args.rknn_python, "--rknn-python", model),
        "engines": (here, "", ["--run", str(args.onnx.parents[1])]),
        "batch": (here, "", []),
        "noop": (here, "", ["--pt", str(args.pt), "--data", str(args.data)]),
        "ultralytics_export": (args.all_python, "--all-python", ["--pt", str(args.pt), "--data", str(args.data)]),
    }
    python, option, words = needs[name]
    if python is None:
        raise sides.BenchmarkError(f"{name} needs {option}; see benchmarks/README.md.")
    shared = [
        "--rounds",
        str(args.rounds or ROUNDS.get(name, OTHER_ROUNDS)),
        "--threads",
        str(args.threads),
        "--json",
        str(answer),
    ]
    return [str(python), str(sides.ROOT / "benchmarks" / f"{name}.py"), *shared, *words]


def measured(name: str, args: argparse.Namespace, keep: Callable[[str, list[sides.Row]], None]) -> int:
    """Run one benchmark in its interpreter and hand its rows on. Returns its exit code."""
    with tempfile.TemporaryDirectory(prefix="mcwbuild-benchmark-") as folder:
        answer = Path(folder, "rows.json")
        code = subprocess.run(command(name, args, answer), env=sides.environment()).returncode
        if code == 0:
            keep(name, report.read(answer))
    return code


def main() -> int:
    """Run what was asked for; 1 where one of them did not run."""
    args = parser().parse_args()
    names = args.names or ["help", "decode"]
    if unknown := sorted(set(names) - set(NAMES)):
        print(f"No such benchmark: {', '.join(unknown)}. There are {', '.join(NAMES)}.", file=sys.stderr)
        return 2
    keep = report.keep if args.write else lambda _name, _rows: None
    try:
        return int(max(measured(name, args, keep) for name in names))
    except sides.BenchmarkError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
