"""Many processes that publish into one output folder, some of them killed, and one that reads all the time."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import tempfile
import time
from multiprocessing.synchronize import Event
from pathlib import Path

from mcwbuild.contract.phases import PT
from mcwbuild.package import Workspace
from tests.campaign.series import Made
from tests.support import generations

PATIENCE = 120.0  # seconds for the lock: everybody else may be before
KILLED = 0.1  # of the runs, at a moment of their time
MOMENT = 0.02  # seconds that a publish takes at most, of which the moment is drawn
FREED = 1.0  # seconds until the lock of a killed owner is somebody else's
SECONDS = 300


def _publish(raw: Path, out: Path, number: int, journal: Path) -> None:
    """One run: what it acknowledges stands in the journal, in the order of the lock."""
    with Workspace(out, PATIENCE) as workspace:
        generations.put(workspace, raw, number)
        with journal.open("ab", buffering=0) as file:
            file.write(b"%d\n" % number)


def _worker(base: Path, first: int, runs: int, seed: str) -> None:
    """So many runs, each a process of its own, because killed ones cannot go on."""
    rng = random.Random(seed)
    for number in range(first, first + runs):
        doomed = rng.random() < KILLED
        child = os.fork()
        if child == 0:
            code = 1
            try:
                _publish(base / "raw", base / "out", number, base / "journal")
                code = 0
            finally:
                os._exit(code)
        if doomed:
            time.sleep(rng.uniform(0, 8 * MOMENT))  # most of the time it waits for the others
            os.kill(child, signal.SIGKILL)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        name = "killed" if ended == -signal.SIGKILL else "published" if ended == 0 else "failed"
        with (base / "ends").open("ab", buffering=0) as file:
            file.write(f"{name} {number}\n".encode())


def _reader(base: Path, over: Event) -> None:
    """Reads the package all the time: each sight is one whole generation, or it was exchanged meanwhile."""
    seen, torn = 0, []
    package = base / "out" / PT.package
    while not over.is_set():
        try:
            held = os.open(package, os.O_RDONLY)  # while it is open, no other folder gets its inode's number
        except FileNotFoundError:
            continue
        try:
            generations.number_of(package)
            seen += 1
        except (AssertionError, OSError) as error:
            try:
                same = os.stat(package).st_ino == os.fstat(held).st_ino  # noqa: PTH116
            except FileNotFoundError:
                same = True  # between two packages nothing may ever be missing
            torn += [str(error)[:300]] if same else []
        finally:
            os.close(held)
    (base / "seen").write_text(json.dumps({"seen": seen, "torn": torn}))


def run(processes: int, runs: int, seed: int) -> Made:
    """The processes with their runs, and everything that was wrong."""
    made = Made()
    fork = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory(prefix="mcw-races-") as text:
        base = Path(text)
        generations.prepare(base / "raw", processes * runs, size=16 << 10)
        (base / "journal").touch()
        over = fork.Event()
        reader = fork.Process(target=_reader, args=(base, over))
        reader.start()
        workers = [
            fork.Process(target=_worker, args=(base, at * runs, runs, f"{seed}-{at}")) for at in range(processes)
        ]
        for worker in workers:
            worker.start()
        deadline = time.monotonic() + SECONDS
        for worker in workers:
            worker.join(max(0.0, deadline - time.monotonic()))
        over.set()
        reader.join()
        made.violations += [f"process {at} hangs" for at, worker in enumerate(workers) if worker.is_alive()]
        for worker in workers:
            worker.kill()
        _judge(base, made)
        _freed(base, made)
    return made


def _judge(base: Path, made: Made) -> None:
    ends = [line.split() for line in (base / "ends").read_text().splitlines()]
    journal = [int(line) for line in (base / "journal").read_text().split()]
    made.outcomes.update(name for name, _ in ends)
    made.violations += [f"run {number} failed" for name, number in ends if name == "failed"]
    acknowledged = {int(number) for name, number in ends if name == "published"}
    made.violations += [f"run {number} ended well without a publish" for number in acknowledged - set(journal)]
    if len(set(journal)) != len(journal):
        made.violations.append("a run published twice")
    sights = json.loads((base / "seen").read_text())
    made.violations += [f"a reader saw: {text}" for text in sights["torn"]]
    made.facts["sights of a reader"] = sights["seen"]
    killed = {int(number) for name, number in ends if name == "killed"}
    try:
        last = generations.recovered(base / "out")
        if last != journal[-1] and last not in killed:  # killed between its publish and the journal
            made.violations.append(f"{last} lies there, and {journal[-1]} was the last one acknowledged")
    except AssertionError as error:
        made.violations.append(str(error))


def _freed(base: Path, made: Made) -> None:
    """How long the lock of a killed process is held: not at all."""
    ready, write = os.pipe()
    owner = os.fork()
    if owner == 0:
        with Workspace(base / "out"):
            os.write(write, b"x")
            time.sleep(60)
        os._exit(0)
    os.read(ready, 1)
    os.kill(owner, signal.SIGKILL)
    begun = time.monotonic()
    with Workspace(base / "out", PATIENCE):
        took = time.monotonic() - begun
    os.waitpid(owner, 0)
    if took > FREED:
        made.violations.append(f"the lock of a killed process was held for {took:.2f} s")
