"""A picture inside a page."""

from __future__ import annotations

import base64
import html


def figure_html(png: bytes, title: str, caption: str, subject: str) -> str:
    """Write a PNG as an HTML figure that loads nothing from outside the page.

    Args:
        png: the picture.
        title: heading over it, such as the method.
        caption: what it shows.
        subject: what it is about, such as the task; for who can't see it.
    """
    alt = html.escape(f"{subject}, {title}, {caption}")
    image = base64.b64encode(png).decode()
    return (
        f"<figure><h3>{html.escape(title)}</h3>"
        f'<div class="caption">{html.escape(caption)}</div>'
        f'<img alt="{alt}" width="{_css_width(png)}" src="data:image/png;base64,{image}">'
        "</figure>"
    )


def _css_width(png: bytes) -> int:
    """Width in CSS pixels of a PNG drawn at 1.5 times the resolution of a screen."""
    # Bytes 16 to 20 of a PNG hold its width in pixels.
    return int.from_bytes(png[16:20], "big") * 2 // 3
