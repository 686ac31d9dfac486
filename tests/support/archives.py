"""Archives as PyTorch writes them, changed record by record."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

MODELS = Path(__file__).parents[1] / "models"
Change = Callable[[bytes], bytes]


def changed(
    original: Path, target: Path, changes: Mapping[str, bytes | Change | None], more: Mapping[str, bytes] | None = None
) -> Path:
    """`target`: the archive with records replaced, computed from what they were, or left out (None), and `more`.

    Names are those below the archive's own folder; as `torch.jit.save` does, text below `code/` is compressed.
    """
    with zipfile.ZipFile(original) as source:
        records = {info.filename: source.read(info) for info in source.infolist()}
    prefix = next(iter(records)).partition("/")[0]
    missing = {name for name in changes if f"{prefix}/{name}" not in records}
    assert not missing, missing
    records |= {f"{prefix}/{name}": data for name, data in (more or {}).items()}
    with zipfile.ZipFile(target, "w") as made:
        for name, data in records.items():
            change = changes.get(name.partition("/")[2], data)
            if change is not None:
                packed = zipfile.ZIP_DEFLATED if "/code/" in name else zipfile.ZIP_STORED
                made.writestr(zipfile.ZipInfo(name), change(data) if callable(change) else change, packed)
    return target


def swapped(old: str, new: str) -> Change:
    """A change of one text in a record, which must be there."""

    def change(data: bytes) -> bytes:
        assert old.encode() in data
        return data.replace(old.encode(), new.encode())

    return change
