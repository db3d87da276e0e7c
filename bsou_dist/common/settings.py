"""Settings from YAML with dotted overrides, every fault reported at once."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from bsou_dist.common.errors import InputError

Settings = TypeVar("Settings", bound=BaseModel)


def read_settings(model: type[Settings], path: Path | None, overrides: list[str]) -> Settings:
    """Settings from a YAML file (None: the defaults) and `key.path=value` overrides, whose values
    are YAML too.

    Raises:
        InputError: no such file, not YAML, an unknown key (the nearest valid one is named) or a bad
            value; every fault is listed with its path, the value and what is allowed.
    """
    if path is not None and not path.is_file():
        raise InputError(f"no config at {path}; ready ones are in the folder configs")
    try:
        content = yaml.safe_load(path.read_text()) if path is not None else {}
        values = [_value(text.partition("=")[2]) for text in overrides]
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path or 'an override'} is not YAML: {' '.join(str(error).split())}"
        ) from None
    if not isinstance(content, dict):
        raise InputError(
            f"{path} must hold keys such as {', '.join(list(model.model_fields)[:3])}, "
            f"got {type(content).__name__}"
        )
    for text, value in zip(overrides, values, strict=True):
        key, equals, _ = text.partition("=")
        if not equals:
            raise InputError(
                f"{text!r} is not an override; write it as key.path=value, such as seed=3"
            )
        _set(content, key.split("."), value, text)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        faults = "\n".join(f"  {fault}" for fault in describe_faults(model, error))
        raise InputError(
            f"{path or 'settings'}: {error.error_count()} fault(s)\n{faults}"
        ) from None


def describe_faults(model: type[BaseModel], error: ValidationError) -> list[str]:
    """Say of every fault where it is, the value, and what is allowed; an unknown key's nearest
    valid one is named.
    """
    return [_fault(model, dict(fault)) for fault in error.errors()]


def _value(text: str) -> Any:
    """What YAML reads in an override; but plain text is taken whole, so that a path may hold ' #',
    YAML's comment.
    """
    value = yaml.safe_load(text)
    return text.strip() if isinstance(value, str) and re.match(r"[\w/.~-]", text.strip()) else value


def _set(content: dict[str, Any], keys: list[str], value: Any, text: str) -> None:
    for key in keys[:-1]:
        below = content.get(key)
        if below is None:
            below = content[key] = {}
        if not isinstance(below, dict):
            raise InputError(f"override {text!r}: {key} is {below!r}, not a section")
        content = below
    content[keys[-1]] = value


def _fault(model: type[BaseModel], error: dict[str, Any]) -> str:
    location = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        known = _fields(model, error["loc"][:-1])
        near = difflib.get_close_matches(str(error["loc"][-1]), known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(known)}"
        return f"{location}: no such key; {hint}"
    if error["type"] == "missing":
        meaning = _description(model, error["loc"])
        return f"{location}: this key is required" + (f" ({meaning})" if meaning else "")
    message = error["msg"].removeprefix("Value error, ")
    got = "" if error["type"] == "value_error" else f", got {error['input']!r}"
    return f"{location}: {message}{got}" if location else f"{message}{got}"


def _fields(model: type[BaseModel], location: tuple[str | int, ...]) -> list[str]:
    """Keys that the section at `location` takes."""
    for key in location:
        annotation = model.model_fields[str(key)].annotation
        model = next(
            one
            for one in (annotation, *get_args(annotation))
            if isinstance(one, type) and issubclass(one, BaseModel)
        )
    return list(model.model_fields)


def _description(model: type[BaseModel], location: tuple[str | int, ...]) -> str | None:
    """Return what a field's definition says about it, if it says anything."""
    if len(location) != 1:
        return None
    return model.model_fields[str(location[0])].description
