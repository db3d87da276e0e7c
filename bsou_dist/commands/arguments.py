"""Arguments that several commands share, and a parser that tells mistakes in one line."""

from __future__ import annotations

import argparse
import os
from collections.abc import Container
from pathlib import Path
from typing import Any, NoReturn, get_args, get_origin

from pydantic.fields import FieldInfo

from bsou_dist.cluster.options import SlurmOptions
from bsou_dist.common.errors import InputError
from bsou_dist.common.exit_codes import BAD_INPUT


class Parser(argparse.ArgumentParser):
    """A parser that tells in one line what is wrong; its parsers of commands do so too."""

    def error(self, message: str) -> NoReturn:
        """End with exit code 2."""
        self.exit(BAD_INPUT, f"{self.prog}: {message}; see '{self.prog} --help'\n")


def add_column_map(parser: argparse.ArgumentParser) -> None:
    """Add --column-map, for commands that read a cohort."""
    parser.add_argument(
        "--column-map",
        metavar="NAME_OR_PATH",
        help="how to read a foreign layout: nejm_v4, "
        "famli2_enrolled, famli2, famli3, famli3_vivli, or YAML of your own",
    )


def add_strict(parser: argparse.ArgumentParser) -> None:
    """Add --strict, for commands that check a cohort."""
    parser.add_argument(
        "--strict",
        action="store_true",
        help="make cells of a layout's tables that can't be used an error, "
        "instead of taking them as missing with a note",
    )


def add_settings(parser: argparse.ArgumentParser, example: str) -> None:
    """Add overrides, --config and --workers, for commands that need no config of a run."""
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help=f"settings, such as {example}"
    )
    parser.add_argument("--config", type=Path, help="YAML file of settings")
    parser.add_argument(
        "--workers", type=at_least_1, default=len(os.sched_getaffinity(0)), help="processes"
    )


def at_least_1(text: str) -> int:
    """Read a whole number from 1, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def add_options(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup, without: Container[str] = ()
) -> None:
    """Add every field of `SlurmOptions` to a parser, except those named in `without`.

    An option that is not given is absent from the namespace: it must not win over a file's.
    """
    for name, field in SlurmOptions.model_fields.items():
        if name in without:
            continue
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, default=argparse.SUPPRESS, **_argument_of(field))


def given_options(options: argparse.Namespace) -> dict[str, Any]:
    """Collect the options of a job that were given, not checked yet.

    Raises:
        InputError: one that must be NAME=VALUE is not.
    """
    known = SlurmOptions.model_fields
    given = {name: value for name, value in vars(options).items() if name in known}
    for name in ("env", "sbatch"):
        if name in given:
            given[name] = dict(_name_and_value(f"--{name}", text) for text in given[name])
    return given


def _name_and_value(flag: str, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"{flag} is {text!r}; write it as NAME=VALUE")
    return name, value


def _argument_of(field: FieldInfo) -> dict[str, Any]:
    """What argparse wants to know of an option."""
    help_text = field.description or ""
    if field.default not in (None, [], {}, False):
        help_text += f" (default {field.default})"
    help_text = help_text.replace("%", "%%")  # argparse fills in placeholders
    annotation = field.annotation
    types = {get_origin(annotation) or annotation, *get_args(annotation)}
    if bool in types:
        return {"action": "store_true", "help": help_text}
    repeated = f"{help_text}; may be repeated"
    if dict in types:
        return {"action": "append", "metavar": "NAME=VALUE", "help": repeated}
    if list in types:
        return {"action": "append", "metavar": "PATH", "help": repeated}
    if int in types:
        return {"type": _number_if_it_is_one, "metavar": "N", "help": help_text}
    return {"type": str, "metavar": "VALUE", "help": help_text}


def _number_if_it_is_one(text: str) -> int | str:
    """Read a whole number; anything else is left for the check of all options to refuse."""
    return int(text) if text.isdecimal() else text
