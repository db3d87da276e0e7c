"""What files and names that somebody else made must not be able to do; docs/security.md says it in
words.
"""

from __future__ import annotations

import ast
import io
import json
import os
import pickle
import shlex
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from p1_tasks import TASKS

from bsou_dist.cli import main
from bsou_dist.common.errors import InputError
from bsou_dist.engine.checkpoint import load_checkpoint
from bsou_dist.inspection.verify import verify
from bsou_dist.model.encoder import EncoderConfig, build_encoder
from bsou_dist.report.html_report import write_report
from bsou_dist.report.method_table import method_table
from bsou_dist.shards.codec import encode_frames
from bsou_dist.shards.manifest import manifest_of, read_manifest, write_manifest
from bsou_dist.sources.raw_clip import UnreadableClip
from bsou_dist.sources.read_clip import read_clip
from bsou_dist.tracking.mlflow_store import check_uri, local_uri
from bsou_dist.tracking.mlflow_tracker import MlflowTracker, resend

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path for folder in ("bsou_dist", "launch") for path in (ROOT / folder).rglob("*.py")
)
NAMES = [
    "it's $(touch pwned) `touch pwned`; touch pwned & %41 100%",
    '<script>alert("1")</script>\n übung #1 {x: [*]} what?mode=ro',
]
"""Folder and experiment names; two that together hold what shells, YAML, HTML and URLs treat as
their own.
"""

FORBIDDEN = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "os.system",
    "os.popen",
    "pickle.load",
    "pickle.loads",
    "pickle.Unpickler",
    "cloudpickle.load",
    "cloudpickle.loads",
    "joblib.load",
    "marshal.load",
    "marshal.loads",
    "shelve.open",
    "pandas.read_pickle",
    "yaml.load",
    "yaml.load_all",
    "yaml.unsafe_load",
    "yaml.full_load",
    "subprocess.getoutput",
    "subprocess.getstatusoutput",
    "torch.hub.load",
    "shutil.unpack_archive",
    "torch.jit.load",
    "torch.package.PackageImporter",
    "mlflow.pytorch.load_model",
    "webdataset.WebDataset",
}  # unpickles '.pyd' members, and runs a 'pipe:' address in a shell
MUST_SAY = {"torch.load": ("weights_only", True), "numpy.load": ("allow_pickle", False)}


def dangers(source: str) -> list[str]:
    """Calls in a Python source that run code out of data, with their lines."""
    tree = ast.parse(source)
    full: dict[str, str] = {}  # what a name in this file stands for
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            full |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom):
            full |= {
                alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names
            }
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        head, _, rest = ast.unparse(node.func).partition(".")
        name = ".".join([full.get(head, head), *([rest] if rest else [])])
        said = {keyword.arg: getattr(keyword.value, "value", None) for keyword in node.keywords}
        of_text = rest.endswith("str.extract")  # pandas
        if name in FORBIDDEN or (
            rest.rpartition(".")[2] in ("extractall", "extract") and not of_text
        ):
            found.append(f"line {node.lineno}: {name}")
        elif name in MUST_SAY and said.get(MUST_SAY[name][0]) is not MUST_SAY[name][1]:
            found.append(
                f"line {node.lineno}: {name} without {MUST_SAY[name][0]}={MUST_SAY[name][1]}"
            )
        elif said.get("shell", False) is not False:
            found.append(f"line {node.lineno}: {name} with a shell")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_source_runs_code_out_of_data(path: Path) -> None:
    assert dangers(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load(path)",
        "import torch\ntorch.load(path, weights_only=False)",
        "from torch import load\nload(path, weights_only=flag)",
        "import torch as t\nt.load(path, 'cpu')",
        "import numpy as np\nnp.load(path)",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "import pickle\npickle.loads(data)",
        "from pickle import Unpickler\nUnpickler(file).load()",
        "import pandas as pd\npd.read_pickle(path)",
        "import yaml\nyaml.load(text, yaml.SafeLoader)",
        "eval(text)",
        "import os\nos.system(text)",
        "import subprocess\nsubprocess.run(text, shell=True)",
        "import subprocess\nsubprocess.Popen(text, shell=wanted)",
        "with tarfile.open(path) as tar:\n    tar.extractall(folder)",
        "import webdataset as wds\nwds.WebDataset(address)",
    ],
)
def test_a_planted_danger_is_caught(source: str) -> None:
    assert len(dangers(source)) == 1


