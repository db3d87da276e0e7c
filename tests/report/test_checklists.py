from __future__ import annotations

from pathlib import Path

from bsou_dist.report.checklists import AUTHORS, ITEMS, checklist_html, checklist_markdown

PAGE = Path(__file__).parents[2] / "docs/checklists.md"


def test_the_page_and_the_report_list_the_same():
    assert checklist_markdown() in PAGE.read_text(encoding="utf-8")
    page = checklist_html()
    assert page.count("<tr>") == 1 + len(ITEMS)
    assert "href" not in page


def test_every_numbered_item_stands_somewhere():
    """STARD 2015 has 30 items, TRIPOD+AI 27, CLAIM 44."""
    gaps = {
        "stard": set(range(1, 31)) - numbers("stard"),
        "tripod": set(range(1, 28)) - numbers("tripod"),
        "claim": set(range(1, 45)) - numbers("claim"),
    }
    assert not any(gaps.values()), gaps
    assert any(item.where == AUTHORS for item in ITEMS)


def numbers(column: str) -> set[int]:
    found: set[int] = set()
    for item in ITEMS:
        for part in getattr(item, column).replace("AI", "").split(","):
            ends = ["".join(filter(str.isdigit, end)) for end in part.split("-")]
            if ends[0]:
                found.update(range(int(ends[0]), int(ends[-1]) + 1))
    return found
