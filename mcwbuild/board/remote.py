"""A board that is reached by ssh or adb: the archive goes there, runs, the record comes back, nothing stays.

Names never meet a shell: commands are lists of words, and what the board's shell reads is made of our own paths and
quoted words. The system's ssh is used as it is configured, host keys included.
"""

from __future__ import annotations

import re
import shlex
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from mcwbuild import process
from mcwbuild.board.archive import FOLDER
from mcwbuild.board.pack import PROGRAM
from mcwbuild.contract.errors import EnvironmentLacking, InputError, McwbuildError, Refused, StageFailed
from mcwbuild.process import Done

Tell = Callable[[str], None]
SHORT, COPY, RUN = 60.0, 600.0, 2400.0  # seconds: a command, a file, all measurements
CONNECT = 15  # seconds until a board that does not answer is given up
RECORD_BYTES = 4 << 20
_PLACE = re.compile(r"/tmp/mcwbuild-[A-Za-z0-9]{10}")
_HOST = re.compile(
    r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*@)?(?:[A-Za-z0-9][A-Za-z0-9_.-]*|[0-9A-Fa-f]*:[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?)"
)
_SERIAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]*")
_ARCHIVE, _RECORD, _RUNNING = "archive.tar.gz", "record.json", "running"
_SSH_CAUSES = (
    (r"Could not resolve hostname|Name or service not known", "its name is not known", "Check the name."),
    (r"Connection refused", "no ssh server answers there", "Start sshd on the board, or give --port."),
    (r"No route to host|Network is unreachable", "there is no route to it", "Check the network, and that it is on."),
    (r"timed out|Timeout", "it did not answer in time", "Check the network, and that it is on."),
    (r"IDENTIFICATION HAS CHANGED", "its host key is another one than before", "Find out why; see ssh-keygen -R."),
    (r"Host key verification failed", "its host key is not known", "Connect once by hand with ssh, and accept it."),
    (r"Permission denied", "it does not let this user in", "Give --identity, or set up a key with ssh-copy-id."),
    (r"UNPROTECTED PRIVATE KEY", "the key's file can be read by others", "chmod 600 the key."),
)


class Remote(Protocol):
    """A board."""

    name: str

    def shell(self, words: str, timeout: float, tell: Tell | None = None) -> Done:
        """Run a line in the board's shell. Raises EnvironmentLacking where the board cannot be reached."""

    def send(self, file: Path, place: str) -> None:
        """Copy a file to the board. Raises EnvironmentLacking."""

    def fetch(self, place: str) -> bytes:
        """A file of the board. Raises EnvironmentLacking."""

    def close(self) -> None:
        """End the connection."""


class Ssh:
    """By the system's ssh: one connection for all commands, so that a password is asked for once."""

    def __init__(self, host: str, port: int | None = None, identity: Path | None = None) -> None:
        if not _HOST.fullmatch(host):
            raise InputError(f"{host!a} is no board for --ssh.", remedy="Give user@host; a port goes to --port.")
        self.name = host
        # Not below TMPDIR, which may be long: a socket's path has 107 bytes.
        self._sockets = tempfile.TemporaryDirectory(prefix="mcwbuild-ssh-", dir="/tmp")
        options = [f"ConnectTimeout={CONNECT}", "ServerAliveInterval=15", "ServerAliveCountMax=4", "ControlMaster=auto"]
        options += [f"ControlPath={self._sockets.name}/%C", "ControlPersist=60"]
        self._options = [word for option in options for word in ("-o", option)]
        self._options += ["-p", str(port)] if port else []
        self._options += ["-i", str(identity)] if identity else []

    def shell(self, words: str, timeout: float, tell: Tell | None = None) -> Done:
        """See `Remote`."""
        return self._call(words, timeout, tell, None)

    def send(self, file: Path, place: str) -> None:
        """See `Remote`."""
        _require_done(
            self._call(f"cat > {place}", COPY, None, file), f"The archive could not be copied to {self.name}."
        )

    def fetch(self, place: str) -> bytes:
        """See `Remote`."""
        done = self._call(f"cat {place}", SHORT, None, None)
        _require_done(done, f"The record could not be copied from {self.name}.")
        return done.output

    def close(self) -> None:
        """See `Remote`."""
        process.call(["ssh", *self._options, "-O", "exit", "--", self.name], timeout=SHORT)
        self._sockets.cleanup()

    def _call(self, words: str, timeout: float, tell: Tell | None, given: Path | None) -> Done:
        command = ["ssh", *self._options, "--", self.name, words]
        done = _started("ssh", command, timeout=timeout, tell=tell, given=given)
        if done.code == 255:
            raise _unreached(self.name, done)
        return done


