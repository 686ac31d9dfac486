"""`mcwbuild schema`: the schemas themselves."""

from __future__ import annotations

import click

from mcwbuild.contract import schemas
from mcwbuild.contract.errors import InputError


@click.command()
@click.argument("name", required=False)
@click.option("--table", is_flag=True, help="Print the table of all fields and their categories, in Markdown.")
def schema(name: str | None, table: bool) -> int:
    """Print the JSON Schema NAME, or the list of all names."""
    from mcwbuild.report import console

    if table:
        console.show_text(schemas.field_table())
    elif name is None:
        console.show_text("\n".join(schemas.names()))
    elif name in schemas.names():
        console.show_json(schemas.schema(name))
    else:
        raise InputError(f"There is no schema {name!r}.", remedy=f"There are: {', '.join(schemas.names())}.")
    return 0
