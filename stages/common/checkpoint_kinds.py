"""What a file that is no Ultralytics checkpoint seems to be, in one sentence, and what to do."""

from __future__ import annotations

from mcwbuild.contract.errors import InputError, McwbuildError, Refused
from stages.common.checkpoint_calls import CheckpointCalls
from stages.common.checkpoint_machine import Broken
from stages.common.checkpoint_pickle import follow
from stages.common.checkpoint_zip import Archive, damaged

_TRAINED = "Give the file that the training wrote, for example runs/detect/train/weights/best.pt."
_CODE = "Give the code of its network: --model-code src --model module:callable, in a container."
_SIGNATURES: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "It is a Git LFS pointer, not the file itself.", "Fetch it with git lfs pull."),
    (b"\x1f\x8b", "It is a gzip archive.", "Unpack it first."),
    (b"7z\xbc\xaf\x27\x1c", "It is a 7-Zip archive.", "Unpack it first."),
    (b"BZh", "It is a bzip2 archive.", "Unpack it first."),
    (b"\xfd7zXZ\x00", "It is an xz archive.", "Unpack it first."),
    (b"Rar!", "It is a RAR archive.", "Unpack it first."),
    (b"PK\x05\x06", "It is an empty zip archive.", _TRAINED),
    (b"RKNN", "It is an RKNN model, the end of the way.", _TRAINED),
    (b"\x89HDF", "It is an HDF5 file, as Keras writes them.", _TRAINED),
    (b"\x89PNG", "It is a PNG image.", _TRAINED),
    (b"\xff\xd8\xff", "It is a JPEG image.", _TRAINED),
    (b"%PDF", "It is a PDF document.", _TRAINED),
    (b"\x7fELF", "It is a program.", _TRAINED),
)
_LEGACY_MAGIC = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # torch/serialization.py, MAGIC_NUMBER, as a pickle
_LONGEST = 64 * 2**20  # bytes of one pickle
_PICKLES = 5  # a legacy file holds five: magic, protocol, system, object, keys


def _other(file: str, found: str, remedy: str) -> InputError:
    return InputError(f"{file} is not an Ultralytics checkpoint.", found, remedy, kind="foreign")


def recognised(archive: Archive) -> None:
    """Raise InputError where the archive is TorchScript, an exported program or no checkpoint."""
    records, file = archive.records, archive.file
    if "constants.pkl" in records or any(name.startswith("code/") for name in records):
        raise _other(file, "It is a TorchScript archive: a program, not a checkpoint.", _TRAINED)
    if any(name.startswith(("models/", "serialized_")) for name in records) and "data.pkl" not in records:
        raise _other(file, "It is an exported program (.pt2), not a checkpoint.", _TRAINED)
    if "data.pkl" not in records:
        raise _other(file, "It is a zip archive without the record data.pkl.", _TRAINED)
    if "byteorder" in records and bytes(records["byteorder"]) != b"little":
        raise _other(file, "It was written on a big-endian machine.", "Save it again on a little-endian one.")


def without_archive(raw: bytes, file: str) -> McwbuildError:
    """The error for `raw`, which is no zip archive. A bare pickle that would call something is Refused."""
    if not raw:
        return damaged(file, "It is empty.")
    for signature, found, remedy in _SIGNATURES:
        if raw.startswith(signature):
            return _other(file, found, remedy)
    if _is_safetensors(raw):
        found = "It is a safetensors file: weights without the architecture that they belong to."
        return _other(file, found, _CODE)
    if raw[257:262] == b"ustar":
        return _other(file, "It is a tar archive, as PyTorch before 0.4 wrote.", "Save it again with a newer PyTorch.")
    refused = _hostile(raw, file)
    if refused:
        return refused
    if _LEGACY_MAGIC in raw[:32]:
        found = "It has the format of PyTorch before 1.6."
        return _other(file, found, "Load it where it was trained and save it again with torch.save.")
    if raw[:1] == b"\x80" and raw[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return _other(file, "It is a bare Python pickle, or what is left of one.", _TRAINED)
    if (raw.startswith(b"\x08") and b"onnx" in raw[:200].lower()) or b"pytorch" in raw[:40]:
        return _other(file, "It seems to be an ONNX model.", "Give it with --onnx, or give the checkpoint, best.pt.")
    return _other(file, f"It is {_contents(raw)}.", _TRAINED)


def _is_safetensors(raw: bytes) -> bool:
    length = int.from_bytes(raw[:8], "little")
    return 2 <= length <= len(raw) - 8 and raw[8:9] == b"{" and raw[8 + length - 1 : 8 + length].rstrip() in (b"}", b"")


def _contents(raw: bytes) -> str:
    try:
        text = raw[:4096].decode("utf-8")
    except UnicodeDecodeError as error:
        text = raw[: error.start].decode("utf-8") if error.start > 4000 else "\x00"
    if any(letter < " " and letter not in "\t\n\r\f" for letter in text):
        return "neither an archive nor text"
    return "a web page" if text.lstrip()[:9].lower() in ("<!doctype", "<html") else "a text file"


def _hostile(raw: bytes, file: str) -> Refused | None:
    """The refusal of a bare pickle that would call something, None for all else.

    `torch.load` still reads the old format, a row of pickles, so each of them is followed.
    """
    if raw[:1] not in (b"\x80", b"c", b"(", b"i", b"]", b"}"):
        return None
    position = 0
    for _ in range(_PICKLES):
        try:
            position += follow(raw[position : position + _LONGEST], CheckpointCalls(file, None))[1]
        except Refused as error:
            return error
        except (Broken, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, MemoryError):
            return None
    return None
