"""The archive gate, files that are something else, and mutants: InputError or Refused, never anything else."""

from __future__ import annotations

import io
import os
import pickle
import random
import re
import struct
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcwbuild.contract.errors import InputError, Refused
from stages.common.checkpoint import read
from stages.common.checkpoint_zip import open_archive
from tests.support.checkpoint_files import archive, checkpoint, pickled, placed, storage, tensor
from tests.support.mutants import damaged_bytes
from tests.support.watched import limited, watched

WHOLE = checkpoint()
SEED, MUTANTS = 2026, 2000
_OPENED = re.compile(r"open \([0-9]+,\)")  # a file object made of a descriptor
END, CENTRAL = b"PK\x05\x06", b"PK\x01\x02"


def patched(data: bytes, place: int, form: str, *values: int) -> bytes:
    """`data` with numbers written over it."""
    changed = bytearray(data)
    struct.pack_into("<" + form, changed, place, *values)
    return bytes(changed)


def central(index: int = 0) -> int:
    """The offset of an entry of the directory."""
    place = WHOLE.index(CENTRAL)
    for _ in range(index):
        place = WHOLE.index(CENTRAL, place + 1)
    return place


def zipped(*entries: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as made:
        for name, data in entries:
            made.writestr(name, data)
    return stream.getvalue()


def duplicated() -> bytes:
    with pytest.warns(UserWarning, match="Duplicate"):
        return zipped(("best/data.pkl", pickled({})), ("best/data.pkl", pickled({"a": 1})))


def encrypted() -> bytes:
    place = WHOLE.index(CENTRAL)
    return patched(patched(WHOLE, 6, "H", 1), place + 8, "H", 1)


TAMPERED: dict[str, Callable[[], bytes]] = {
    "two records of one name": duplicated,
    "two folders": lambda: zipped(("best/data.pkl", pickled({})), ("worst/data/0", b"")),
    "no folder": lambda: zipped(("data.pkl", pickled({}))),
    "a name that climbs": lambda: zipped(("best/data.pkl", pickled({})), ("best/../../x", b"")),
    "an absolute name": lambda: zipped(("/best/data.pkl", pickled({}))),
    "a backslash": lambda: zipped(("best/data.pkl", pickled({})), ("best/a\\..\\b", b"")),
    "local and central name differ": lambda: WHOLE.replace(b"best/version", b"best/Version", 1),
    "local and central size differ": lambda: patched(WHOLE, 22, "I", 7),
    "overlap": lambda: patched(WHOLE, central(1) + 42, "I", 0),
    "the directory counts less than it holds": lambda: patched(WHOLE, WHOLE.index(END) + 8, "HH", 2, 2),
    "a comment": lambda: patched(WHOLE, len(WHOLE) - 2, "H", 4) + b"hide",
    "a size of the zip64 kind": lambda: patched(WHOLE, central() + 20, "II", 0xFFFFFFFF, 0xFFFFFFFF),
}


@pytest.mark.parametrize("kind", TAMPERED)
def test_an_ambiguous_archive_is_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises((Refused, InputError)) as caught:
        read(placed(tmp_path, TAMPERED[kind]()))
    assert isinstance(caught.value, Refused) or kind == "a comment"


def cut_at(part: float) -> Callable[[], bytes]:
    return lambda: WHOLE[: int(len(WHOLE) * part)]


def flipped() -> bytes:
    place = WHOLE.index(b"best/data/0") + len(b"best/data/0") + 3
    return WHOLE[:place] + bytes([WHOLE[place] ^ 1]) + WHOLE[place + 1 :]


def safetensors() -> bytes:
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    return struct.pack("<Q", len(header)) + header + b"\0" * 4


def legacy() -> bytes:
    magic = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
    return magic + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2) + pickle.dumps({"epoch": 1}, 2)


