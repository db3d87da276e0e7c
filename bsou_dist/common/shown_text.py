"""Text of strangers, fit to be shown."""

from __future__ import annotations

_MAX_CHARACTERS = 200


def shown_text(value: object, max_characters: int = _MAX_CHARACTERS) -> str:
    """Write a value on one line, cut short, with nothing in it that a terminal would obey."""
    text = str(value)
    cut = text[:max_characters]
    shown = "".join(map(_shown_character, cut))
    return shown if len(text) <= max_characters else f"{shown}..."


def _shown_character(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")
