"""`mcwbuild explain`: what went wrong in a log of the toolkit."""

from __future__ import annotations

from pathlib import Path

import click

from mcwbuild.contract import failures, look
from mcwbuild.contract.errors import InputError
from mcwbuild.contract.failures import Found

MAX_BYTES = 1 << 28  # of a log: a verbose build of a large network writes some megabytes


@click.command()
@click.argument("log", required=False, type=click.Path(path_type=Path))
@click.option("--table", is_flag=True, help="Print the whole catalogue, in Markdown.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON document.")
def explain(log: Path | None, table: bool, as_json: bool) -> int:
    """Name the known failures in LOG, a log of RKNN-Toolkit2 or of the board's runtime, whoever made it."""
    from mcwbuild.report import console

    if table:
        console.show_text(failures.table())
        return 0
    if log is None:
        raise InputError("No log is given.", remedy="Give the log file, for example build/NAME/logs/rknn.log.")
    found = failures.explain(_read(log))
    if as_json:
        console.show_json({"log": str(log), "found": [_as_dict(one) for one in found]})
        return 0
    for one in found:
        for line in _in_words(log, one):
            console.show_line(line)
    if not found:
        console.show_line(f"{log}: none of the known failures is in it. docs/failures.md lists them.")
    return 0


def _read(log: Path) -> str:
    try:
        with log.open("rb") as stream:
            return stream.read(MAX_BYTES).decode("utf-8", "replace")
    except OSError as error:
        reason = "It is a folder" if look.is_folder(log) else error.strerror or type(error).__name__
        raise InputError(f"{log} cannot be read.", f"{reason}.", "Give the path of a log.", kind="missing") from None


def _in_words(log: Path, one: Found) -> list[str]:
    entry = one.entry
    lines = [f"{log}:{one.line}: {entry.name}{' (a warning)' if entry.weight == 'warns' else ''}"]
    lines += [f"  says    {' '.join(one.text.split())[:160]}"]
    lines += [f"  layer   {one.layer}"] if one.layer else []
    lines += [f"  means   {entry.cause}", f"  remedy  {entry.remedy}"]
    return lines + ([f"  see     {', '.join(entry.cited)}"] if entry.cited else [])


def _as_dict(one: Found) -> dict[str, object]:
    entry = one.entry
    return {
        "failure": entry.name,
        "weight": entry.weight,
        "line": one.line,
        "text": one.text,
        "layer": one.layer or None,
        "cause": entry.cause,
        "remedy": entry.remedy,
        "cited": list(entry.cited),
    }
