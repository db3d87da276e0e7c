"""YAML that is read within limits, and refused without repeating what it holds.

A few hundred bytes of YAML can stand for billions of values: aliases of lists of aliases, which
whoever walks through them spells out. The file may also be the wrong one: a patient list in the
place of a config must not end up in a log.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from bsou_dist.common.errors import InputError
from bsou_dist.common.shown_text import shown_text

MAX_DEPTH = 32
"""Of sections in sections, with aliases spelt out; configs have five."""

MAX_VALUES = 50_000
"""Of a file, with aliases spelt out."""

MAX_BYTES = 512 << 10
"""Of a file. Python reads some 100 kB of YAML per second."""


class BadYaml(ValueError):
    """A text is not YAML, or beyond the limits; the message says where, and not what is there."""


def read_yaml_file(path: Path, what: str) -> Any:
    """Read a YAML file.

    Args:
        path: the file.
        what: what it should be, for messages, such as 'config'.

    Raises:
        InputError: it is not there, too large, or not YAML within the limits.
    """
    if not path.is_file():
        raise InputError(f"no {what} at {path}")
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path} is no {what}: it has more than {MAX_BYTES >> 10} kB")
    try:
        return read_yaml(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise InputError(f"{path} is not YAML: it is not in UTF-8") from None
    except BadYaml as fault:
        raise InputError(f"{path} is not YAML that can be read here: {fault}") from None


def read_yaml(text: str) -> Any:
    """Read a text that holds one YAML document, with plain values only.

    Raises:
        BadYaml: it is none, is nested or large beyond the limits, or has a key twice in a section.
    """
    try:
        loader = _BoundedLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _measure(node, {})
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise BadYaml(_described(error)) from None
    except yaml.YAMLError:
        raise BadYaml("it holds characters that YAML does not allow") from None
    except BadYaml:
        raise
    except (ValueError, RecursionError, OverflowError):
        # Numbers of thousands of digits, dates that no calendar has.
        raise BadYaml("it holds a number or date that is none") from None


class _BoundedLoader(yaml.SafeLoader):
    """PyYAML's loader for plain values, which stops where the nesting goes too deep."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            line = self.peek_event().start_mark.line + 1
            raise BadYaml(f"line {line}: sections are nested more than {MAX_DEPTH} deep")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _measure(node: yaml.Node, known: dict[int, tuple[int, int] | None]) -> tuple[int, int]:
    """How many values a node stands for, and how deep it is, with aliases spelt out.

    `known` holds what was found for nodes before, and None for those that are being measured.
    """
    identity = id(node)
    line = node.start_mark.line + 1
    if identity in known:
        measured = known[identity]
        if measured is None:
            raise BadYaml(f"line {line}: a section holds itself")
        return measured
    known[identity] = None
    if isinstance(node, yaml.MappingNode):
        _check_keys(node)
        parts = [part for pair in node.value for part in pair]
    else:
        parts = node.value if isinstance(node, yaml.SequenceNode) else []
    values, depth = 1, 0
    for part in parts:
        values_of_part, depth_of_part = _measure(part, known)
        values += values_of_part
        depth = max(depth, depth_of_part)
    if values > MAX_VALUES:
        raise BadYaml(f"line {line}: it stands for more than {MAX_VALUES} values")
    if depth + 1 > MAX_DEPTH:
        raise BadYaml(f"line {line}: sections are nested more than {MAX_DEPTH} deep")
    known[identity] = (values, depth + 1)
    return values, depth + 1


def _check_keys(node: yaml.MappingNode) -> None:
    """BadYaml if a key stands twice in a section: the later would win without a word."""
    found: set[tuple[str, str]] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        if (key.tag, key.value) in found:
            raise BadYaml(f"line {key.start_mark.line + 1}: this key stands in the section before")
        found.add((key.tag, key.value))


def _described(error: yaml.MarkedYAMLError) -> str:
    """Where PyYAML stopped and why, without the words of the file that it quotes."""
    problem = re.sub(r"'[^']*'|\"[^\"]*\"", "(something)", error.problem or "it cannot be read")
    reason = shown_text(problem, 120)
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return reason
    return f"line {mark.line + 1}, column {mark.column + 1}: {reason}"
