"""kill -9 at random moments of a real run: `python -m tests.campaign.kills --kills 100`.

Every trial is a run from nothing, killed at a moment drawn evenly over a whole run's time; a third of the trials
have their second run killed too. After each kill: no stage's process left, no package that is not whole. In the
end the same command finishes, its packages are whole, and nothing else lies in the output folder. The counts go
into the ledger; the program begins where the ledger ends.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from mcwbuild import inspection
from mcwbuild.contract.phases import PHASES
from tests.campaign import ledger
from tests.support.commands import EXAMPLE, MCWBUILD, ROOT, small_dataset

CAMPAIGN = "kills"
SEED = 20260229
IMAGES = 4
SIZE = "96"  # pixels: the smallest input at which the example still finds its shapes
SETTLE = 20.0  # seconds that a stage may outlive its killed orchestrator on a busy machine
LEFTOVERS = (".tmp-*", ".old-*", "**/.partial-*")
STRETCH = 1.3  # of a whole run's time: a busy machine makes some slower, and their end counts too
EARLIEST = 0.2  # seconds: before, the interpreter has not begun


def start(folder: Path) -> subprocess.Popen[bytes]:
    """The run, in a folder of its own."""
    words = ["run", "--pt", EXAMPLE / "best.pt", "--data", "data.yaml", "--target", "rk3588", "--dtype", "fp16"]
    return subprocess.Popen(
        [*MCWBUILD, *map(str, words), "--imgsz", SIZE, "--out", "out", "--progress", "quiet"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=(folder / "stderr.txt").open("ab"),
    )


def finish(folder: Path) -> float:
    """Run to the end; the seconds it took. Raises RuntimeError where it fails."""
    begun = time.monotonic()
    code = start(folder).wait()
    if code:
        raise RuntimeError(f"exit code {code}: {(folder / 'stderr.txt').read_text('utf-8', 'replace')[-2000:]}")
    return time.monotonic() - begun


def processes(folder: Path) -> list[str]:
    """Command lines of processes that work for this folder's run."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if str(folder) in words and int(entry.name) != os.getpid():
            found.append(words)
    return found


def settled(folder: Path) -> tuple[list[str], float]:
    """The processes left after at most `SETTLE` seconds, and how long it took."""
    begun = time.monotonic()
    while (left := processes(folder)) and time.monotonic() - begun < SETTLE:
        time.sleep(0.05)
    return left, time.monotonic() - begun


def published(out: Path) -> tuple[str, list[str]]:
    """The last phase whose package lies there, and what is wrong with any package."""
    wrong: list[str] = []
    last = "nothing"
    for phase in PHASES.values():
        package = out / phase.package
        if package.exists():
            last = phase.name
            wrong += [f"{phase.package}: {error}" for error in inspection.inspect(package, phase)]
    return last, wrong


def trial(folder: Path, rng: random.Random, seconds: float) -> dict[str, object]:
    """One trial's counts; every text in `violations` is one."""
    out = folder / "out"
    kills, late, slowest = 0, 0, 0.0
    landed: dict[str, int] = {}
    violations: list[str] = []
    for _ in range(2 if rng.random() < 1 / 3 else 1):
        process = start(folder)
        moment = rng.uniform(EARLIEST, STRETCH * seconds)
        try:
            process.wait(moment)
            late += 1  # the run was quicker: nothing was killed
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
        left, waited = settled(folder)
        slowest = max(slowest, waited)
        last, wrong = published(out)
        landed[f"after {last}"] = landed.get(f"after {last}", 0) + 1
        violations += [f"left: {words}" for words in left] + wrong
    try:
        finish(folder)
        last, wrong = published(out)
        violations += wrong + ([] if last == "rknn" else [f"finished with {last}"])
        violations += [f"left over: {path.name}" for pattern in LEFTOVERS for path in out.glob(pattern)]
    except RuntimeError as error:
        violations.append(str(error))
    return {
        "trials": 1,
        "kills": kills,
        "late": late,
        "landed": landed,
        "violations": violations,
        "slowest_end_of_stages_s": slowest,
    }


def main() -> None:
    """Go on until the ledger has as many kills as asked for, or the time is up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--ledger", type=Path, default=ledger.LEDGER)
    args = parser.parse_args()
    until = time.monotonic() + 60 * args.minutes
    with tempfile.TemporaryDirectory(prefix="kills-") as text:
        base = Path(text)
        small_dataset(base, IMAGES)
        seconds = finish(base)
        print(f"a whole run takes {seconds:.1f} s, seed {SEED}", flush=True)
        while (state := ledger.read(CAMPAIGN, args.ledger)).get("kills", 0) < args.kills and time.monotonic() < until:
            number = state.get("trials", 0)
            folder = base / f"trial-{number}"
            folder.mkdir()
            small_dataset(folder, IMAGES)
            counts = trial(folder, random.Random(f"{SEED}-{number}"), seconds)
            slowest = max(counts["slowest_end_of_stages_s"], state.get("slowest_end_of_stages_s", 0.0))
            state = ledger.add(
                CAMPAIGN, {**counts, "slowest_end_of_stages_s": round(slowest, 2), "seed": str(SEED)}, args.ledger
            )
            print(
                f"{state['trials']} trials, {state['kills']} kills, {len(state['violations'])} violations", flush=True
            )
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
