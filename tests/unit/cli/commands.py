"""The commands of the `emerit` program, from the Typer app itself."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import typer

from emerit.cli.main import app


@cache
def tree() -> Any:
    """The program as Typer builds it."""
    return typer.main.get_command(app)


def leaves(command: Any = None, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, with the words that lead to it."""
    command = tree() if command is None else command
    for name, child in getattr(command, "commands", {}).items():
        yield from leaves(child, (*words, name))
    if words and not hasattr(command, "commands"):
        yield words, command


def options_of(command: Any) -> dict[str, bool]:
    """The options of a command, and for each whether it takes a value."""
    found = {"--help": False}
    for parameter in command.params:
        takes_value = not getattr(parameter, "is_flag", False)
        found |= {name: takes_value for name in (*parameter.opts, *parameter.secondary_opts) if name.startswith("-")}
    return found


def required_of(command: Any) -> list[str]:
    """The options that a command cannot do without."""
    return [parameter.opts[-1] for parameter in command.params if parameter.required and parameter.opts[0][0] == "-"]


def arguments_of(command: Any) -> tuple[int, int]:
    """How many arguments a command takes, at least and at most."""
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    return sum(1 for argument in arguments if argument.required), len(arguments)
