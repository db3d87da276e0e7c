"""YAML within limits, beside PyYAML's own reading."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from bsou_dist.common.bounded_yaml import MAX_BYTES, MAX_DEPTH, BadYaml, read_yaml, read_yaml_file
from bsou_dist.common.errors import InputError

ROOT = Path(__file__).parents[2]
READY_FILES = sorted([*ROOT.glob("configs/*.yaml"), *ROOT.glob("bsou_dist/**/*.yaml")])


@pytest.mark.parametrize("path", READY_FILES, ids=lambda path: path.name)
def test_ready_files_are_read_as_pyyaml_reads_them(path: Path) -> None:
    assert read_yaml_file(path, "config") == yaml.safe_load(path.read_text())


@pytest.mark.parametrize(
    "text",
    ["", "3", "a: &x {b: 1}\nc: *x\nd: {<<: *x, b: 2}", "- [1, 2.5, null, yes]\n- 2024-02-29"],
)
def test_plain_yaml_is_read_as_pyyaml_reads_it(text: str) -> None:
    assert read_yaml(text) == yaml.safe_load(text)


def alias_bomb(item: str) -> str:
    """Ten levels of ten aliases each: ten thousand million values."""
    levels = [f"a0: &a0 {{x: {item}}}"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 11)]
    return "\n".join(levels)


MERGE_BOMB = "a0: &a0 {x: 1}\n" + "\n".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 11)
)
ALIAS_CHAIN = "a0: &a0 [1]\n" + "\n".join(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 2000))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (alias_bomb("lol"), "stands for more than"),
        (MERGE_BOMB, "stands for more than"),
        (ALIAS_CHAIN, f"nested more than {MAX_DEPTH} deep"),
        ("[" * 100_000, f"line 1: sections are nested more than {MAX_DEPTH} deep"),
        ("- " * 100_000, "nested more than"),
        ("{a: " * 100_000, "nested more than"),
        ("a: &a [*a]", "line 1: a section holds itself"),
        ("a: 1\nb: 2\na: 3", "line 3: this key stands in the section before"),
        ("a: " + "9" * 5000, "a number or date that is none"),
        ("a: 2024-13-45", "a number or date that is none"),
        ("a: \x00", "characters that YAML does not allow"),
        ("!!python/object/apply:os.system [ls]", "line 1, column 1: could not determine"),
    ],
)
def test_what_is_beyond_the_limits_is_refused_with_its_place(text: str, said: str) -> None:
    with pytest.raises(BadYaml) as refused:
        read_yaml(text)
    assert said in str(refused.value)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    "text",
    [
        "patient_id,name\n1,Erika: Mustermann: 1990",
        "*Mustermann, Erika",
        "name: [Mustermann",
        "Mustermann: !Mustermann x",
        "name: 'Mustermann",
        "Mustermann: 1\nMustermann: 2",
    ],
)
def test_a_refusal_does_not_repeat_what_the_file_holds(tmp_path: Path, text: str) -> None:
    path = tmp_path / "map.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match="is not YAML") as refused:
        read_yaml_file(path, "column map")
    assert "Mustermann" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_text("a: 1\n" + "#" * MAX_BYTES)
    with pytest.raises(InputError, match="has more than 512 kB"):
        read_yaml_file(path, "config")
