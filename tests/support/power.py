"""Power cuts on a real file system: ext4 on a loop device, shut down by its own ioctl in the middle of publishes.

What was acknowledged before the cut has to be there after the journal was replayed; what lies there has to be whole. An
acknowledgement that is read after the cut does not count: the kernel may still answer a sync well then.
"""

from __future__ import annotations

import fcntl
import os
import random
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from mcwbuild.package import Workspace
from tests.campaign.series import Made
from tests.support import generations

EXT4_IOC_SHUTDOWN = 0x8004587D  # <linux/ext4.h>; of FLAGS, 1 writes the log out before, 2 does not
FLAGS = (1, 2)
IMAGE = 64 << 20  # bytes
GENERATIONS = 160  # more than are published before the latest cut
EARLIEST, LATEST = 0.03, 0.28  # seconds after the first acknowledgement
PAUSE = 0.03  # seconds after each acknowledgement: what the next one syncs would be as good as a sync of this one
FULL = "full"  # the protocol as it is


def missing() -> str | None:
    """Why no cut can be made on this machine, or None."""
    if os.geteuid() != 0:
        return "mounting a file system needs root"
    if not shutil.which("mkfs.ext4"):
        return "mkfs.ext4 is not installed"
    with tempfile.TemporaryDirectory(prefix="mcw-power-") as text:
        image, place = Path(text, "image"), Path(text, "disk")
        _format(image)
        place.mkdir()
        if subprocess.run(["mount", "-o", "loop", image, place], capture_output=True, check=False).returncode:
            return "no loop device can be mounted"
        subprocess.run(["umount", place], check=True)
    return None


def _format(image: Path) -> None:
    with image.open("wb") as file:
        file.truncate(IMAGE)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)


def run(numbers: Sequence[int], seed: str, protocol: str = FULL) -> Made:
    """The cuts of these numbers."""
    made = Made()
    with tempfile.TemporaryDirectory(prefix="mcw-power-") as text:
        base = Path(text)
        generations.prepare(base / "raw", GENERATIONS)
        _format(base / "empty")
        (base / "disk").mkdir()
        for number in numbers:
            place = f"cut {number} of seed {seed}, {protocol} protocol"
            (base / "image").unlink(missing_ok=True)  # the kernel lets go of the last cut's loop device when it likes
            shutil.copyfile(base / "empty", base / "image")
            outcome, wrong = _cut(base, random.Random(f"{seed}-{number}"), protocol)
            made.outcomes[outcome] += 1
            made.violations += [f"{place}: {wrong}"] if wrong else []
    return made


def _mount(base: Path) -> None:
    subprocess.run(["mount", "-o", "loop", base / "image", base / "disk"], check=True)


def _cut(base: Path, rng: random.Random, protocol: str) -> tuple[str, str]:
    _mount(base)
    try:
        (base / "disk" / "out").mkdir()
        os.sync()
        acknowledged = _publish_and_cut(base, rng, protocol)
    finally:
        subprocess.run(["umount", base / "disk"], check=True)
    _mount(base)
    try:
        out = base / "disk" / "out"
        try:
            lies = generations.found(out)
            after = generations.recovered(out)
        except (AssertionError, OSError) as error:
            return "torn", f"{error!s:.300}"
        if after != lies:
            return "torn", f"recovery made {lies} to {after}"
        if acknowledged is not None and (after is None or after < acknowledged):
            return "lost", f"{acknowledged} was acknowledged, and {after} lies there"
        return ("the last acknowledged" if after == acknowledged else "a later one"), ""
    finally:
        subprocess.run(["umount", base / "disk"], check=True)


def _publish_and_cut(base: Path, rng: random.Random, protocol: str) -> int | None:
    """Publish without end in a process; cut; the last number that was acknowledged before the cut."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with suppress(BaseException):  # whatever the cut makes of it
            put = generations.put if protocol == FULL else generations.weakened(protocol)
            with Workspace(base / "disk" / "out") as workspace:
                for number in range(GENERATIONS):
                    put(workspace, base / "raw", number)
                    os.write(writing, b"%d\n" % number)
                    time.sleep(PAUSE)
        os._exit(0)
    os.close(writing)
    told = os.read(reading, 4096)
    time.sleep(rng.uniform(EARLIEST, LATEST))
    while select.select([reading], [], [], 0)[0] and (more := os.read(reading, 4096)):
        told += more
    folder = os.open(base / "disk", os.O_RDONLY)
    try:
        fcntl.ioctl(folder, EXT4_IOC_SHUTDOWN, rng.choice(FLAGS).to_bytes(4, "little"))
    finally:
        os.close(folder)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reading)
    lines = told.decode().split("\n")[:-1]
    return int(lines[-1]) if lines else None
