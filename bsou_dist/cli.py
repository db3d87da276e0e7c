"""The `bsou` command: its parser, and what an exception means to the user.

The commands themselves are in `bsou_dist/commands/`, the exit codes in
`bsou_dist/common/exit_codes.py`. Nothing here may take long to import: torch alone takes seconds,
and `bsou --help` should not.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Sequence
from typing import Protocol

from bsou_dist.commands import (
    compare,
    embed,
    evaluate,
    freeze,
    inspect,
    pack,
    phantom,
    power,
    resend,
    train,
    verify,
)
from bsou_dist.commands.arguments import Parser
from bsou_dist.common.errors import InputError, OtherRankFailed, WorkFailed
from bsou_dist.common.exit_codes import BAD_INPUT, DONE, FAILED, INTERRUPTED, PATH_FAULTS


class Command(Protocol):
    """A file of `bsou_dist/commands/`."""

    HELP: str
    """One line."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, options: argparse.Namespace) -> int:
        """Do the work; returns the exit code."""
        ...


COMMANDS: dict[str, Command] = {
    "phantom": phantom,
    "pack": pack,
    "cohort freeze": freeze,
    "inspect": inspect,
    "verify": verify,
    "train": train,
    "evaluate": evaluate,
    "embed": embed,
    "resend": resend,
    "compare": compare,
    "power": power,
}
"""The commands by the words that call them, in the order of `bsou --help`."""

GROUPS = {"cohort": "what to do with a cohort itself"}
"""First words that several commands may share, with their help."""

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parse(arguments)
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except InputError as error:
        # The launchers look for mistakes in one process beforehand; what is left to a rank may be
        # its own.
        print(f"{_name()}: {error}", file=sys.stderr)
        return BAD_INPUT
    except OtherRankFailed as error:
        print(f"{_name()}: {error}", file=sys.stderr)
        return error.code
    except WorkFailed as error:
        print(f"{_name()}: {error}", file=sys.stderr)
        return FAILED
    except PATH_FAULTS as error:
        if error.filename is None:  # not of a path that anyone gave
            raise
        print(
            f"bsou: {error.strerror}: {error.filename}; name another path, or mend it",
            file=sys.stderr,
        )
        return BAD_INPUT
    except BrokenPipeError:  # whoever read our output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return DONE
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        where = f": {error.filename}" if error.filename else ""
        print(
            f"bsou: {error.strerror}{where}; make room, and the same command goes on from what is "
            "there",
            file=sys.stderr,
        )
        return FAILED
    except KeyboardInterrupt:
        print("bsou: interrupted; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    return code


def _name() -> str:
    """This command in a message; of several ranks, which of them."""
    rank = os.environ.get("RANK")
    return f"bsou (rank {rank})" if rank else "bsou"


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse a command line, in which overrides may stand anywhere.

    argparse takes no positional after an option once the first ones were seen, and leaves such
    overrides over.
    """
    options, rest = _make_parser().parse_known_args(arguments)
    if not rest:
        return options
    takes_overrides = hasattr(options, "overrides")
    has_unknown_option = any(text.startswith("-") for text in rest)
    if not takes_overrides or has_unknown_option:
        options.parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options.overrides += rest
    return options


def _make_parser() -> Parser:
    # Jobs find it under this name, also where this file was started as a script.
    from bsou_dist.cli import main as by_name

    parser = Parser(prog="bsou", description="Train on blind-sweep obstetric ultrasound clips.")
    top = parser.add_subparsers(required=True, metavar="COMMAND")
    groups = {"": top}
    for words, command in COMMANDS.items():
        group, _, word = words.rpartition(" ")
        if group not in groups:
            group_parser = top.add_parser(group, help=GROUPS[group])
            groups[group] = group_parser.add_subparsers(required=True, metavar="COMMAND")
        command_parser = groups[group].add_parser(word, help=command.HELP)
        command.add_arguments(command_parser)
        command_parser.set_defaults(run=command.run, parser=command_parser, main=by_name)
    return parser


if __name__ == "__main__":
    sys.exit(main())
