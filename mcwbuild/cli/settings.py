"""Click options made from the option table, and the settings that they resolve to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from mcwbuild.options import BY_NAME, Settings, resolve

Command = TypeVar("Command", bound=Callable[..., Any])


def options(*names: str) -> Callable[[Command], Command]:
    """Decorate a verb with options of the table; their values are parsed by `resolve`, not by click."""

    def decorate(function: Command) -> Command:
        for name in reversed(names):
            option = BY_NAME[name]
            shown = {} if option.default in (None, (), True) else {"show_default": str(option.default)}
            if option.default is True:
                function = click.option(f"{option.flag}/--no-{name.replace('_', '-')}", default=None, help=option.help)(
                    function
                )
            else:
                function = click.option(
                    option.flag,
                    name,
                    metavar=option.metavar,
                    multiple=name == "target",
                    default=None,
                    type=click.Path() if option.is_path else str,
                    help=option.help,
                    **shown,  # type: ignore[arg-type]
                )(function)
        return function

    return decorate


def settings(ctx: click.Context) -> Settings:
    """All options, with those given as flags of this command on top."""
    given = {
        name: value
        for name, value in ctx.params.items()
        if name in BY_NAME and ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    if "target" in given:
        given["target"] = ",".join(given["target"])
    return resolve(given)
