"""One hash for many images and their labels."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from mcwbuild.contract import disk, look
from mcwbuild.contract.dataset import label_of


def fingerprint(paths: Iterable[Path], root: Path, known: Mapping[Path, str] | None = None) -> str:
    """SHA-256 over the images' names below `root` and their contents, with their labels where there are any.

    The order of the paths does not matter, nor where the root lies. `known` are hashes of images that were
    read already. Raises OSError.
    """
    known = {} if known is None else known
    digest = hashlib.sha256()
    for name, path in sorted((_below(path, root), path) for path in paths):
        label = label_of(path)
        for kind, file in (("image", path), ("label", label if look.is_file(label) else None)):
            content = "absent" if file is None else known.get(file) or disk.sha256_of(file)
            digest.update(f"{kind}\0{name}\0{content}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _below(path: Path, root: Path) -> str:
    return Path(os.path.relpath(path, root)).as_posix()
