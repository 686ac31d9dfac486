"""Documents on disk: read with marks, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mcwbuild.contract import disk, look
from mcwbuild.contract import yaml as strict_yaml
from mcwbuild.contract.bounds import DOCUMENT_BYTES
from mcwbuild.contract.errors import InputError, Problem
from mcwbuild.contract.jsontext import examine_json, load_json
from mcwbuild.contract.marks import Document, mark_of, unreadable

SCHEMAS = ".schemas"  # the folder beside a package where editors find the schemas
__all__ = ["SCHEMAS", "Document", "examine", "modeline", "read", "read_json", "read_yaml", "write_json", "write_yaml"]


def read_yaml(path: Path) -> Document:
    """The YAML document at `path`. Raises InputError: not there, not text, not YAML, hostile."""
    return strict_yaml.load(read_text(path), str(path))


def read_json(path: Path) -> Document:
    """The JSON document at `path`. Raises InputError: not there, not text, not JSON, hostile."""
    return load_json(read_text(path), str(path))


def read(path: Path) -> Document:
    """The document at `path`, by its suffix: `.json`, else YAML. Raises InputError."""
    return read_json(path) if path.suffix.lower() == ".json" else read_yaml(path)


def examine(path: Path) -> tuple[Document | None, list[Problem]]:
    """The document at `path` as far as it can be read, and every problem of its text."""
    try:
        text = read_text(path)
    except InputError as error:
        return None, list(error.problems)
    return (examine_json if path.suffix.lower() == ".json" else strict_yaml.examine)(text, str(path))


def write_yaml(path: Path, data: Any) -> None:
    """Write `data` as YAML that `read_yaml` reads back exactly.

    A document that names its schema begins with a comment that tells editors where that lies: beside the package.

    Raises InputError where a text in `data` (a class name, say) holds characters that are not accepted.
    """
    text = strict_yaml.dump(data)
    if isinstance(data, Mapping) and isinstance(data.get("schema"), str):
        text = f"{modeline(data['schema'].partition('/')[0], f'../{SCHEMAS}')}\n{text}"
    strict_yaml.load(text, str(path))
    disk.write_atomic(path, text.encode("ascii"))


def modeline(name: str, folder: str) -> str:
    """The comment by which yaml-language-server, and so most editors, finds the schema of this name in `folder`."""
    return f"# yaml-language-server: $schema={folder}/{name}.schema.json"


def write_json(path: Path, data: Any) -> None:
    """Write `data` as indented ASCII JSON, keys in their order. Raises ValueError for NaN and infinity."""
    text = json.dumps(data, indent=2, ensure_ascii=True, allow_nan=False) + "\n"
    disk.write_atomic(path, text.encode("ascii"))


def read_text(path: Path, most: int | None = None) -> str:
    """The file's text, UTF-8, a little over `most` bytes (of a document's) at most.

    Raises InputError with one problem: missing, a folder, too large, not UTF-8.
    """
    file, most = str(path), most or DOCUMENT_BYTES.value
    try:
        with look.opened(path) as stream:
            data = stream.read(most + 4)  # enough to know that it is too large
        return data.decode("utf-8")
    except FileNotFoundError:
        raise unreadable(file, [Problem("the file is missing", file)]) from None
    except OSError as error:
        reason = "it is a folder" if look.is_folder(path) else error.strerror or type(error).__name__
        raise unreadable(file, [Problem(f"the file cannot be opened: {reason}", file)]) from None
    except UnicodeDecodeError as error:
        if len(data) > most:
            raise unreadable(file, [Problem(f"the file is larger than {most // 1000} kB", file)]) from None
        line, column = mark_of(data[: error.start].decode("utf-8"), error.start)
        raise unreadable(
            file, [Problem("the file is not UTF-8 text", file, line, column, None, "save it as UTF-8")]
        ) from None


def make_folder(folder: Path) -> None:
    """The output folder, made where it is missing. Raises InputError where it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"The output folder {folder} cannot be made.", f"{error.strerror}.", "Give --out another folder."
        ) from error
