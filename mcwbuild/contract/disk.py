"""Writes to disk: whole or not at all, on disk before it is said, and removed whatever it is.

The one place that writes, renames, syncs and removes for packages and documents. Every step is a
call of `os` (or `rename_exchange`), so that a test can stop the process at each of them.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

CHUNK = 1 << 20  # bytes held in memory at a time, whatever a file's size
AT_FDCWD = -100  # <fcntl.h>: paths relative to the working folder
RENAME_EXCHANGE = 2  # <linux/fs.h>
UNSUPPORTED = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM}  # NFS, overlay's lower layer, old kernels
_READ_ONLY_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)


def write_all(descriptor: int, data: bytes) -> None:
    """Writes every byte: `os.write` may take fewer. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def write_atomic(path: Path, data: bytes) -> None:
    """Replaces `path` by a file with these bytes, mode 0644; a reader sees the old or the new one.

    The data and the name are on disk when it returns. Raises OSError; `path` is then as it was.
    """
    temporary = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        try:
            write_all(descriptor, data)
            os.fchmod(descriptor, 0o644)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(path)
    finally:
        with suppress(OSError):  # gone already, unless something failed
            temporary.unlink()
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes the names in this folder durable: a rename without it can be lost in a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Makes every regular file and folder below (and `folder`) durable, children before parents.

    Symbolic links are not followed. Raises OSError at the first failing sync: the same file may then
    not be tried again, because the kernel has already dropped its pages.
    """
    folders = [folder]
    for current in folders:  # grows while it is walked
        with os.scandir(current) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(Path(entry.path))
                elif entry.is_file(follow_symlinks=False):
                    _sync_file(entry.path)
    for current in reversed(folders):
        sync_folder(current)


def _sync_file(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def copy_open(source: int, target: Path, limit: int) -> int:
    """Copies the open descriptor `source` into the new file `target` (0644); gives the bytes copied.

    Never reads more than `limit` + 1 bytes, so a file that grows, or a sparse one of terabytes,
    cannot fill the disk: OSError EFBIG. Raises OSError EEXIST where `target` is there already.
    """
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o644)
    try:
        copied = 0
        while chunk := os.read(source, min(CHUNK, limit + 1 - copied)):
            copied += len(chunk)
            if copied > limit:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(target))
            write_all(descriptor, chunk)
        os.fchmod(descriptor, 0o644)
        return copied
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """The file's SHA-256 in lower-case hexadecimal. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def rename_exchange(first: Path, second: Path) -> bool:
    """Swaps two names in one step (renameat2). False where the system or file system cannot."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    if renameat2(AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second), RENAME_EXCHANGE) == 0:
        return True
    if (code := ctypes.get_errno()) in UNSUPPORTED:
        return False
    raise OSError(code, os.strerror(code), str(first), None, str(second))


def old_name(target: Path) -> Path:
    """Where `exchange` parks the old tree for a moment when names cannot be swapped in one step."""
    return target.with_name(f".old-{target.name}-{secrets.token_hex(4)}")


def parked_target(old: Path) -> Path:
    """The place that a tree with an `old_name` came from."""
    return old.with_name(old.name.removeprefix(".old-")[: -len("-12345678")])


def exchange(staging: Path, target: Path) -> bool:
    """Puts the tree `staging` at `target`, durably; True: what was there before is now at `staging`.

    In one step where the file system can swap names. Elsewhere in three renames, between which the
    old tree is called `.old-<name>-<token>` beside the target: whole, and put back by recovery.
    Both must be on one file system. Raises OSError.
    """
    existed = os.path.lexists(target)
    if not existed:
        staging.rename(target)
    elif not rename_exchange(staging, target):
        parked = old_name(target)
        target.rename(parked)
        staging.rename(target)
        sync_folder(target.parent)
        parked.rename(staging)
    sync_folder(target.parent)
    if staging.parent != target.parent:
        sync_folder(staging.parent)
    return existed


def remove_tree(path: Path) -> None:
    """Removes `path`, whatever it is; nothing there is no error, links are removed and not followed.

    Works at any depth and with folders of mode 000: a nested folder is first moved up into the top
    one, so no path gets longer and two descriptors are enough. Raises the first OSError after
    everything that can be removed is gone.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(mode):
        path.unlink()
        return
    top = _open_folder(str(path), None)
    failures: list[OSError] = []
    try:
        waiting = _empty(top, top, failures)
        while waiting:
            name = waiting.pop()
            try:
                folder = _open_folder(name, top)
                try:
                    waiting += _empty(folder, top, failures)
                finally:
                    os.close(folder)
                os.rmdir(name, dir_fd=top)
            except OSError as error:
                failures.append(error)
    finally:
        os.close(top)
    if failures:
        raise failures[0]
    path.rmdir()


def _open_folder(name: str, parent: int | None) -> int:
    """A descriptor of the folder, made ours to read and change first where its mode forbids it."""
    try:
        descriptor = os.open(name, _READ_ONLY_FOLDER, dir_fd=parent)
        os.fchmod(descriptor, 0o700)
        return descriptor
    except PermissionError:
        if not hasattr(os, "O_PATH"):
            os.chmod(name, 0o700, dir_fd=parent, follow_symlinks=False)
            return os.open(name, _READ_ONLY_FOLDER, dir_fd=parent)
    handle = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    try:
        Path(f"/proc/self/fd/{handle}").chmod(0o700)
    finally:
        os.close(handle)
    return os.open(name, _READ_ONLY_FOLDER, dir_fd=parent)


def _empty(folder: int, top: int, failures: list[OSError]) -> list[str]:
    """Removes the files in `folder`; its folders are moved into `top`; gives their names there."""
    with os.scandir(folder) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    folders: list[str] = []
    for name, is_folder in found:
        try:
            if not is_folder:
                os.unlink(name, dir_fd=folder)
            elif folder == top:
                folders.append(name)
            else:
                moved = f".removed-{secrets.token_hex(8)}"
                _make_movable(name, folder)
                os.rename(name, moved, src_dir_fd=folder, dst_dir_fd=top)
                folders.append(moved)
        except OSError as error:
            failures.append(error)
    return folders


def _make_movable(name: str, parent: int) -> None:
    """A folder may be moved to another parent only where its own mode lets us write in it."""
    os.close(_open_folder(name, parent))
