"""Two sides of a comparison, run in turns, and what came out as a row of the table."""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import tempfile
import time
import timeit
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parents[1]
_SPAN = 0.1  # seconds of one counted figure, for work inside this process
_EVALUATION = ("evaluate", "test", "compare", "pictures")
Timed = Callable[[], float]  # does the work once and returns its seconds
Seconds = tuple[float, ...]


class BenchmarkError(Exception):
    """A side that did not do its work."""


@dataclass(frozen=True)
class Goal:
    """What the figure has to be: the seconds of our side, those that it takes more than the other, our speed or
    our time as a multiple of the other's.
    """

    figure: Literal["seconds", "more", "speed", "time"]
    limit: float | None

    def value(self, ours: float, other: float) -> float:
        """The figure, from both sides' median seconds."""
        return {"seconds": ours, "more": ours - other, "speed": other / ours, "time": ours / other}[self.figure]

    def met(self, value: float) -> bool | None:
        """Whether `value` reaches the limit; None where there is none."""
        if self.limit is None:
            return None
        return value >= self.limit if self.figure == "speed" else value <= self.limit

    def words(self) -> str:
        """The limit in words."""
        unit = {"seconds": " s", "more": " s more", "speed": "x the speed", "time": "x the time"}[self.figure]
        if self.limit is None:
            return "no goal"
        return f"{'at least' if self.figure == 'speed' else 'at most'} {self.limit:g}{unit}"


@dataclass(frozen=True)
class Row:
    """One comparison: names of both sides, their seconds in the order in which they ran, the goal."""

    what: str
    ours: str
    other: str
    our_seconds: Seconds
    other_seconds: Seconds
    goal: Goal

    @property
    def figure(self) -> float:
        """The figure that the goal is about: the median over the pairs of runs that followed each other."""
        return statistics.median(map(self.goal.value, self.our_seconds, self.other_seconds))

    def as_dict(self) -> dict[str, object]:
        """Plain data, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Row:
        """The row that `as_dict` gave."""
        fields = dict(data)
        goal = Goal(**fields.pop("goal"))  # type: ignore[arg-type]
        series = {name: tuple(fields.pop(name)) for name in ("our_seconds", "other_seconds")}  # type: ignore[arg-type]
        return cls(goal=goal, **series, **fields)  # type: ignore[arg-type]


def alternate(ours: Timed, other: Timed, rounds: int) -> tuple[Seconds, Seconds]:
    """Seconds of both sides, run in turns: A B A B, so that what else the machine does hits both alike.

    One run of each beforehand does not count: it fills the caches of files and of byte code.
    """
    ours()
    other()
    pairs = [(ours(), other()) for _ in range(rounds)]
    return tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs)


def calls(function: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> Timed:
    """Times calls of `function` in this process; gives the seconds of one. The garbage collector waits, as in timeit.

    As many calls as take `_SPAN`: on a busy machine a quick side would else fall between two of its interruptions.
    `clock` may be `time.process_time` where both sides work in one thread: then the time of others does not count.
    """
    count = max(1, round(_SPAN / max(min(timeit.repeat(function, timer=clock, number=1, repeat=5)), 1e-9)))

    def run() -> float:
        gc.disable()
        try:
            start = clock()
            for _ in range(count):
                function()
            return (clock() - start) / count
        finally:
            gc.enable()

    return run


def environment(**more: str) -> dict[str, str]:
    """The environment of a started program: this one's, importing from this repository, byte code kept."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": str(ROOT), **more}


def run(command: Sequence[str], cwd: Path, **more: str) -> tuple[float, str]:
    """Run a program to its end: wall seconds and standard output. Raises BenchmarkError where it fails."""
    start = time.perf_counter()
    done = subprocess.run(command, cwd=cwd, env=environment(**more), capture_output=True, text=True, errors="replace")
    seconds = time.perf_counter() - start
    if done.returncode:
        raise BenchmarkError(
            f"{' '.join(command)} ended with {done.returncode}:\n{(done.stderr or done.stdout)[-2000:]}"
        )
    return seconds, done.stdout


def run_stage(command: Sequence[str], cwd: Path, **more: str) -> float:
    """Run a stage with `--progress json`: wall seconds less those in which nothing but its evaluation was under way.

    Its steps `evaluate`, `test` and `compare` are that; a build beside one of them counts. Raises BenchmarkError.
    """
    start = time.perf_counter()
    seconds, since = 0.0, start
    under_way: set[str] = set()
    with tempfile.TemporaryFile("w+") as errors:
        stage = subprocess.Popen(
            [*command, "--progress", "json"],
            cwd=cwd,
            env=environment(**more),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        assert stage.stdout is not None
        for line in stage.stdout:
            event = json.loads(line) if line.startswith("{") else {}
            if event.get("event") not in ("started", "finished"):
                continue
            now = time.perf_counter()
            if not under_way or not all(name.split()[-1] in _EVALUATION for name in under_way):
                seconds += now - since
            since = now
            if event["event"] == "started":
                under_way.add(event["name"])
            else:
                under_way.discard(event["name"])
        if stage.wait():
            errors.seek(0)
            raise BenchmarkError(f"{' '.join(command)} ended with {stage.returncode}:\n{errors.read()[-2000:]}")
    return seconds + time.perf_counter() - since


def machine_threads() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0))


def main(
    program: str, rows: Callable[[argparse.Namespace], list[Row]], *options: str, optional: Sequence[str] = ()
) -> None:
    """The command line of one benchmark: `--rounds`, `--json FILE`, and options that name files or folders.

    Those of `optional` may be left out.
    """
    parser = argparse.ArgumentParser(description=program, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="counted runs of each side (default %(default)s)")
    parser.add_argument("--threads", type=int, default=machine_threads(), help="CPU threads of both sides")
    parser.add_argument("--json", type=Path, help="write the seconds of every run here")
    for option in (*options, *optional):
        parser.add_argument(option, type=Path, required=option in options)
    args = parser.parse_args()
    made = rows(args)
    for row in made:
        print(f"{row.what}: {row.figure:.3g} ({row.goal.words()})")
    if args.json:
        args.json.write_text(json.dumps([row.as_dict() for row in made]), "utf-8")
