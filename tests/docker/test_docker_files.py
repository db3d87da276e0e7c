"""What can be held true of the container files without building an image."""

from __future__ import annotations

import json
import re
import shlex
import socket
import sqlite3
import subprocess
import sys
import tarfile
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from fnmatch import fnmatchcase
from importlib.metadata import distribution
from pathlib import Path
from urllib.parse import urlsplit

import list_licences
import pytest
import yaml
from mlflow import MlflowClient
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bsou_dist.tracking.mlflow_store import local_uri

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
IMAGES = ["Dockerfile", "mlflow.Dockerfile"]
INSTALLERS = {"pip", "setuptools", "wheel"}
"""They come with Python itself, each image with its own."""


def instructions(name: str) -> list[tuple[str, str]]:
    """Keyword and rest of each instruction of a Dockerfile, continued lines joined."""
    text = re.sub(r"^#.*\n", "", (DOCKER / name).read_text(), flags=re.M).replace("\\\n", " ")
    return [
        (keyword, " ".join(rest.split()))
        for keyword, _, rest in (
            line.strip().partition(" ") for line in text.splitlines() if line.strip()
        )
    ]


def of_kind(name: str, keyword: str) -> list[str]:
    return [rest for word, rest in instructions(name) if word == keyword]


def copied(name: str) -> set[str]:
    return {source for rest in of_kind(name, "COPY") for source in rest.split()[:-1]}


def admitted(path: str, name: str) -> bool:
    """Whether a Dockerfile's ignore file lets a path into the build: the last pattern that fits it
    or a parent says.
    """
    parts = path.split("/")
    parents = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    answer = True
    for line in (DOCKER / f"{name}.dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        if pattern.startswith("**/"):
            fits = any(fnmatchcase(part, pattern.removeprefix("**/")) for part in parts)
        else:
            fits = any(
                fnmatchcase(parent, pattern)
                for parent in parents
                if parent.count("/") == pattern.count("/")
            )
        if fits and not line.startswith("#"):
            answer = line.startswith("!")
    return answer


@pytest.mark.parametrize("name", IMAGES)
def test_what_is_copied_is_there_and_let_in(name: str) -> None:
    assert copied(name)
    for source in copied(name):
        files = (
            [ROOT / source]
            if (ROOT / source).is_file()
            else [
                path
                for path in (ROOT / source).rglob("*")
                if path.is_file() and "__pycache__" not in path.parts
            ]
        )
        assert files, f"{source} is not there"
        shut_out = [path for path in files if not admitted(path.relative_to(ROOT).as_posix(), name)]
        assert not shut_out


@pytest.mark.parametrize(
    "path",
    [
        "demo/shards.private/pseudonym.key",
        "cohort.csv",
        "runs/mtscon/run.yaml",
        ".env",
        ".git/config",
        ".venv/pyvenv.cfg",
        "shards/000000.tar",
        "docker/compose.yaml",
        "bsou_dist/shards/__pycache__/pack.pyc",
    ],
)
@pytest.mark.parametrize("name", IMAGES)
def test_nothing_else_gets_into_a_build(name: str, path: str) -> None:
    assert not admitted(path, name)


def test_apptainers_recipe_is_the_dockerfile_in_other_words() -> None:
    recipe = (DOCKER / "bsou.def").read_text()
    files = re.findall(r"^    (\S+) /opt/bsou-dist/(\S+)$", recipe, flags=re.M)
    assert all(source == target for source, target in files)
    assert {source.rstrip("/") for source, _ in files} == {
        source
        for rest in of_kind("Dockerfile", "COPY")
        for *sources, target in [rest.split()]
        for source in sources
    }
    base = dict(rest.split("=", 1) for rest in of_kind("Dockerfile", "ARG"))["BASE_IMAGE"]
    assert f"From: {base}\n" in recipe
    commands = " && ".join(of_kind("Dockerfile", "RUN"))
    for command in re.findall(r"^    ((?:apt-get|pip|python docker/).*)$", recipe, flags=re.M):
        assert " ".join(command.split()) in commands


@pytest.mark.parametrize("name", IMAGES)
def test_images_run_as_nobody_in_particular_and_on_a_pinned_base(name: str) -> None:
    assert of_kind(name, "USER")[-1] == "10001:10001"
    assert re.fullmatch(r"BASE_IMAGE=python:3\.\d+\.\d+-slim-\w+", of_kind(name, "ARG")[0])
    assert all(
        any(option in command for option in ("--constraint", "--no-deps", "--require-hashes"))
        for rest in of_kind(name, "RUN")
        for command in rest.split("&&")
        if "pip install" in command
    )


def required() -> list[str]:
    """What the project requires in an image."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["cuda13"]]


def test_requirements_are_those_of_the_project() -> None:
    done = subprocess.run(
        [sys.executable, DOCKER / "requirements.py", ROOT / "pyproject.toml"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == required()


def test_hashes_take_the_place_of_what_the_project_requires(tmp_path: Path) -> None:
    found = [
        {
            "metadata": {"name": name, "version": version},
            "download_info": {"archive_info": {"hashes": {"sha256": sha256}}},
        }
        for name, version, sha256 in (("one", "2.0", "b1"), ("Four_Words.in.one", "1.0", "a2"))
    ]
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"install": found}))
    printed = subprocess.run(
        [sys.executable, DOCKER / "hashes.py", report], capture_output=True, text=True, check=True
    ).stdout
    expected = ["four-words-in-one==1.0 --hash=sha256:a2", "one==2.0 --hash=sha256:b1"]
    assert printed.splitlines()[1:] == expected
    for hashes, lines in (
        (printed, expected),
        ("# none\n", required()),
    ):
        (tmp_path / "hashes.txt").write_text(hashes)
        command = [DOCKER / "requirements.py", ROOT / "pyproject.toml", tmp_path / "hashes.txt"]
        done = subprocess.run(
            [sys.executable, *command], capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines() == lines


@pytest.mark.parametrize("path", ["hashes.txt", "docker/mlflow-hashes.txt"])
def test_hashes_are_of_the_versions_that_the_tests_run_with(path: str) -> None:
    lines = [line for line in (ROOT / path).read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==\S+ --hash=sha256:[0-9a-f]{64}", line) for line in lines)
    pinned = {line.split()[0] for line in lines}
    tested = set()
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        name, _, version = line.partition("==")
        tested.add(f"{canonicalize_name(name)}=={version}")
    assert pinned <= tested
    names = {pin.split("==")[0] for pin in pinned}
    wanted = {Requirement(line).name for line in required()} if path == "hashes.txt" else {"mlflow"}
    assert wanted <= names


def test_the_page_of_licences_is_that_of_what_is_installed() -> None:
    page = (ROOT / "docs" / "licences.md").read_text()
    assert page == list_licences.page()
    assert "| av | x264 | GPL-2.0-or-later |" in page
    assert "unknown" not in page


def test_all_that_is_installed_is_pinned_to_what_the_tests_run_with() -> None:
    """An image of next year must not hold what nobody has tested."""
    pinned = {
        canonicalize_name(requirement.name): str(requirement.specifier)
        for requirement in map(Requirement, (ROOT / "constraints.txt").read_text().split())
    }
    open_, seen = [Requirement("bsou-dist[cuda13]")], set()
    while open_:
        requirement = open_.pop()
        found = distribution(requirement.name)
        here = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if here in seen:
            continue
        seen.add(here)
        open_ += [
            one
            for one in map(Requirement, found.requires or [])
            if one.marker is None
            or any(one.marker.evaluate({"extra": extra}) for extra in ("", *requirement.extras))
        ]
        if here[0] not in {"bsou-dist", *INSTALLERS}:
            assert pinned.get(here[0]) == f"=={found.version}", (
                f"{requirement.name} in constraints.txt"
            )
    assert len(seen) > 50


def test_the_server_answers_on_this_machine_alone_and_keeps_its_store() -> None:
    compose = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    server = compose["services"]["mlflow"]
    assert server["ports"] == ["127.0.0.1:5000:5000"]
    assert (DOCKER / server["build"]["context"] / server["build"]["dockerfile"]).is_file()
    [(volume, place)] = [mount.split(":") for mount in server["volumes"]]
    assert volume in compose["volumes"]
    command = json.loads(of_kind("mlflow.Dockerfile", "CMD")[0])
    for option in ("--backend-store-uri", "--artifacts-destination"):
        assert command[command.index(option) + 1].removeprefix("sqlite:///").startswith(f"{place}/")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Process and address of the server of mlflow.Dockerfile, on another port and with its store
    under `tmp_path`.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = str(listener.getsockname()[1])
    command = [
        word.replace("/store", f"{tmp_path}/store").replace("5000", port)
        for word in json.loads(of_kind("mlflow.Dockerfile", "CMD")[0])
    ]
    (tmp_path / "store").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    yield process, f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(120)


def is_listening(address: str) -> bool:
    """Ask without a Python of its own, which takes the processor from a server that starts."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", urlsplit(address).port)) == 0


