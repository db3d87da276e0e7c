"""The rules of the house: one direction of imports, one door for each heavy library, files that fit
a head.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import draw_rooms
import pytest
from draw_rooms import ROOMS
from p1_tasks import TASKS

import bsou_dist
from bsou_dist.tasks.kinds.make import KINDS

PACKAGE = Path(bsou_dist.__file__).parent
ROOT = PACKAGE.parent
FILES = sorted(PACKAGE.rglob("*.py"))

DOORS: dict[str, tuple[str, ...]] = {
    "nvidia.dali": ("feed/decode/dali.py",),
    "deepspeed": ("engine/deepspeed_engine.py",),
    "mlflow": ("tracking/mlflow_store.py",),
    "submitit": ("cluster/",),
    "matplotlib": ("report/",),
    # Two doors, for two things that have nothing in common: image encoders, and LAMB and LARS.
    "timm": ("model/encoders/timm_frames.py", "engine/optim/timm_optimizers.py"),
    "safetensors": ("model/weight_file.py",),
}
"""The files or folders that may import a library; each has one for all that it is used for."""
WITH_TORCH = ("feed", "model", "objective", "engine", "predict", "experiment")
TORCHLESS = tuple(f"{room}/" for room in ROOMS if room not in WITH_TORCH)
ROOMS_OF_KINDS = (
    "tasks/kinds/",
    "model/heads/",
    "objective/kinds/",
    "evaluation/kinds/",
    "report/kinds/",
)
TASKLESS = ("objective/", "engine/", "feed/", "model/", "predict/", "evaluation/", "report/")
NEUTRAL = {"sweep", "multiple"}
"""A sweep is also a part of every clip's identity, and 'multiple' is plain English."""

MAX_LINES = 400
TESTS = ROOT / "tests"
TESTS_OF_ROOMS = sorted(path for room in ROOMS for path in (TESTS / room).rglob("test_*.py"))
DOCUMENTS = [
    path for pattern in ("*.md", "docs/*.md", "docker/*.md") for path in sorted(ROOT.glob(pattern))
]


def imports(source: str, package: str) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything that a module of `package` imports, lazily and for type
    checkers included.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = (
                package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            )
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def is_behind(place: str, doors: tuple[str, ...]) -> bool:
    return any(place.startswith(door) if door.endswith("/") else place == door for door in doors)


def broken_rules(place: str, source: str) -> list[str]:
    """What a file at `place`, relative to the package, does against the import rules."""
    parts = Path(place).with_suffix("").parts
    room = parts[0]
    broken = []
    for line, name in imports(source, ".".join(["bsou_dist", *parts[:-1]])):
        where = f"{place}:{line} imports {name}"
        if is_within(name, "bsou_dist") and room in ROOMS:
            other = name.split(".")[1] if "." in name else ""
            if other in ROOMS and ROOMS.index(other) > ROOMS.index(room):
                broken.append(f"{where}, but {other} comes after {room}")
        broken += [
            f"{where}; the door to {library} is {' or '.join(doors)}"
            for library, doors in DOORS.items()
            if is_within(name, library) and not is_behind(place, doors)
        ]
        if is_within(name, "torch") and place.startswith(TORCHLESS):
            broken.append(f"{where}; {room}/ must run without torch")
    return broken


def tasks_named(source: str) -> set[str]:
    """The clinical tasks that a source names as an identifier or a string; prose in docstrings is
    free.
    """
    named: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        named |= {value for _, value in ast.iter_fields(node) if isinstance(value, str)}
    return named & (TASKS.keys() - NEUTRAL)


def broken_links(text: str, folder: Path) -> list[str]:
    """Relative links of a Markdown text that lead nowhere, seen from its folder."""
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    return [
        target
        for target in targets
        if not re.match(r"[a-z]+:|#", target) and not (folder / target.split("#")[0]).exists()
    ]


def place_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def test_every_room_is_in_the_list() -> None:
    there = {Path(place_of(path)).with_suffix("").parts[0] for path in FILES} - {"__init__"}
    assert there <= set(ROOMS)