OTHER_KINDS: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "It is empty."),
    "text": (lambda: b"these are not weights\n", "a text file"),
    "text that looks like a pickle": (lambda: b"comments\nand more\n", "a text file"),
    "a web page": (lambda: b"<!DOCTYPE html><html>", "a web page"),
    "a Git LFS pointer": (lambda: b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
    "noise": (lambda: bytes(range(200, 256)) * 4, "neither an archive nor text"),
    "half": (cut_at(0.5), "ends early"),
    "all but the last bytes": (cut_at(0.999), "ends early"),
    "a flipped bit": (flipped, "checksum"),
    "compressed": (lambda: zipped(("best/data.pkl", pickled({})), method=zipfile.ZIP_DEFLATED), "compressed"),
    "encrypted": (encrypted, "encrypted"),
    "TorchScript": (lambda: zipped(("m/data.pkl", b""), ("m/constants.pkl", b""), ("m/code/a.py", b"")), "TorchScript"),
    "an exported program": (lambda: zipped(("m/models/a.json", b""), ("m/version", b"")), "exported program"),
    "another archive": (lambda: zipped(("photos/a.jpg", b"")), "without the record data.pkl"),
    "big-endian": (lambda: zipped(("m/data.pkl", pickled({})), ("m/byteorder", b"big")), "big-endian"),
    "safetensors": (safetensors, "safetensors"),
    "the format before 1.6": (legacy, "before 1.6"),
    "a bare pickle": (lambda: pickle.dumps({"a": 1}, 4), "bare Python pickle"),
    "an RKNN": (lambda: b"RKNN\0\0\0\0", "RKNN"),
    "gzip": (lambda: b"\x1f\x8b\x08", "gzip"),
    "no dictionary": (lambda: archive(pickled([1])), "no dictionary"),
    "no network": (lambda: archive(pickled({"epoch": 1})), "no network"),
    "a pickle that is cut": (lambda: archive(pickled({"epoch": 1})[:-3]), "ends early"),
    "a pickle with more behind it": (lambda: archive(pickled({"model": None}) + b"N."), "more follows"),
    "an unknown opcode": (lambda: archive(b"\x80\x02\xff."), "no instruction"),
}


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_a_file_of_another_kind_is_named_in_one_line(tmp_path: Path, kind: str) -> None:
    make, told = OTHER_KINDS[kind]
    with pytest.raises(InputError, match=told) as caught:
        read(placed(tmp_path, make()))
    assert caught.value.remedy
    assert str(caught.value).startswith("best.pt ")
    assert "\n" not in str(caught.value)


def test_a_state_dict_says_what_it_lacks(tmp_path: Path) -> None:
    weights = {"model.0.weight": tensor(storage("0", 4), (2, 2), (2, 1))}
    for whole in (weights, {"model": weights}, {"state_dict": weights, "epoch": 1}):
        with pytest.raises(InputError, match="plain state dict"):
            read(placed(tmp_path, archive(pickled(whole), {"data/0": b"\0" * 16})))


def test_paths_that_are_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    (tmp_path / "loop.pt").symlink_to("loop.pt")
    for path, told in (
        (tmp_path / "none.pt", "No such file"),
        (tmp_path, "folder"),
        (tmp_path / "pipe.pt", "no regular file"),
        (tmp_path / "loop.pt", "symbolic links"),
        (tmp_path / "nul\0.pt", "cannot be used"),
        (Path("/dev/zero"), "no regular file"),
    ):
        with pytest.raises(InputError, match=told):
            read(path)


def test_a_deflate_bomb_costs_nothing(tmp_path: Path) -> None:
    bomb = placed(tmp_path, zipped(("m/data.pkl", pickled({})), ("m/data/0", bytes(50_000_000)), method=8))
    begin = time.process_time()
    with pytest.raises(InputError, match="compressed"):
        read(bomb)
    assert time.process_time() - begin < 0.5