@pytest.mark.slow
def test_the_server_starts_is_healthy_and_its_backup_is_a_store(
    server: tuple[subprocess.Popen[bytes], str], tmp_path: Path
) -> None:
    process, address = server
    health = shlex.split(
        of_kind("mlflow.Dockerfile", "HEALTHCHECK")[0].partition(" CMD ")[2].strip("[]")
    )
    check = [sys.executable, "-c", health[-1].rstrip(",").replace("http://127.0.0.1:5000", address)]
    deadline = time.monotonic() + 300
    while not is_listening(address) or subprocess.run(check, check=False).returncode:
        assert process.poll() is None, "the server has ended"
        assert time.monotonic() < deadline, "the server is not healthy"
        time.sleep(0.5)
    client = MlflowClient(tracking_uri=address)
    run = client.create_run(client.create_experiment("kept"))
    client.log_metric(run.info.run_id, "loss", 0.5)
    client.log_text(run.info.run_id, "some text", "note.txt")
    stranger = urllib.request.Request(address, headers={"Host": "example.org"})
    with pytest.raises(urllib.error.HTTPError):  # what a page in a browser could otherwise ask for
        urllib.request.urlopen(stranger, timeout=30)

    with sqlite3.connect(tmp_path / "store/mlflow.db") as busy:
        busy.execute("begin immediate")  # a run is being written
        with (tmp_path / "backup.tar").open("wb") as file:
            subprocess.run(
                [sys.executable, DOCKER / "backup.py", tmp_path / "store"],
                stdout=file,
                check=True,
                timeout=60,
            )
    restored = tmp_path / "restored"
    with tarfile.open(tmp_path / "backup.tar") as tar:
        tar.extractall(restored, filter="data")
    again = MlflowClient(tracking_uri=local_uri(restored))
    [found] = again.search_runs([again.get_experiment_by_name("kept").experiment_id])
    assert found.data.metrics == {"loss": 0.5}
    assert [path.read_text() for path in restored.rglob("note.txt")] == ["some text"]
