from __future__ import annotations

import re
from html.parser import HTMLParser

import pandas as pd
import pytest
from p1_tasks import TASKS

from bsou_dist.common.errors import InputError
from bsou_dist.evaluation.evaluate import RECORD_COLUMNS, evaluate_predictions
from bsou_dist.report.html_report import write_report
from bsou_dist.report.method_table import PHANTOM_NOTICE, method_table
from bsou_dist.tasks.kinds.make import make_task


def record(
    method: str, task: str, level: str, metric: str, value: float, set_name: str = "main"
) -> dict[str, object]:
    return {"method": method} | dict(
        zip(
            RECORD_COLUMNS,
            (task, set_name, level, metric, value, value - 0.05, value + 0.05, 23, 20, "95 %"),
            strict=True,
        )
    )


@pytest.fixture
def records() -> pd.DataFrame:
    rows = []
    for shift, method in enumerate(("mtscon", "another", "STSL")):
        for prefix, worse in (("", 0), ("baseline_", 10)):
            rows += [
                record(method, "ga", level, f"{prefix}{metric}", value + worse + shift)
                for level, value in (("clip", 20.0), ("exam", 14.3))
                for metric in ("mae", "abs_error_std")
            ]
            rows += [
                record(
                    method,
                    "presentation",
                    "exam",
                    f"{prefix}{metric}",
                    0.883 - worse / 50 - shift / 100,
                )
                for metric in ("accuracy", "macro_f1")
            ]
            if method == "STSL":
                rows += [
                    record(method, "dvp", "exam", f"{prefix}{metric}", 1.0 + worse)
                    for metric in ("mae", "abs_error_std")
                ]
    return pd.DataFrame(rows)


def test_text_has_the_papers_layout(records):
    text = method_table(records, TASKS)
    lines = text.splitlines()
    assert re.match(r" +In-domain tasks +Out-of-domain tasks$", lines[0])
    assert re.match(r"method +ga \(days\) ↓ +presentation \(%\) ↑ +dvp \(cm\) ↓$", lines[1])
    assert [line.split("  ")[0] for line in lines[3:15:3]] == [
        "STSL",
        "mtscon",
        "another",
        "median / majority",
    ]
    assert re.match(r"mtscon +14\.3/14\.3 +88\.3/88\.3 +–$", lines[6])
    assert re.match(r" +\[14\.2, 14\.4\] +\[83\.3, 93\.3\]$", lines[7])
    assert re.match(r" +n 23/20 +n 23/20$", lines[8])
    assert re.match(r"median / majority +24\.3/24\.3 +68\.3/68\.3 +11\.00/11\.00$", lines[12])
    assert PHANTOM_NOTICE not in text


@pytest.mark.parametrize("style", ["text", "markdown", "html"])
def test_phantom_results_say_so_in_every_style(records, style):
    assert method_table(records, TASKS, phantom=True, style=style).count(PHANTOM_NOTICE) == 1


def test_markdown_is_one_line_per_method(records):
    lines = method_table(records, TASKS, style="markdown").splitlines()
    assert (
        lines[0]
        == "| method | In-domain tasks: ga (days) ↓ | In-domain tasks: presentation (%) ↑ | "
        "Out-of-domain tasks: dvp (cm) ↓ |"
    )
    assert (
        lines[3]
        == "| mtscon | 14.3/14.3<br>[14.2, 14.4]<br>n 23/20 | 88.3/88.3<br>[83.3, 93.3]<br>n 23/20 "
        "| – |"
    )


def test_html_escapes_names(records):
    page = method_table(records.assign(method="<b>&"), TASKS, style="html")
    assert "&lt;b&gt;&amp;" in page
    assert page.count("<tr>") == 4


def test_a_set_without_results_and_an_unknown_task(records):
    with pytest.raises(InputError, match="no results for set 'obese'; there are results for main"):
        method_table(records, TASKS, set_name="obese")
    with pytest.raises(InputError, match=r"unknown tasks .'weight'"):
        method_table(records.assign(task="weight"), TASKS)


def test_every_task_with_a_record_has_a_column_in_its_place(records):
    weight = make_task(
        {"name": "efw", "kind": "regression", "label": "efw_g", "unit": "g", "decimals": 0}
    )
    last = weight.model_copy(update={"name": "afi", "group": "In-domain tasks", "order": 1})
    more = [record("STSL", "efw", "clip", "mae", 250.4), record("STSL", "afi", "clip", "mae", 1)]
    text = method_table(
        pd.concat([records, pd.DataFrame(more)]), TASKS | {"efw": weight, "afi": last}
    )
    headings, names = text.splitlines()[:2]
    assert re.split("  +", headings.strip()) == [
        "In-domain tasks",
        "Out-of-domain tasks",
        "Other tasks",
    ]
    assert re.findall(r"(\w+) \(", names) == ["ga", "presentation", "afi", "dvp", "efw"]


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def test_report_is_one_file_that_loads_nothing(predictions, tmp_path):
    records = evaluate_predictions(predictions, TASKS).assign(method="MTSCon")
    write_report(
        records,
        predictions.assign(method="MTSCon"),
        tmp_path / "report.html",
        tasks=TASKS,
        title="A <title>",
        phantom=True,
        metadata={"config": "<i>a&b.yaml", "patients": 130},
    )
    page = Page()
    page.feed((tmp_path / "report.html").read_text(encoding="utf-8"))
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    # Two sets of each: a confusion matrix and a calibration curve per exam and per clip, and one
    # figure of exam values.
    assert len(images) == 2 * 5
    sources = [
        attributes[name]
        for _, attributes in page.tags
        for name in ("src", "href")
        if name in attributes
    ]
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not {"script", "link"} & {tag for tag, _ in page.tags}
    assert page.text.count(PHANTOM_NOTICE) == 1 + 2 * 4  # at the top, under each set's tables
    for fact in (
        "A <title>",
        "<i>a&b.yaml",
        "130",
        "main set, 120 exams of 60 patients",
        "margin_mae",
    ):
        assert fact in page.text
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
