"""Draw `docs/rooms.svg`, the rooms of the package along the data's way, from the code itself.

    python docs/draw_rooms.py

The text of a room is the first sentence of its docstring. An arc leads from a room to each room
that it imports, save those that it reaches by way of others. `tests/test_house.py` compares the
picture with the code.
"""

from __future__ import annotations

import ast
import re
import textwrap
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "bsou_dist"
PICTURE = Path(__file__).with_name("rooms.svg")

ROOMS = [
    "common",
    "tasks",
    "cohort",
    "phantom",
    "sources",
    "prepare",
    "shards",
    "packing",
    "inspection",
    "feed",
    "model",
    "objective",
    "engine",
    "predict",
    "evaluation",
    "report",
    "tracking",
    "experiment",
    "cluster",
    "commands",
    "cli",
]
"""In the order in which a clip meets them: a room imports only rooms before it."""

HANDED_ON = {
    "cohort": "cohort table, splits",
    "phantom": "files, cohort table",
    "sources": "frames, mm per pixel",
    "prepare": "a grey fan at a fixed scale",
    "shards": "NNNNNN.tar, manifest.parquet",
    "packing": "a finished shard folder",
    "feed": "Batch",
    "model": "embeddings, outputs",
    "objective": "the global loss",
    "engine": "weights, checkpoints",
    "predict": "predictions.parquet",
    "evaluation": "records with intervals",
    "report": "table.txt, report.html",
    "tracking": "runs in MLflow",
    "experiment": "a run's folder",
    "cluster": "jobs",
}
"""What a room makes that others take."""

ROW_PX = 46
LEFT_PX, NAME_PX, TEXT_PX, RIGHT_PX = 150, 100, 490, 240
WIDTH_PX = LEFT_PX + NAME_PX + TEXT_PX + RIGHT_PX
LINE_CHARS = 68

STYLE = """
text { font: 13px system-ui, "Liberation Sans", sans-serif; fill: #1f2933; }
.name { font-weight: 600; }
.made { fill: #2b6cb0; }
.arc { fill: none; stroke: #9aa5b1; stroke-width: 1.2; }
.dot { fill: #1f2933; }
.line { stroke: #e7ebf0; }
.ground { fill: #ffffff; }
@media (prefers-color-scheme: dark) {
  text { fill: #e7ebf0; } .made { fill: #90cdf4; } .arc { stroke: #7b8794; }
  .dot { fill: #e7ebf0; } .line { stroke: #323f4b; } .ground { fill: #1f2933; }
}
"""


def uses_of_rooms() -> dict[str, set[str]]:
    """Rooms that each room imports, itself excluded."""
    uses: dict[str, set[str]] = {room: set() for room in ROOMS}
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).with_suffix("").parts[0]
        if room not in uses:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom) or not node.module:
                continue
            parts = node.module.split(".")
            if parts[0] == "bsou_dist" and len(parts) > 1 and parts[1] in uses:
                uses[room].add(parts[1])
        uses[room].discard(room)
    return uses


def without_detours(uses: dict[str, set[str]]) -> dict[str, set[str]]:
    """Leave out rooms that are reached by way of another one that is used."""
    reached: dict[str, set[str]] = {}
    for room in uses:  # in order, so that what a room uses is known by then
        reached[room] = set().union(*({other} | reached[other] for other in uses[room]))
    direct = {}
    for room, others in uses.items():
        by_way = set().union(*(reached[other] for other in others))
        direct[room] = others - by_way
    return direct


def first_sentence(room: str) -> str:
    """What a room's docstring begins with."""
    path = PACKAGE / room / "__init__.py"
    if not path.is_file():
        path = PACKAGE / f"{room}.py"
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    paragraph = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=\.)\s", paragraph)[0]


def draw() -> str:
    """The picture as SVG."""
    height = ROW_PX * len(ROOMS) + 20
    place = {room: 10 + ROW_PX * number + ROW_PX // 2 for number, room in enumerate(ROOMS)}
    shapes = []
    for room, others in without_detours(uses_of_rooms()).items():
        for other in sorted(others, key=place.__getitem__):
            shapes.append(_arc(place[room], place[other]))
    for room, y in place.items():
        below = y + ROW_PX // 2
        shapes.append(
            f'<line class="line" x1="{LEFT_PX}" x2="{WIDTH_PX}" y1="{below}" y2="{below}"/>'
        )
        shapes.append(f'<circle class="dot" cx="{LEFT_PX}" cy="{y}" r="3.5"/>')
        shapes.append(_text(LEFT_PX + 14, y, [room], "name"))
        lines = textwrap.wrap(first_sentence(room).replace("`", ""), LINE_CHARS)[:2]
        shapes.append(_text(LEFT_PX + 14 + NAME_PX, y, lines, ""))
        made = HANDED_ON.get(room)
        if made:
            shapes.append(_text(LEFT_PX + NAME_PX + TEXT_PX + 24, y, [made], "made"))
    body = "\n".join(shapes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH_PX} {height}" '
        f'width="{WIDTH_PX}" height="{height}" role="img">\n'
        f"<title>Rooms of bsou_dist along the data's way</title>\n<style>{STYLE}</style>\n"
        f'<rect class="ground" width="{WIDTH_PX}" height="{height}"/>\n{body}\n</svg>\n'
    )


def _arc(start: int, end: int) -> str:
    """A curve on the left from one room up to another; the further, the wider."""
    reach = LEFT_PX - 12 - min(LEFT_PX - 24, 8 + abs(start - end) // 6)
    curve = f"M {LEFT_PX} {start} C {reach} {start} {reach} {end} {LEFT_PX} {end}"
    return f'<path class="arc" d="{curve}"/>'


def _text(x: int, y: int, lines: list[str], style: str) -> str:
    first = y + 4 - 8 * (len(lines) - 1)
    spans = "".join(
        f'<tspan x="{x}" y="{first + 16 * number}">{escape(line)}</tspan>'
        for number, line in enumerate(lines)
    )
    return f'<text class="{style}">{spans}</text>'


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
    print(PICTURE)