class Adb:
    """By adb: files are pushed and pulled. Its shell may forget exit codes (old adbd do), so they are printed."""

    def __init__(self, serial: str) -> None:
        if not _SERIAL.fullmatch(serial):
            raise InputError(f"{serial!a} is no serial number for --adb.", remedy="`adb devices` lists them.")
        self.name = serial

    def shell(self, words: str, timeout: float, tell: Tell | None = None) -> Done:
        """See `Remote`."""
        done = self._call("shell", f"{words}; echo mcwbuild-exit:$?", timeout=timeout, tell=tell)
        found = re.search(rb"mcwbuild-exit:(\d+)\s*\Z", done.output)
        if found is None:
            raise EnvironmentLacking(
                f"The board {self.name} did not run a command.",
                f"{done.said or 'adb ended without its exit code'}.",
                "Check `adb devices`; the board must be listed as `device`.",
                kind="adb",
            )
        return Done(int(found.group(1)), done.output[: found.start()], done.errors)

    def send(self, file: Path, place: str) -> None:
        """See `Remote`."""
        done = self._call("push", str(file), place, timeout=COPY)
        _require_done(done, f"The archive could not be copied to {self.name}.")

    def fetch(self, place: str) -> bytes:
        """See `Remote`."""
        with tempfile.TemporaryDirectory(prefix="mcwbuild-adb-") as folder:
            file = Path(folder, "record")
            done = self._call("pull", place, str(file), timeout=COPY)
            _require_done(done, f"The record could not be copied from {self.name}.")
            with file.open("rb") as stream:
                return stream.read(RECORD_BYTES + 1)

    def close(self) -> None:
        """Nothing is held."""

    def _call(self, *words: str, timeout: float, tell: Tell | None = None) -> Done:
        done = _started("adb", ["adb", "-s", self.name, *words], timeout=timeout, tell=tell)
        if re.search(r"device .* not found|no devices|unauthorized|offline", done.errors):
            raise _unreached(self.name, done)
        return done


def measure(board: Remote, archive: Path, python: str, tell: Tell) -> bytes:
    """Have the board measure the archive; gives its record. Whatever happens, the board's folder is removed.

    Raises EnvironmentLacking (not reached, no Python, no runtime), StageFailed, InputError, Refused.
    """
    try:
        done = board.shell("umask 077 && mktemp -d /tmp/mcwbuild-XXXXXXXXXX", SHORT)
        place = done.output.decode("ascii", "replace").strip()
        if done.code != 0 or not _PLACE.fullmatch(place):
            raise EnvironmentLacking(
                f"No folder could be made on {board.name}.", f"{done.said or ascii(place)}.", "Free /tmp there."
            )
        try:
            board.send(archive, f"{place}/{_ARCHIVE}")
            tell(f"{board.name}: {archive.name} is there, measuring begins")
            command = f"{shlex.quote(python)} {FOLDER}/{PROGRAM} --out {_RECORD}"
            unpacked = f"cd {place} && tar -xzf {_ARCHIVE} && echo $$ > {_RUNNING}"
            done = board.shell(f"({unpacked} && {command}; code=$?; rm -f {_RUNNING}; exit $code)", RUN, tell)
            if done.code not in (0, 4) or board.shell(f"test -s {place}/{_RECORD}", SHORT).code != 0:
                raise _failed(board.name, python, done)
            record = board.fetch(f"{place}/{_RECORD}")
        finally:
            with suppress(EnvironmentLacking):  # a connection that is gone; what failed first is told
                # What was interrupted here still runs there: the shell leads its process group.
                board.shell(f"kill -- -$(cat {place}/{_RUNNING}) 2>/dev/null; rm -rf {place}", SHORT)
    finally:
        board.close()
    if len(record) > RECORD_BYTES:
        raise Refused(
            f"What {board.name} wrote is no record.", f"It has more than {RECORD_BYTES} bytes.", kind="record"
        )
    return record


def _started(program: str, command: list[str], *, timeout: float, tell: Tell | None, given: Path | None = None) -> Done:
    try:
        return process.call(command, timeout=timeout, tell=tell, given=given)
    except FileNotFoundError as error:
        package = {"ssh": "openssh-client", "adb": "adb"}[program]
        raise EnvironmentLacking(
            f"The program {program} is not on this machine.", remedy=f"Install {package}.", kind=program
        ) from error
    except TimeoutError as error:
        raise EnvironmentLacking(
            f"The board was given up: {program} was not done after {timeout:.0f} seconds.",
            remedy="Check that the board is on and answers.",
            kind="timeout",
        ) from error


def _require_done(done: Done, what: str) -> None:
    if done.code != 0:
        raise EnvironmentLacking(what, f"{done.said or f'exit code {done.code}'}.", "Free disk space in /tmp there.")


def _unreached(name: str, done: Done) -> EnvironmentLacking:
    for pattern, cause, remedy in _SSH_CAUSES:
        if re.search(pattern, done.errors):
            return EnvironmentLacking(
                f"The board {name} was not reached: {cause}.", f"{done.said}.", remedy, kind="board"
            )
    return EnvironmentLacking(
        f"The board {name} was not reached.", f"{done.said or 'Nothing was said'}.", "Try by hand.", kind="board"
    )


def _failed(name: str, python: str, done: Done) -> McwbuildError:
    """The board's program ended without a record: what its exit code and last line mean."""
    said = done.said.removeprefix("error: ")
    if done.code in (126, 127):
        return EnvironmentLacking(
            f"{name} has no Python called {python!a}.",
            f"{done.said}.",
            "Install Python 3 there, or give --python with the path of the one that has rknn-toolkit-lite2.",
            kind="python",
        )
    kinds: dict[int, type[McwbuildError]] = {2: InputError, 5: EnvironmentLacking, 6: Refused}
    kind = kinds.get(done.code, StageFailed)
    missing = "No module named" in said
    remedy = "Install it there, or give --python with the path of the Python that has it." if missing else ""
    return kind(f"{name} measured nothing.", said if said.endswith(".") else f"{said}.", remedy, kind="board")
