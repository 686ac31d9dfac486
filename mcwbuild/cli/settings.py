"""Click options made from the option table, and the settings that they resolve to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from mcwbuild.options import BY_NAME, Settings, resolve

# What decides where stages run: every verb that runs one takes them all.
ENGINE = ("engine", "scheduler", "shared_folder", "worker_engine", "dask_tls_ca", "dask_tls_cert", "dask_tls_key")
Command = TypeVar("Command", bound=Callable[..., Any])


def options(*names: str) -> Callable[[Command], Command]:
    """Decorate a verb with options of the table; their values are parsed by `resolve`, not by click."""

    def decorate(function: Command) -> Command:
        for name in reversed(names):
            option = BY_NAME[name]
            told = (
                option.help
                if option.default in (None, (), True, False)
                else f"{option.help}  [default: {option.default}]"
            )
            if option.default is True:
                flags = f"{option.flag}/--no-{name.replace('_', '-')}"
                function = click.option(flags, default=None, help=told)(function)
            elif option.default is False:
                function = click.option(option.flag, is_flag=True, default=None, help=told)(function)
            else:
                value = click.Path() if option.is_path else str
                several = name == "target" or bool(option.several)
                function = click.option(
                    option.flag, name, metavar=option.metavar, multiple=several, type=value, help=told
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
    for name in ("target", "gates"):
        if name in given:
            given[name] = ",".join(given[name])
    return resolve(given)