CLAIMS = {
    "BINBYTES8": b"\x80\x04\x8e" + struct.pack("<Q", 2**62),
    "BINUNICODE8": b"\x80\x04\x8d" + struct.pack("<Q", 2**62),
    "BINUNICODE": b"\x80\x02X" + struct.pack("<I", 2**31),
    "BYTEARRAY8": b"\x80\x05\x96" + struct.pack("<Q", 2**62),
    "FRAME": b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"N.",
    "LONG4": b"\x80\x02\x8b" + struct.pack("<i", 2**30),
    "LONG4 below zero": b"\x80\x02\x8b" + struct.pack("<i", -5) + b".",
    "marks without end": b"\x80\x02" + b"(" * 1_500_000,
    "tuples without end": b"\x80\x02)" + b"\x85" * 1_500_000 + b".",
    "a deep key": b"\x80\x02})" + b"\x85" * 500_000 + b"Ns.",
    "a network that is a deep list": b"\x80\x02}X\x05\0\0\0model]" + b"]a" * 100_000 + b"s.",
}


@pytest.mark.parametrize("kind", CLAIMS)
def test_absurd_claims_end_in_one_sentence(tmp_path: Path, kind: str) -> None:
    begin = time.process_time()
    with pytest.raises(InputError):
        read(placed(tmp_path, archive(CLAIMS[kind])))
    assert time.process_time() - begin < 10


def test_what_torch_itself_writes_passes_the_gate() -> None:
    """Sizes behind the data (flag 3), UTF-8 names (flag 11), padding in the local header, a zip64 directory."""
    records = {"best/data.pkl": pickled({}), "best/version": b"3\n"}
    body, directory = b"", b""
    for name, data in records.items():
        crc, coded, padding = zlib.crc32(data), name.encode(), b"FB\x04\x00ZZZZ"
        offset = len(body)
        body += struct.pack("<4s5H3I2H", b"PK\x03\x04", 0, 0x808, 0, 0, 0, 0, 0, 0, len(coded), len(padding))
        body += coded + padding + data + struct.pack("<4sIII", b"PK\x07\x08", crc, len(data), len(data))
        numbers = (0, 0, 0x808, 0, 0, 0, crc, len(data), len(data), len(coded), 0, 0, 0, 0, 0, offset)
        directory += struct.pack("<4s6H3I5H2I", CENTRAL, *numbers) + coded
    count, start = len(records), len(body)
    wide = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 30, 45, 0, 0, count, count, len(directory), start)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, start + len(directory), 1)
    end = struct.pack("<4s4H2IH", END, 0, 0, count, count, len(directory), start, 0)
    opened = open_archive(body + directory + wide + locator + end, "best.pt")
    assert {f"best/{name}": bytes(data) for name, data in opened.records.items()} == records


def outcome(path: Path) -> str:
    """What reading gives; whatever is neither a checkpoint nor one of the two errors goes up."""
    try:
        read(path)
    except (InputError, Refused) as error:
        return type(error).__name__ if error.what and error.found else "without a sentence"
    return "read"


def test_mutants_never_break_out(tmp_path: Path) -> None:
    """1,000 of the whole file and 1,000 of its pickle alone, sealed again so that they pass the checksums."""
    opened = open_archive(WHOLE, "best.pt")
    pickle_bytes = bytes(opened.records["data.pkl"])
    others = {name: bytes(data) for name, data in opened.records.items() if name.startswith("data/")}
    outcome(placed(tmp_path, WHOLE))  # warm: what is loaded at first use is no finding
    begin, seen = time.process_time(), {"read": 0, "InputError": 0, "Refused": 0}
    for number in range(MUTANTS):
        rng = random.Random(f"{SEED}-{number}")
        sealed = archive(damaged_bytes(rng, pickle_bytes), others) if number % 2 else damaged_bytes(rng, WHOLE)
        path = placed(tmp_path, sealed)
        with watched() as events, limited(5):
            seen[outcome(path)] += 1
        assert not [event for event in events if str(path) not in event and not _OPENED.fullmatch(event)], number
    print(f"seed {SEED}: {seen}")
    assert time.process_time() - begin < 20
    assert min(seen.values()) > 20, seen


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=400))
def test_any_bytes_as_a_pickle(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.getbasetemp()
    assert outcome(placed(folder, archive(data))) in ("InputError", "Refused")
    assert outcome(placed(folder, data)) in ("InputError", "Refused")