@pytest.mark.parametrize("path", FILES, ids=place_of)
def test_imports_go_one_way_and_through_the_doors(path: Path) -> None:
    assert broken_rules(place_of(path), path.read_text()) == []


@pytest.mark.parametrize(
    ("place", "source", "rule"),
    [
        (
            "cohort/table.py",
            "from bsou_dist.shards.codec import write",
            "shards comes after cohort",
        ),
        ("cohort/table.py", "def f():\n    import bsou_dist.cli", "cli comes after cohort"),
        ("common/errors.py", "from bsou_dist import tasks", "tasks comes after common"),
        ("shards/deep/pack.py", "from ...feed import order", "feed comes after shards"),
        ("objective/mtce.py", "from ..engine import loop", "engine comes after objective"),
        ("tracking/compare.py", "from mlflow import MlflowClient", "the door to mlflow"),
        ("feed/loader.py", "from nvidia import dali", "the door to nvidia.dali"),
        ("feed/loader.py", "import nvidia.dali.fn as fn", "the door to nvidia.dali"),
        ("engine/deepspeed_engine_extra.py", "import deepspeed", "the door to deepspeed"),
        ("cli.py", "from submitit.helpers import Checkpointable", "the door to submitit"),
        ("model/network.py", "import timm", "the door to timm"),
        ("evaluation/metrics.py", "from torch import nn", "without torch"),
    ],
)
def test_a_planted_import_is_caught(place: str, source: str, rule: str) -> None:
    [found] = broken_rules(place, source)
    assert rule in found


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("cli.py", "from bsou_dist.cohort import table"),
        (
            "cohort/table.py",
            "from . import columns\nfrom .columns import NAMES\nfrom bsou_dist.common.errors "
            "import InputError",
        ),
        ("tracking/tracker.py", "import bsou_dist\nfrom bsou_dist import __version__"),
        ("feed/decode/dali.py", "from nvidia.dali import fn"),
        ("engine/deepspeed_engine.py", "import deepspeed"),
        ("cluster/submit.py", "import submitit"),
        ("model/heads.py", "import torch\nimport torchvision"),
        ("evaluation/metrics.py", "import torchmetrics_is_another_name"),
    ],
)
def test_what_is_allowed_is_let_through(place: str, source: str) -> None:
    assert broken_rules(place, source) == []


