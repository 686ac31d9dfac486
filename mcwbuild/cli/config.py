"""`mcwbuild config`: what is set, and where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mcwbuild.options import OPTIONS, resolve


@click.group()
def config() -> None:
    """Show every option and where its value comes from."""


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [part if isinstance(part, (str, int)) else str(part) for part in value]
    return str(value) if isinstance(value, Path) else value


@config.command()
@click.option("--origin", is_flag=True, help="Also say where each value comes from.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def show(origin: bool, as_json: bool) -> int:
    """Print all options as they stand here: flags aside, from the environment, mcwbuild.yaml and the defaults."""
    from mcwbuild.report import console

    settings = resolve({})
    if as_json:
        console.show_json(
            {o.name: {"value": _plain(settings[o.name]), "origin": settings.origins[o.name]} for o in OPTIONS}
        )
        return 0

    def shown(value: Any) -> str:
        plain = _plain(value)
        words = ", ".join(str(part) for part in plain) if isinstance(plain, list) else str(plain)
        return "-" if plain is None or plain == [] else words

    header = ["option", "value", *(["origin"] if origin else [])]
    console.show_table(
        "",
        header,
        [[o.name, shown(settings[o.name]), *([settings.origins[o.name]] if origin else [])] for o in OPTIONS],
    )
    return 0