def test_what_is_safe_is_let_through() -> None:
    assert (
        dangers(
            "import torch, yaml, subprocess, re, numpy as np\ntorch.load(p, weights_only=True)\n"
            "np.load(p, allow_pickle=False)\nyaml.safe_load(t)\nsubprocess.run(['git'])\n"
            "net.eval()\n"
            "re.compile('x')\njson.load(f)\nengine.load(p)"
        )
        == []
    )


class Touch:
    """Unpickled, it makes a file: what an attacker's pickle would do."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.path),)  # type: ignore[return-value]


@pytest.fixture
def pwned(tmp_path: Path) -> Path:
    """What must not be there at the end."""
    path = tmp_path / "pwned"
    pickle.loads(pickle.dumps(Touch(path)))
    path.rmdir()  # or the payload would not work, and nothing be shown
    return path


def write_pickle(path: Path, kind: str, payload: object) -> Path:
    content = {"format": 1, "network": payload}
    if kind == "bare":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    return path


@pytest.mark.parametrize("kind", ["zip", "legacy", "bare"])
@pytest.mark.parametrize(
    "load",
    [
        load_checkpoint,
        lambda path: build_encoder(
            EncoderConfig(name="r3d_18", weights=str(path)), frames=4, size_px=32
        ),
    ],
    ids=["checkpoint", "weights"],
)
def test_a_pickle_in_place_of_weights_is_refused(
    load: Callable[[Path], object], kind: str, tmp_path: Path, pwned: Path
) -> None:
    path = write_pickle(tmp_path / "some.pt", kind, Touch(pwned))
    with pytest.raises(InputError, match=r"some\.pt"):
        load(path)
    assert not pwned.exists()


def test_a_pickle_in_a_clip_is_refused(tmp_path: Path, pwned: Path) -> None:
    np.savez(tmp_path / "clip.npz", frames=np.array([Touch(pwned)], dtype=object))
    with pytest.raises(UnreadableClip):
        read_clip(tmp_path / "clip.npz")
    assert not pwned.exists()


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a tiny phantom cohort and its shards."""
    folder = tmp_path_factory.mktemp("packed")
    assert (
        main(
            [
                "phantom",
                str(folder / "cohort"),
                "--format",
                "npz",
                "--workers",
                "1",
                "patients=16",
                "frames=6",
                "size_px=32",
                "balanced=true",
            ]
        )
        == 0
    )
    assert (
        main(
            [
                "pack",
                str(folder / "cohort/cohort.csv"),
                str(folder / "shards"),
                "--workers",
                "1",
                "prepare.size_px=32",
            ]
        )
        == 0
    )
    return folder


@pytest.fixture(params=NAMES, ids=["shell", "markup"])
def home(request: pytest.FixtureRequest, packed: Path, tmp_path: Path) -> Path:
    """A folder of that name with shards, cohort table and a small run's `config.yaml`."""
    home = tmp_path / request.param.replace("/", "∕")  # the one character that a name cannot have
    for part in ("shards", "shards.private", "cohort"):
        shutil.copytree(packed / part, home / part, ignore=shutil.ignore_patterns("clips"))
    config = {
        "name": "small",
        "output": str(home / "runs"),
        "data": {
            "shards": str(home / "shards"),
            "cohort": str(home / "cohort/cohort.csv"),
            "phantom": True,
            "splits": {
                "stage1": {"train": 4, "valid": 2},
                "stage2": {"train": 4, "valid": 3, "test": 3},
            },
        },
        "feed": {"frames": 4, "size_px": 32, "decoder": "reference"},
        "encoder": {"name": "r3d_small", "weights": "none", "norm": "group"},
        "engine": {"name": "ddp"},
        "tracking": {"experiment": request.param},
        "pretrain": {"global_batch": 8, "epochs": 1, "optim": {"learning_rate": 1e-3}},
        "finetune": {"tasks": ["placenta"], "encoder": "frozen", "epochs": 1, "global_batch": 4},
    }
    (home / "config.yaml").write_text(yaml.safe_dump(config))
    return home


