"""A stand-in for the program adb and a board behind it, which cannot be had here: its board is this machine.

`shell`, `push` and `pull` as adb has them. Every call is written to the file ADB_CALLS. Like old adbd, its shell always
ends with 0. A serial number `missing` is not there, as adb says it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path


def main(argv: list[str]) -> int:
    """The call's exit code."""
    with Path(os.environ["ADB_CALLS"]).open("a") as calls:
        calls.write(json.dumps(argv) + "\n")
    flag, serial, verb, *words = argv
    assert flag == "-s"
    if serial == "missing":
        sys.stderr.write(f"adb: device '{serial}' not found\n")
        return 1
    if verb == "shell":
        subprocess.run(["sh", "-c", " ".join(words)], stdin=subprocess.DEVNULL)
    elif verb in ("push", "pull"):
        shutil.copyfile(words[0], words[1])
        sys.stdout.write(f"{words[0]}: 1 file {verb}ed, 0 skipped.\n")
    else:
        return 1
    return 0


sys.exit(main(sys.argv[1:]))
