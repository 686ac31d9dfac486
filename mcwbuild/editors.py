"""Schemas for editors: YAML files name theirs in a comment; it lies in a folder beside them, or their package."""

from __future__ import annotations

from pathlib import Path

from mcwbuild.contract import assets, disk, documents
from mcwbuild.contract.documents import SCHEMAS

_BESIDE_PACKAGE, _BESIDE_FILE = f"$schema=../{SCHEMAS}/".encode(), f"$schema={SCHEMAS}/".encode()


def place(folder: Path) -> Path:
    """Write the schemas into `folder`/.schemas, those that are not there already; returns that folder."""
    into = folder / SCHEMAS
    into.mkdir(parents=True, exist_ok=True)
    for schema in sorted(assets.schemas_dir().glob("*.schema.json")):
        content, there = schema.read_bytes(), into / schema.name
        if not there.is_file() or there.read_bytes() != content:
            disk.write_atomic(there, content)
    return into


def beside(content: bytes) -> bytes:
    """A package's document, for a place where the schemas lie beside the file itself."""
    return content.replace(_BESIDE_PACKAGE, _BESIDE_FILE, 1)


def modeline(name: str) -> str:
    """The comment that a file of one's own begins with, where `place` has put the schemas beside it."""
    return documents.modeline(name, SCHEMAS)
