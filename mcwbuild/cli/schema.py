"""`mcwbuild schema`: the schemas themselves."""

from __future__ import annotations

from pathlib import Path

import click

from mcwbuild import editors
from mcwbuild.contract import schemas
from mcwbuild.contract.errors import InputError


@click.command()
@click.argument("name", required=False)
@click.option("--table", is_flag=True, help="Print the table of all fields and their categories, in Markdown.")
@click.option("--write", type=click.Path(path_type=Path), metavar="DIR", help="Write all schemas into DIR/.schemas.")
def schema(name: str | None, table: bool, write: Path | None) -> int:
    """Print the JSON Schema NAME; without one, all names, each with the comment by which editors find it.

    The comment stands in the first line of a YAML file of yours; --write puts the schemas where it looks for them.
    """
    from mcwbuild.report import console

    if write is not None:
        console.show_line(str(editors.place(write)))
    elif table:
        console.show_text(schemas.field_table().rstrip("\n"))
    elif name is None:
        width = max(map(len, schemas.names()))
        console.show_text("\n".join(f"{name:<{width}}  {editors.modeline(name)}" for name in schemas.names()))
    elif name in schemas.names():
        console.show_json(schemas.schema(name))
    else:
        raise InputError(f"There is no schema {name!r}.", remedy=f"There are: {', '.join(schemas.names())}.")
    return 0