def elements(page: str) -> set[str]:
    """Names of a page's elements, as a browser would find them."""
    names: set[str] = set()
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: names.add(tag)  # type: ignore[method-assign]
    parser.feed(page)
    return names


def test_a_run_in_a_folder_of_a_surprising_name(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trained, tracked, sent again, compared, moved to another such name and reported."""
    monkeypatch.chdir(home)  # where a 'touch pwned' would leave its mark
    experiment = yaml.safe_load((home / "config.yaml").read_text())["tracking"]["experiment"]
    run = home / "runs/small"
    assert main(["train", "config.yaml", f"output={home}/runs"]) == 0
    assert main(["resend", str(run)]) == 0
    capsys.readouterr()
    assert main(["compare", experiment, "--output", str(home / "runs")]) == 0
    assert capsys.readouterr().out.startswith((run / "table.txt").read_text().rstrip())
    assert len(list((home / "runs/artifacts").rglob("predictions.parquet"))) == 1
    moved = run.rename(run.with_name(home.name))
    assert main(["evaluate", str(moved)]) == 0
    assert main(["embed", str(moved), str(home / "shards"), str(home / "embeddings.parquet")]) == 0
    assert "script" not in elements((moved / "report.html").read_text())
    assert not list(home.rglob("pwned"))


@pytest.mark.parametrize("launcher", ["torchrun.sh", "deepspeed.sh"])
def test_launchers_hand_surprising_arguments_on_as_they_are(launcher: str, tmp_path: Path) -> None:
    folder = tmp_path / NAMES[0]
    (folder / "bsou_dist").mkdir(parents=True)
    (folder / "bsou_dist/__init__.py").touch()
    (folder / "bsou_dist/cli.py").write_text(
        "import os, sys\nopen('rank' + os.environ.get('RANK', '-check'), 'w').write(repr(sys.argv))"
    )
    arguments = [f"{name}.yaml" for name in NAMES] + ["name=*", "a=$HOME", "--help"]
    done = subprocess.run(
        [ROOT / "launch" / launcher, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHON": sys.executable, "NPROC": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert ast.literal_eval((folder / "rank0").read_text())[1:] == ["train", *arguments]
    assert not list(tmp_path.rglob("pwned"))


@pytest.mark.parametrize(
    "path", ["../secret.npz", "clips/../../secret.npz", "/etc/hostname", "C:\\secret.npz"]
)
def test_a_table_cannot_name_files_outside_its_folder(
    path: str, packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cohort").mkdir()
    shutil.copy(next((packed / "cohort/clips").iterdir()), tmp_path / "secret.npz")
    table = pd.read_csv(packed / "cohort/cohort.csv").head(2)
    table.loc[1, "path"] = path
    table.to_csv(tmp_path / "cohort/cohort.csv", index=False)
    assert main(["pack", str(tmp_path / "cohort/cohort.csv"), str(tmp_path / "shards")]) == 2
    assert "line 3, path" in capsys.readouterr().err
    assert not (tmp_path / "shards").exists()


def test_a_manifest_cannot_name_files_outside_its_folder(packed: Path, tmp_path: Path) -> None:
    shards = Path(shutil.copytree(packed / "shards", tmp_path / "shards"))
    shutil.copy(shards / "000000.tar", tmp_path)
    manifest = pd.read_parquet(shards / "manifest.parquet")
    for name in ("../000000.tar", f"{tmp_path}/000000.tar", ".."):
        rows = manifest.assign(shard=name).astype(object).replace({np.nan: None}).to_dict("records")
        write_manifest(manifest_of(rows), shards)
        with pytest.raises(InputError, match="in the folder itself"):
            read_manifest(shards)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("clip.mhd", "ElementDataFile = ../secret.raw"),
        ("clip.mha", "ElementDataFile = {folder}/secret.raw"),
        ("clip.mhd", "ElementDataFile = LIST\n../secret.raw"),
        ("clip.mhd", "ElementDataFile: ../%s.raw 1 1 1"),
        ("clip.nrrd", "data file: ../secret.raw\n\n"),
        ("clip.nrrd", "DATAFILE: {folder}/secret.raw\n\n"),
        ("clip.nrrd", "data file: LIST\n../secret.raw\n\n"),
    ],
)
def test_a_volume_cannot_take_its_pixels_from_elsewhere(
    name: str, text: str, tmp_path: Path
) -> None:
    (tmp_path / "secret.raw").write_bytes(b"secret  " * 1024)
    head = {
        "clip.nrrd": "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 32 32 8\nencoding: raw\n"
    }.get(name, "ObjectType = Image\nNDims = 3\nDimSize = 32 32 8\nElementType = MET_UCHAR\n")
    clip = tmp_path / "cohort" / name
    clip.parent.mkdir()
    clip.write_text(head + text.format(folder=tmp_path))
    with pytest.raises(UnreadableClip, match="other files than one beside it"):
        read_clip(clip)


def test_a_video_is_a_file_whatever_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data, _ = encode_frames(np.zeros((4, 32, 32), np.uint8), "h264", jpeg_quality=90, crf=20)
    for name in ("concat:a|b", "M:0 50%.mp4"):
        Path(name).write_bytes(data)
        assert read_clip(Path(name)).frames.shape[:3] == (4, 32, 32)


def test_a_spool_of_somebody_else_sends_no_file_from_elsewhere(tmp_path: Path) -> None:
    secret, folder = tmp_path / "secret.key", tmp_path / "run"
    secret.write_text("secret")
    folder.mkdir()
    (folder / "note.txt").write_text("note")
    start = {
        "event": "start",
        "run": "0a",
        "time_ms": 1,
        "name": "n",
        "experiment": "e",
        "parent": None,
        "params": {},
        "tags": {},
    }
    artifacts = [
        {"event": "artifact", "run": "0a", "time_ms": 1, "path": path}
        for path in ("note.txt", str(secret), "../secret.key")
    ]
    (folder / "tracking.jsonl").write_text(
        "".join(json.dumps(event) + "\n" for event in (start, *artifacts))
    )
    assert resend(folder / "tracking.jsonl", local_uri(tmp_path / "store")) == 2
    assert [path.name for path in (tmp_path / "store/artifacts").rglob("*.*")] == ["note.txt"]


def test_a_login_in_the_tracking_address_is_refused_and_not_repeated(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(["train", str(home / "config.yaml"), "tracking.uri=https://me:hush@example.org"]) == 2
    )
    assert "MLFLOW_TRACKING_PASSWORD" in (message := capsys.readouterr().err)
    assert "hush" not in message


@pytest.mark.parametrize(
    "uri",
    [
        "https://example.org?token=hush1",
        "https://example.org/#hush1",
        "https://example.org/mlflow/token=hush1",
        "https://example.org/mlflow;token=hush1",
        "https://hush1@example.org",
        "databricks://me:hush1@example.org",
        "https://example.org/dapihush1234567890abcdef",
        "https://[hush1",
    ],
)
def test_a_token_in_the_tracking_address_is_refused_and_not_repeated(uri: str) -> None:
    with pytest.raises(InputError, match="the tracking address") as refused:
        check_uri(uri)
    assert "hush1" not in str(refused.value)


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1:5000",
        "https://internal-a1b2c3d4e5f6a7b8c9d0e1f2-123.elb.amazonaws.com/research-2026/mlflow",
        "https://example.org/3f2504e0-4f89-11d3-9a0c-0305e82c3301/mlflow",
        "sqlite:////data/a%3Fb=c%23d/12345678901234567890abc/mlflow.db",
    ],
)
def test_a_tracking_address_without_a_secret_is_taken(uri: str) -> None:
    check_uri(uri)


def test_a_private_folder_that_others_may_write_to_is_refused(
    packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    private = tmp_path / "private"
    private.mkdir()
    private.chmod(0o775)
    out = tmp_path / "shards"
    table = str(packed / "cohort/cohort.csv")
    assert main(["pack", table, str(out), "--private", str(private)]) == 2
    assert f"chmod go-w {private}" in capsys.readouterr().err
    assert not out.exists()
    assert list(private.iterdir()) == []


def test_identities_are_their_owners_alone_in_a_folder_that_others_see(
    packed: Path, tmp_path: Path
) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o755)
    assert (
        main(
            [
                "pack",
                str(packed / "cohort/cohort.csv"),
                str(tmp_path / "shards"),
                "--private",
                str(private),
                "--workers",
                "1",
                "prepare.size_px=32",
            ]
        )
        == 0
    )
    assert {
        path.name: oct(path.stat().st_mode & 0o777) for path in private.iterdir()
    } == dict.fromkeys(("pseudonym.key", "keymap.parquet", "rejects.csv", "words.csv"), "0o600")


def test_the_address_that_a_run_ends_with_can_be_pasted_into_a_shell(tmp_path: Path) -> None:
    tracker = MlflowTracker(local_uri(tmp_path / NAMES[0]), "e", tmp_path / "tracking.jsonl")
    words = shlex.split(tracker.address)
    assert words[1:-1] == ["mlflow", "ui", "--backend-store-uri"]
    assert words[-1] == local_uri(tmp_path / NAMES[0])


def test_a_tar_member_that_leaves_the_folder_is_reported_and_written_nowhere(
    packed: Path, tmp_path: Path
) -> None:
    shards = Path(shutil.copytree(packed / "shards", tmp_path / "deep/shards"))
    with tarfile.open(shards / "000000.tar", "a") as tar:
        member = tarfile.TarInfo("../../pwned")
        member.size = 4
        tar.addfile(member, io.BytesIO(b"text"))
    report = verify(shards, progress=False)
    assert [fault.reason for fault in report.faults] == [
        "its members are not those of the manifest"
    ]
    assert {path.name for path in tmp_path.rglob("*")} == {
        "deep",
        "shards",
        *(path.name for path in (packed / "shards").iterdir()),
    }


def test_reports_and_tables_show_markup_as_text(tmp_path: Path) -> None:
    evil = '<script>alert("1")</script><img src=x onerror=alert(1)>'
    record = {
        "task": "placenta",
        "set": evil,
        "level": "exam",
        "value": 0.5,
        "low": 0.4,
        "high": 0.6,
        "n": 3,
        "n_patients": 3,
        "method": evil,
    }
    records = pd.DataFrame([record | {"metric": name} for name in ("accuracy", "macro_f1", evil)])
    predictions = pd.DataFrame(
        [
            {
                "task": "placenta",
                "level": "exam",
                "set": evil,
                "split": "test",
                "key": evil,
                "exam": evil,
                "study": evil,
                "patient": evil,
                "sweep": None,
                "label": 0.0,
                "prediction": 1.0,
                "variance": np.nan,
                "probabilities": [0.5, 0.5],
                "method": evil,
            }
        ]
    )
    tasks = {"placenta": TASKS["placenta"].model_copy(update={"group": evil})}
    write_report(
        records,
        predictions,
        tmp_path / "report.html",
        tasks=tasks,
        title=evil,
        phantom=False,
        metadata={evil: evil},
    )
    page = (tmp_path / "report.html").read_text()
    assert page.count("&lt;script&gt;") > 8  # it is shown in all these places
    assert "script" not in elements(page)
    assert "onerror" not in page.replace("img src=x onerror=alert(1)&gt;", "")
    assert "<script" not in method_table(records, tasks, set_name=evil, style="html")
