"""The strict zip gate: a `torch.save` archive taken apart without trusting a word of it.

`torch.save` writes one flat archive: every record stored uncompressed, back to back, under one
folder. `torch.jit.save` writes the same, but compresses the program's text, below `code/`. Whatever leaves that form
is either damaged (InputError) or made to be read differently by two programs (Refused). Layout: PKWARE APPNOTE 6.3.10,
sections 4.3 and 4.4.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass

from mcwbuild.contract.errors import InputError, Refused

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR = struct.Struct("<4sIQI")
_DESCRIPTOR = b"PK\x07\x08"

_ENCRYPTED = 0x2041  # bits 0, 6 and 13: any kind of encryption
_BENIGN = 0x0808  # bits 3 (sizes follow the data) and 11 (UTF-8 names): torch's own writer sets both
_MAX_RECORDS = 65_534  # one less than the mark of a zip64 count; the largest checkpoints hold about 3,000
_DEFLATED = 8
_CODE = "code/"  # where a TorchScript archive has its program
_MAX_CODE = 64 * 2**20  # bytes of all its records together, uncompressed
_STORAGE = re.compile(r"data/(?:0|[1-9][0-9]{0,8})\Z")


@dataclass(frozen=True)
class Archive:
    """The records of one checkpoint: name below the common folder -> its bytes, uncopied."""

    file: str
    prefix: str
    records: dict[str, memoryview]

    def storage(self, key: str) -> memoryview | None:
        """The bytes of the tensor storage `key`, or None where the archive has none of that name."""
        return self.records.get(f"data/{key}") if _STORAGE.match(f"data/{key}") else None


@dataclass(frozen=True)
class _Entry:
    name: str
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int

    @property
    def is_code(self) -> bool:
        """Whether it is compressed where that is allowed: a part of a TorchScript program."""
        return self.method == _DEFLATED and self.name.partition("/")[2].startswith(_CODE)


def damaged(file: str, found: str) -> InputError:
    """The error of a file that cannot be read to its end."""
    return InputError(
        f"{file} is not a whole checkpoint.", found, "Copy or download it again, or train again.", kind="damaged"
    )


def tampered(file: str, found: str) -> Refused:
    """The error of an archive or pickle that `torch.save` cannot have written."""
    return Refused(
        f"{file} was not written by torch.save as it stands, and is refused.",
        found,
        "Nothing of it was run. Take the checkpoint from where it was trained.",
        kind="tampered",
    )


def _repacked(file: str, found: str) -> InputError:
    return InputError(
        f"{file} is an archive that torch.save does not write.",
        found,
        "Load it where it was trained and save it again with torch.save.",
        kind="repacked",
    )


def open_archive(raw: bytes, file: str) -> Archive:
    """Every record of the archive `raw`, checked against both of its headers and its CRC.

    Raises InputError for what is damaged, compressed or encrypted, Refused for what is ambiguous:
    two records of one name, overlaps, gaps, headers that disagree, names that leave the folder.
    """
    entries, start = _central_directory(raw, file)
    view = memoryview(raw)
    if sum(entry.size for entry in entries if entry.is_code) > _MAX_CODE:
        raise tampered(file, "Its program has more text than any network's.")
    position, records, prefixes = 0, {}, set()
    for entry in sorted(entries, key=lambda entry: entry.offset):
        _check(entry, file)
        data, position = _record(raw, view, entry, position, file)
        prefix, _, name = entry.name.partition("/")
        prefixes.add(prefix)
        if name in records:
            raise tampered(file, f"It holds two records named {entry.name!a}.")
        records[name] = _inflated(data, entry, file) if entry.is_code else data
    if position != start:
        raise tampered(file, f"{start - position} bytes between its records and its directory belong to neither.")
    if len(prefixes) != 1 or "" in prefixes:
        raise tampered(file, f"Its records lie in {len(prefixes)} folders instead of one.")
    for entry in entries:
        name = entry.name.partition("/")[2]
        if zlib.crc32(records[name]) != entry.crc:
            raise damaged(file, f"The record {name!a} does not have the checksum that was written with it.")
    return Archive(file, prefixes.pop(), records)


def _central_directory(raw: bytes, file: str) -> tuple[list[_Entry], int]:
    """The entries of the directory and the offset where it begins."""
    place = len(raw) - _END.size
    if place < 0 or raw[place : place + 4] != b"PK\x05\x06":
        raise damaged(
            file, "It begins like an archive but ends early, or something was appended: no directory stands at its end."
        )
    _, disk, first_disk, here, count, size, start, comment = _END.unpack_from(raw, place)
    if disk or first_disk or comment or here != count or count == 0 or count > _MAX_RECORDS:
        raise tampered(file, "The last 22 bytes of the archive describe no single archive without a comment.")
    stop = _before_zip64(raw, place, (count, size, start), file)
    if start + size != stop:
        raise tampered(file, "Its directory does not end where it says.")
    entries, position = [], start
    for _ in range(count):
        entry, position = _central_entry(raw, position, stop, file)
        entries.append(entry)
    if position != stop:
        raise tampered(file, "Its directory holds more than the entries that it counts.")
    return entries, start


def _before_zip64(raw: bytes, place: int, told: tuple[int, int, int], file: str) -> int:
    """Where the directory ends: before the zip64 record, which torch always writes, if there is one."""
    locator = place - _LOCATOR.size
    if locator < 0 or raw[locator : locator + 4] != b"PK\x06\x07":
        return place
    _, disk, where, disks = _LOCATOR.unpack_from(raw, locator)
    if where != locator - _END64.size or disk or disks not in (0, 1) or raw[where : where + 4] != b"PK\x06\x06":
        raise tampered(file, "Its zip64 directory record is not where it is said to be.")
    _, length, _, _, disk, first_disk, here, count, size, start = _END64.unpack_from(raw, where)
    if (count, size, start) != told or here != count or disk or first_disk or length != _END64.size - 12:
        raise tampered(file, "Its two directory records disagree.")
    return int(where)


def _central_entry(raw: bytes, position: int, stop: int, file: str) -> tuple[_Entry, int]:
    if position + _CENTRAL.size > stop or raw[position : position + 4] != b"PK\x01\x02":
        raise damaged(file, "The directory at its end is cut or overwritten.")
    fields = _CENTRAL.unpack_from(raw, position)
    _, _, _, flags, method, _, _, crc, packed, size, name_length, extra, comment, disk, _, _, offset = fields
    end = position + _CENTRAL.size + name_length + extra + comment
    if end > stop or disk or comment:
        raise tampered(file, "An entry of its directory reaches beyond the directory.")
    name = raw[position + _CENTRAL.size : position + _CENTRAL.size + name_length]
    try:
        return _Entry(name.decode("utf-8"), flags, method, crc, packed, size, offset), end
    except UnicodeDecodeError:
        raise tampered(file, f"A record has the name {name!a}, which is not UTF-8.") from None


def _check(entry: _Entry, file: str) -> None:
    """What one entry may claim. Looked at before any of its data is."""
    if entry.flags & _ENCRYPTED:
        raise _repacked(file, f"The record {entry.name!a} is encrypted.")
    if entry.method and not entry.is_code:
        raise _repacked(
            file, f"The record {entry.name!a} is compressed (it says {entry.size} bytes from {entry.packed})."
        )
    stored = entry.packed == entry.size or entry.is_code
    if entry.flags & ~_BENIGN or not stored or 0xFFFFFFFF in (entry.packed, entry.size, entry.offset):
        raise tampered(file, f"The record {entry.name!a} claims what a stored record cannot have.")
    parts = entry.name.split("/")
    if len(parts) < 2 or any(part in ("", ".", "..") for part in parts) or re.search(r"[\\:\x00-\x1f]", entry.name):
        raise tampered(file, f"The record name {entry.name!a} does not stay inside the archive's own folder.")


def _record(raw: bytes, view: memoryview, entry: _Entry, position: int, file: str) -> tuple[memoryview, int]:
    """The data of `entry`, which must begin at `position`, and the offset behind it."""
    if entry.offset != position:
        raise tampered(file, f"The record {entry.name!a} overlaps another one or leaves a gap before it.")
    if position + _LOCAL.size > len(raw):
        raise damaged(file, f"The record {entry.name!a} lies beyond the end of the file.")
    mark, _, flags, method, _, _, crc, packed, size, name_length, extra = _LOCAL.unpack_from(raw, position)
    start = position + _LOCAL.size + name_length + extra
    name = raw[position + _LOCAL.size : position + _LOCAL.size + name_length]
    told = (crc, packed, size)
    late = bool(flags & 8) and told == (0, 0, 0)
    if (
        mark != b"PK\x03\x04"
        or (flags, method, name) != (entry.flags, entry.method, entry.name.encode("utf-8"))
        or not (late or told == (entry.crc, entry.packed, entry.size))
    ):
        raise tampered(file, f"The two headers of the record {entry.name!a} disagree.")
    stop = start + entry.packed
    if stop > len(raw):
        raise damaged(file, f"The record {entry.name!a} reaches beyond the end of the file.")
    return view[start:stop], _behind_descriptor(raw, stop, entry, file) if flags & 8 else stop


def _behind_descriptor(raw: bytes, position: int, entry: _Entry, file: str) -> int:
    """The offset behind the sizes that follow the data where flag 3 is set."""
    for form in (struct.Struct("<4sIII"), struct.Struct("<4sIQQ")):
        found = raw[position : position + form.size]
        if found == form.pack(_DESCRIPTOR, entry.crc, entry.packed, entry.size):
            return position + form.size
    raise tampered(file, f"The sizes behind the record {entry.name!a} disagree with the directory.")


def _inflated(data: memoryview, entry: _Entry, file: str) -> memoryview:
    """The text of a compressed record, never more of it than its entry says."""
    try:
        text = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, entry.size + 1)
    except zlib.error as error:
        raise damaged(file, f"The record {entry.name!a} cannot be decompressed ({error}).") from None
    if len(text) != entry.size:
        raise tampered(file, f"The record {entry.name!a} does not have the length that it claims.")
    return memoryview(text)
