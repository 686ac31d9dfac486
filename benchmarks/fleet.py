"""What a fleet costs, from what one model costs here: `python benchmarks/fleet.py --models 1000 --targets 6`.

The example is converted for one chip and for two, everything made anew; CPU seconds, memory and bytes are measured, and
the rest is arithmetic: the first chip pays for PyTorch and ONNX, every further one for its conversion alone.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import sides

CHIPS = ("rk3588", "rk3576")
MEMORY = 3e9  # bytes that `mcwbuild batch` sets aside for a run


@dataclass(frozen=True)
class Cost:
    """CPU and wall seconds, peak memory of one process in bytes, bytes of all packages."""

    cpu: float
    wall: float
    memory: int
    size: int


def measured(targets: str, args: argparse.Namespace) -> Cost:
    """One run with one thread, as a batch gives it."""
    with tempfile.TemporaryDirectory(prefix="mcwbuild-fleet-") as folder:
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        words = ["-m", "mcwbuild", "run", "--engine", "local", "--no-store", "--threads", "1", "--progress", "quiet"]
        given = ["--pt", str(args.pt.resolve()), "--data", str(args.data.resolve()), "--target", targets]
        sides.run([sys.executable, *words, *given, "--out", folder + "/out"], Path(folder))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        size = sum(file.stat().st_size for file in Path(folder, "out").rglob("*_package/*"))
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Cost(cpu, time.monotonic() - start, after.ru_maxrss * 1024, size)


def table(one: Cost, two: Cost, args: argparse.Namespace) -> str:
    """The arithmetic, as Markdown."""
    more = Cost(two.cpu - one.cpu, two.wall - one.wall, two.memory, two.size - one.size)
    cpu = args.models * (one.cpu + (args.targets - 1) * more.cpu)
    wall = args.models * (one.wall + (args.targets - 1) * more.wall)
    size = args.models * (one.size + (args.targets - 1) * more.size)
    checkpoint = args.pt.stat().st_size
    memory = max(one.memory, two.memory, MEMORY)
    workers = -(-wall // 3600)
    rows = (
        ("first chip of a model", f"{one.cpu:.0f} CPU s, {one.wall:.0f} s, {one.size / 1e6:.0f} MB"),
        ("each further chip", f"{more.cpu:.0f} CPU s, {more.wall:.0f} s, {more.size / 1e6:.0f} MB"),
        ("most memory of a process", f"{max(one.memory, two.memory) / 1e9:.1f} GB"),
        (f"{args.models:,} models x {args.targets} chips, CPU", f"{cpu / 3600:.0f} hours"),
        ("the same on one thread at a time", f"{wall / 3600:.0f} hours"),
        ("storage of all packages", f"{size / 1e9:.0f} GB"),
        ("network, checkpoints in and packages out", f"{(size + args.models * checkpoint) / 1e9:.0f} GB"),
        ("done in an hour by", f"{workers:.0f} runs at once: {workers:.0f} threads, {workers * memory / 1e9:.0f} GB"),
        ("bytes a second to the storage then", f"{size / 3600 / 1e6:.0f} MB/s"),
    )
    return "| | |\n|---|---|\n" + "".join(f"| {name} | {value} |\n" for name, value in rows)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--targets", type=int, default=6)
    example = sides.ROOT / "examples" / "shapes"
    parser.add_argument("--pt", type=Path, default=example / "best.pt")
    parser.add_argument("--data", type=Path, default=example / "data.yaml")
    args = parser.parse_args()
    measured(CHIPS[0], args)  # makes the environments, fills the caches
    print(table(measured(CHIPS[0], args), measured(",".join(CHIPS), args), args))
    print(f"On {sides.machine_threads()} threads of this machine, {os.cpu_count()} in all.")


if __name__ == "__main__":
    main()
