"""Options of a job on a command line."""

from __future__ import annotations

import argparse
from collections.abc import Container
from typing import Any, NoReturn, get_args, get_origin

from pydantic.fields import FieldInfo

from bsou_dist.cluster.options import SlurmOptions
from bsou_dist.common.errors import InputError


class Parser(argparse.ArgumentParser):
    """Tells what is wrong in one line; its parsers of commands do so too."""

    def error(self, message: str) -> NoReturn:
        """End with exit code 2."""
        self.exit(2, f"{self.prog}: {message}; see '{self.prog} --help'\n")


def add_options(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup, without: Container[str] = ()
) -> None:
    """Add every field of `SlurmOptions` to a parser, but for some. What is not given is absent from
    the namespace.
    """
    for name, field in SlurmOptions.model_fields.items():
        if name not in without:
            parser.add_argument(
                f"--{name.replace('_', '-')}", default=argparse.SUPPRESS, **_argument(field)
            )


def given_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options that were given, not checked yet; InputError where one is no NAME=VALUE and must
    be.
    """
    given = {
        name: value for name, value in vars(arguments).items() if name in SlurmOptions.model_fields
    }
    for name in ("env", "sbatch"):
        if name in given:
            given[name] = dict(_pair(f"--{name}", text) for text in given[name])
    return given


def _pair(option: str, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"{option} is {text!r}; write it as NAME=VALUE")
    return name, value


def _argument(field: FieldInfo) -> dict[str, Any]:
    default = "" if field.default in (None, [], {}, False) else f" (default {field.default})"
    about = f"{field.description}{default}".replace("%", "%%")
    kinds = {get_origin(field.annotation) or field.annotation, *get_args(field.annotation)}
    if bool in kinds:
        return {"action": "store_true", "help": about}
    if dict in kinds:
        return {"action": "append", "metavar": "NAME=VALUE", "help": f"{about}; may be repeated"}
    if list in kinds:
        return {"action": "append", "metavar": "PATH", "help": f"{about}; may be repeated"}
    return {
        "type": _number if int in kinds else str,
        "metavar": "N" if int in kinds else "VALUE",
        "help": about,
    }


def _number(text: str) -> int | str:
    """A whole number; anything else is left for the check of all options to refuse."""
    return int(text) if text.isdecimal() else text


def at_least_1(text: str) -> int:
    """A whole number from 1, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)
