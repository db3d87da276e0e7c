"""Settings from YAML with dotted overrides, every fault reported at once."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from bsou_dist.common.bounded_yaml import BadYaml, read_yaml, read_yaml_file
from bsou_dist.common.errors import InputError
from bsou_dist.common.shown_text import shown_text

Settings = TypeVar("Settings", bound=BaseModel)


def read_settings(model: type[Settings], path: Path | None, overrides: list[str]) -> Settings:
    """Read a YAML file (None: the defaults) and `key.path=value` overrides, and check them.

    The value of an override is YAML too.

    Raises:
        InputError: no such file, not YAML, an unknown key (the nearest valid one is named) or a bad
            value; every fault is listed with its path, the value and what is allowed.
    """
    if path is not None and not path.is_file():
        raise InputError(f"no config at {path}; ready ones are in the folder configs")
    try:
        values = [_override_value(text.partition("=")[2]) for text in overrides]
    except BadYaml as fault:
        raise InputError(f"an override is not YAML: {fault}") from None
    content = read_yaml_file(path, "config") if path is not None else {}
    if not isinstance(content, dict):
        some_keys = ", ".join(list(model.model_fields)[:3])
        raise InputError(f"{path} must hold keys such as {some_keys}, got {type(content).__name__}")
    for text, value in zip(overrides, values, strict=True):
        key_path, equals, _ = text.partition("=")
        if not equals:
            raise InputError(
                f"{text!r} is not an override; write it as key.path=value, such as seed=3"
            )
        _set(content, key_path.split("."), value, override=text)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        faults = describe_faults(model, error)
        lines = "\n".join(f"  {fault}" for fault in faults)
        raise InputError(f"{path or 'settings'}: {error.error_count()} fault(s)\n{lines}") from None


def describe_faults(model: type[BaseModel], error: ValidationError) -> list[str]:
    """Say of every fault where it is, the value, and what is allowed.

    Of an unknown key the nearest valid one is named.
    """
    return [_fault_message(model, dict(fault)) for fault in error.errors()]


def _override_value(text: str) -> Any:
    """Read the value of an override as YAML, but take plain text whole.

    To YAML ' #' begins a comment, but a path may hold it.
    """
    value = read_yaml(text)
    plain = text.strip()
    is_plain_text = isinstance(value, str) and re.match(r"[\w/.~-]", plain)
    return plain if is_plain_text else value


def _set(content: dict[str, Any], keys: list[str], value: Any, *, override: str) -> None:
    """Set a value at a path of keys; sections on the way that are not there are made."""
    section = content
    for key in keys[:-1]:
        below = section.get(key)
        if below is None:
            below = section[key] = {}
        if not isinstance(below, dict):
            raise InputError(f"override {override!r}: {key} is {below!r}, not a section")
        section = below
    section[keys[-1]] = value


def _fault_message(model: type[BaseModel], error: dict[str, Any]) -> str:
    """Say in one line what pydantic has found: the place, what is allowed, the value."""
    keys = error["loc"]
    place = ".".join(map(str, keys))
    if error["type"] == "extra_forbidden":
        known = _known_keys(model, keys[:-1])
        near = difflib.get_close_matches(str(keys[-1]), known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(known)}"
        return f"{place}: no such key; {hint}"
    if error["type"] == "missing":
        meaning = _description(model, keys)
        return f"{place}: this key is required" + (f" ({meaning})" if meaning else "")
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] != "value_error":  # our own messages name the value already
        message += f", got {shown_text(repr(error['input']), 100)}"
    return f"{place}: {message}" if place else message


def _known_keys(model: type[BaseModel], section: tuple[str | int, ...]) -> list[str]:
    """Keys that a section takes, which is found by following its path through the models."""
    for key in section:
        field = model.model_fields.get(str(key))
        if field is None:  # a name of the user's own, in a section such as `dict[str, Model]`
            continue
        candidates = (field.annotation, *get_args(field.annotation))  # of `Model | None` too
        for candidate in candidates:
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                model = candidate
                break
    return list(model.model_fields)


def _description(model: type[BaseModel], location: tuple[str | int, ...]) -> str | None:
    """Return what a field's definition says about it, if it says anything."""
    if len(location) != 1:
        return None
    return model.model_fields[str(location[0])].description