def module_of(path: Path) -> str:
    """Dotted name of a file of the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def test_rooms_without_torch_run_without_it() -> None:
    """The commands' own files do not import torch, but the work that lies beside them does."""
    rooms = tuple(room for room in TORCHLESS if room != "commands/")
    modules = [module_of(path) for path in FILES if place_of(path).startswith(rooms)]
    program = (
        f"import importlib, sys\nfor name in {modules}:\n    importlib.import_module(name)\n"
        "    assert 'torch' not in sys.modules, name"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def kinds_named(source: str) -> set[str]:
    """Kinds of task that a source names in a string; prose in docstrings is free."""
    strings = {
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return strings & KINDS.keys()


@pytest.mark.parametrize("path", FILES, ids=place_of)
def test_only_the_files_of_kinds_know_them(path: Path) -> None:
    if not place_of(path).startswith(ROOMS_OF_KINDS):
        assert kinds_named(path.read_text()) == set()


def test_a_planted_kind_is_caught() -> None:
    assert kinds_named('if task.kind == "regression":\n    pass') == {"regression"}
    assert kinds_named('"""A regression."""\nregression = kind') == set()


FOLDERS = sorted({path.parent for path in FILES} - {PACKAGE})


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: place_of(folder))
def test_every_room_has_a_table_of_its_files(folder: Path) -> None:
    """The table's first column holds each module and folder once, and nothing that is not there."""
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    listed = re.findall(r"^\| `([\w./]+)` \|", text, re.MULTILINE)
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    below = {f"{path.name}/" for path in folder.iterdir() if (path / "__init__.py").is_file()}
    others = [name for name in listed if name not in modules | below]
    assert modules | below <= set(listed), "files that the table lacks"
    assert all((folder / name.rstrip("/")).exists() for name in others)
    assert len(listed) == len(set(listed))


def test_the_picture_of_the_rooms_is_what_the_code_says() -> None:
    assert draw_rooms.PICTURE.read_text(encoding="utf-8") == draw_rooms.draw(), (
        "run: python docs/draw_rooms.py"
    )


def circle_among(files: dict[str, str]) -> list[str]:
    """Modules that import one another in a circle, the first one again at the end; [] without one.

    `files` holds sources by dotted module name. An import inside a function counts too.
    """
    uses: dict[str, set[str]] = {}
    for module, source in files.items():
        package = module.rpartition(".")[0]
        names = {name for _, name in imports(source, package)}
        names |= {name.rpartition(".")[0] for name in names}
        uses[module] = names & files.keys() - {module}
    done: set[str] = set()

    def walk(module: str, way: list[str]) -> list[str]:
        if module in way:
            return [*way[way.index(module) :], module]
        if module in done:
            return []
        for other in sorted(uses[module]):
            if circle := walk(other, [*way, module]):
                return circle
        done.add(module)
        return []

    return next((circle for module in sorted(files) if (circle := walk(module, []))), [])


def test_no_file_imports_itself_by_way_of_others() -> None:
    files = {module_of(path): path.read_text() for path in FILES if path.name != "__init__.py"}
    assert circle_among(files) == []


def test_a_planted_circle_is_caught() -> None:
    files = {
        "p.a": "from p.b import f",
        "p.b": "def f():\n    from p import c",
        "p.c": "import p.a",
    }
    assert circle_among(files) == ["p.a", "p.b", "p.c", "p.a"]
    assert circle_among(files | {"p.c": "import os"}) == []


@pytest.mark.parametrize(
    "path", TESTS_OF_ROOMS, ids=lambda path: path.relative_to(TESTS).as_posix()
)
def test_a_test_is_named_after_the_module_that_it_tests(path: Path) -> None:
    """`tests/feed/order/test_make_balanced.py` tests `bsou_dist/feed/order/make.py`."""
    folder = PACKAGE / path.parent.relative_to(TESTS)
    modules = [module.stem for module in folder.glob("*.py")]
    name = path.stem.removeprefix("test_")
    assert any(name == module or name.startswith(f"{module}_") for module in modules), (
        f"{folder.relative_to(ROOT)} has no module that {path.name} is named after"
    )


@pytest.mark.parametrize(
    "path", [path for path in FILES if place_of(path).startswith(TASKLESS)], ids=place_of
)
def test_objective_and_engine_name_no_clinical_task(path: Path) -> None:
    assert tasks_named(path.read_text()) == set()


def test_a_planted_task_is_caught() -> None:
    source = (
        '"""The placenta is mentioned."""\nif name == "ga_bin":\n    loss = losses.dvp(sweep)\n'
    )
    assert tasks_named(source) == {"ga_bin", "dvp"}
    assert tasks_named("def presentation(placenta): pass") == {"presentation", "placenta"}
    assert tasks_named("f(ga=1)") == {"ga"}


@pytest.mark.parametrize("path", FILES, ids=place_of)
def test_files_fit_a_head(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= MAX_LINES, (
        f"{place_of(path)} has {lines} lines; split it by what its parts hold"
    )


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_in_the_documents_lead_somewhere(path: Path) -> None:
    assert broken_links(path.read_text(), path.parent) == []


def test_a_broken_link_is_caught(tmp_path: Path) -> None:
    (tmp_path / "here.md").touch()
    text = (
        "[a](here.md) [b](here.md#part) [c](#part) [d](https://example.org/x) ![e](gone.png) "
        "[f](../gone/)"
    )
    assert broken_links(text, tmp_path) == ["gone.png", "../gone/"]
