"""The same ground under the toolkit's process each time: `python -I -S fixed_ground.py START`.

A `.rknn` holds rests of its maker's memory: addresses, and what was freed before. They are the same bytes where the
process is laid out the same: no address randomization, one processor, and nothing in it that differs from one user,
folder or run to the next. START is JSON: `{root, places, cpu, folder, command, environment}`.

* `places` are folders by the path at which the process sees them, below a root of its own (in `root`, an empty folder)
  which shows everything else where it is. Without any, it sees the machine as it is: an image has fixed paths already.
* It replaces itself by `command`, with that environment and nothing else, on the `cpu`-th processor that it may use.

It stands alone (standard library, Linux). It ends with `CANNOT`, and one line of why, where the kernel forbids it.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

CANNOT = 125
_ADDR_NO_RANDOMIZE = 0x0040000  # linux/personality.h
_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000  # linux/sched.h
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 16384, 1 << 18  # linux/mount.h
_FAILED = 0xFFFFFFFF
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.personality.argtypes = [ctypes.c_ulong]  # a filter of system calls sees all of its 64 bits


def _call(name: str, *arguments: Any) -> None:
    if getattr(_LIBC, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _mount(source: str, target: Path, flags: int, kind: str = "none") -> None:
    _call("mount", source.encode(), os.fsencode(target), kind.encode(), flags, None)


def enter(root: Path, places: Mapping[str, str]) -> None:
    """Make the folder `root` this process's root: the old one's folders, and `places`. Raises OSError."""
    user, group = os.geteuid(), os.getegid()
    if user == 0:
        _call("unshare", _CLONE_NEWNS)
    else:
        _call("unshare", _CLONE_NEWNS | _CLONE_NEWUSER)
        Path("/proc/self/setgroups").write_text("deny", "ascii")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1", "ascii")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1", "ascii")
    _mount("none", Path("/"), _MS_REC | _MS_PRIVATE)
    _mount("tmpfs", root, 0, "tmpfs")
    own = {Path(place).parts[1] for place in places}
    for entry in sorted(Path("/").iterdir()):
        if entry.name in own:
            continue
        if entry.is_symlink():
            (root / entry.name).symlink_to(entry.readlink())
        elif entry.is_dir():
            (root / entry.name).mkdir()
            _mount(str(entry), root / entry.name, _MS_BIND | _MS_REC)
    for place, source in places.items():
        (root / place.lstrip("/")).mkdir(parents=True)
        _mount(source, root / place.lstrip("/"), _MS_BIND | _MS_REC)
    os.chroot(root)


def settle(cpu: int) -> None:
    """No address randomization from the next program on, and one processor. Raises OSError."""
    if _LIBC.personality(_FAILED) & _FAILED == _FAILED or _LIBC.personality(_ADDR_NO_RANDOMIZE) == -1:
        raise OSError(ctypes.get_errno(), "the kernel does not turn address randomization off")
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {allowed[cpu % len(allowed)]})


def main(start: Mapping[str, Any]) -> NoReturn:
    """Become the command."""
    try:
        if start["places"]:
            enter(Path(start["root"]), start["places"])
        settle(start["cpu"])
        os.chdir(start["folder"])
        os.execve(start["command"][0], start["command"], start["environment"])
    except OSError as error:
        os.write(2, f"{error.strerror or error}\n".encode())
        os._exit(CANNOT)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
