"""The one door to MLflow: runs written through a queue that training never waits for, and runs read
back.

Runs have ids of our own, kept in MLflow as a tag, because a run must have an id before any server
has answered. Sending the same event twice changes nothing, so an event can be tried again and a
whole spool can be sent again.
"""

from __future__ import annotations

import logging
import os
import shlex
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

from bsou_dist.common.errors import InputError
from bsou_dist.tracking.delivery import Delivery, Event, first_line, read_spool
from bsou_dist.tracking.tracker import TAG_CODE, Status, code_version, flatten

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)

TAG_RUN = "bsou.run"
TAG_PARENT = "bsou.parent"
MAX_PARAM_CHARS = 6000
STORES = ("sqlite:///", "http://", "https://")
"""How the address of a store begins."""

MAX_PARAMS_PER_CALL = 100
MAX_METRICS_PER_CALL = 1000

Item = TypeVar("Item")


def local_uri(folder: Path) -> str:
    """The default store: an SQLite file in `folder`, with the artifacts beside it."""
    path = str(folder.resolve() / "mlflow.db")
    return "sqlite:///" + path.replace("%", "%25").replace(
        "?", "%3F"
    )  # what SQLAlchemy would take for its own


def check_uri(uri: str) -> None:
    """InputError unless `uri` is the address of a store; one with a password is none, since
    addresses are recorded.
    """
    if not uri.startswith(STORES):
        raise InputError(
            f"tracking address is {uri!r}; allowed are 'sqlite:///PATH/mlflow.db' and the "
            "'http://' or "
            "'https://' address of an MLflow server"
        )
    if "@" in urlsplit(uri).netloc:
        raise InputError(
            "the tracking address holds a login, which would end up in logs and in MLflow itself; "
            "set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD in the environment instead"
        )


class MlflowTracker:
    """A `Tracker` that remembers in MLflow.

    A store that is down raises nothing, now or later: one warning is logged, attempts go on behind
    training, and `resend` sends the spool once the store is back.

    Args:
        uri: 'sqlite:///PATH' (see `local_uri`) or the 'http(s)://' address of an MLflow server.
        experiment: name of the MLflow experiment; made if it is not there.
        spool: the run's own log of everything that was recorded, one JSON object per line; appended
            to.
        wait_s: how long `finish` waits for a slow store, in seconds.
        retry_s: pause between two attempts to reach a store that is down, in seconds.

    Raises:
        InputError: `uri` is of another kind.
    """

    def __init__(
        self, uri: str, experiment: str, spool: Path, *, wait_s: float = 10.0, retry_s: float = 30.0
    ) -> None:
        self._store = _Store(uri)
        self._experiment = experiment
        self._folder = spool.parent.resolve()
        self._wait_s = wait_s
        self._run: str | None = None
        self._spool = spool
        self._sent_to: dict[str, int] = {}
        self._delivery = Delivery(
            spool, self._send, _is_hopeless, f"MLflow at {self._store.uri}", retry_s
        )

    @property
    def address(self) -> str:
        if self._store.database is None:
            return self._store.uri
        return (
            "MLFLOW_DISABLE_TELEMETRY=true mlflow ui --backend-store-uri "
            f"{shlex.quote(self._store.uri)}"
        )

    def start(
        self,
        name: str,
        *,
        parent: str | None,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        run: str | None = None,
    ) -> str:
        assert self._run is None, "finish the open run before starting another"
        self._run = run or uuid.uuid4().hex
        self._sent_to = _last_steps(self._spool, run) if run else {}
        self._put(
            "start",
            name=name,
            experiment=self._experiment,
            parent=parent,
            params=flatten(params),
            tags={TAG_CODE: code_version()} | {key: str(value) for key, value in tags.items()},
        )
        return self._run

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        # Steps that an interrupted run does again are on record already.
        new = {
            key: float(value)
            for key, value in values.items()
            if step is None or step > self._sent_to.get(key, -1)
        }
        if new:
            self._put("metrics", values=new, step=step)

    def artifact(self, path: Path) -> None:
        path, folder = path.resolve(), self._folder
        self._put(
            "artifact", path=str(path.relative_to(folder) if path.is_relative_to(folder) else path)
        )

    def finish(self, status: Status) -> None:
        self._put("finish", status=status)
        self._run = None
        self._delivery.wait(self._wait_s)

    def _send(self, event: Event) -> None:
        self._store.send(_placed(event, self._folder))

    def _put(self, kind: str, **content: Any) -> None:
        assert self._run is not None, "start a run first"
        self._delivery.put(
            {"event": kind, "run": self._run, "time_ms": time.time_ns() // 1_000_000, **content}
        )


def _last_steps(spool: Path, run: str) -> dict[str, int]:
    """The last step of every metric of a run in a spool."""
    steps: dict[str, int] = {}
    for event in read_spool(spool) if spool.is_file() else []:
        if event["event"] == "metrics" and event["run"] == run and event["step"] is not None:
            steps |= {key: max(event["step"], steps.get(key, -1)) for key in event["values"]}
    return steps


def resend(spool: Path, uri: str) -> int:
    """Send a whole spool to a store; what is there already stays as it is. Returns the number of
    events that it took.

    Send the spool of a stage 1 run before those of its children, which look for their parent in the
    store. Files outside the spool's folder are not sent: a spool that somebody else wrote could
    name any.

    Raises:
        InputError: there is no such spool, or the store is out of reach.
    """
    store = _Store(uri)
    folder = spool.parent.resolve()
    taken = 0
    for event in (_placed(event, folder) for event in read_spool(spool)):
        if event["event"] == "artifact" and not Path(event["path"]).resolve().is_relative_to(
            folder
        ):
            logger.warning("%s is outside %s and was not sent", event["path"], folder)
            continue
        try:
            store.send(event)
            taken += 1
        except Exception as error:
            if not _is_hopeless(event, error):
                raise InputError(
                    f"MLflow at {uri} is out of reach ({first_line(error)}); start it, then "
                    f"send {spool} again"
                ) from error
            logger.warning(
                "MLflow at %s did not take a %s event (%s)", uri, event["event"], first_line(error)
            )
    return taken


@dataclass(frozen=True)
class StoredRun:
    """A run as MLflow remembers it. `metrics` holds the last value of each key."""

    run_id: str
    name: str
    status: str
    started_ms: int
    tags: dict[str, str]
    metrics: dict[str, float]


def read_runs(uri: str, experiment: str) -> list[StoredRun]:
    """All runs of an experiment that were not deleted, newest first.

    Raises:
        InputError: no such store, a store out of reach, or no such experiment (the message names
            those there are).
    """
    store = _Store(uri)
    if store.database is not None and not store.database.is_file():
        raise InputError(
            f"no MLflow store at {store.database}; give the address of one that a run has written "
            "to"
        )
    try:
        client = store.client()
        found = client.get_experiment_by_name(experiment)
        if found is None or found.lifecycle_stage != "active":
            names = sorted(
                other.name for other in client.search_experiments() if other.name != "Default"
            )
            raise InputError(
                f"no experiment {experiment!r} in {uri}; it holds: {', '.join(names) or 'none'}"
            )
        return [
            StoredRun(
                run.data.tags.get(TAG_RUN, run.info.run_id),
                run.info.run_name,
                run.info.status,
                run.info.start_time,
                dict(run.data.tags),
                dict(run.data.metrics),
            )
            for run in _search(client, found.experiment_id, order_by=["attributes.start_time DESC"])
        ]
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"MLflow at {uri} is out of reach ({first_line(error)}); start it or mend the address"
        ) from error


class _Store:
    """One MLflow store and what we have learnt about it: the ids of its experiments and runs."""

    def __init__(self, uri: str) -> None:
        check_uri(uri)
        self.uri = uri.rstrip("/")
        path = unquote(uri.removeprefix("sqlite:///").partition("?")[0])
        self.database = Path(path) if uri.startswith("sqlite:///") else None
        self._client: MlflowClient | None = None
        self._experiments: dict[str, str] = {}
        self._runs: dict[str, str] = {}
        # here, in the caller's thread: two threads importing at once can deadlock
        _import_quietly()

    def client(self) -> MlflowClient:
        """Made at first use, because it already opens the database."""
        from mlflow import MlflowClient

        if self._client is None:
            if self.database is not None:
                self.database.parent.mkdir(parents=True, exist_ok=True)
            self._client = MlflowClient(tracking_uri=self.uri)
        return self._client

    def send(self, event: Event) -> None:
        """Bring one event into the store; doing so again changes nothing."""
        client = self.client()
        if event["event"] == "start":
            self._start(client, event)
            return
        run_id = self._run_id(event["run"])
        if run_id is None:
            raise LookupError(f"run {event['run']} is not in the store")
        if event["event"] == "metrics":
            self._metrics(client, run_id, event)
        elif event["event"] == "artifact":
            client.log_artifact(run_id, event["path"])
        else:
            client.set_terminated(run_id, event["status"], event["time_ms"])

    def _start(self, client: MlflowClient, event: Event) -> None:
        from mlflow.entities import Param

        run_id = self._run_id(event["run"])
        if run_id is not None:
            client.update_run(run_id, status="RUNNING")
        else:
            tags = event["tags"] | {TAG_RUN: event["run"]}
            if event["parent"] is not None:
                tags[TAG_PARENT] = event["parent"]
                if (parent_id := self._run_id(event["parent"])) is not None:
                    tags["mlflow.parentRunId"] = parent_id
            run = client.create_run(
                self._experiment_id(event["experiment"]), event["time_ms"], tags, event["name"]
            )
            self._runs[event["run"]] = run_id = run.info.run_id
        params = [Param(key, _cut(value)) for key, value in event["params"].items()]
        for some in _chunks(params, MAX_PARAMS_PER_CALL):
            client.log_batch(run_id, params=some)

    def _metrics(self, client: MlflowClient, run_id: str, event: Event) -> None:
        from mlflow.entities import Metric

        step = 0 if event["step"] is None else event["step"]
        metrics = [
            Metric(key, value, event["time_ms"], step) for key, value in event["values"].items()
        ]
        for some in _chunks(metrics, MAX_METRICS_PER_CALL):
            client.log_batch(run_id, metrics=some)

    def _run_id(self, run: str) -> str | None:
        """MLflow's id of one of our runs, of this process or another; None if the store has
        none.
        """
        if run not in self._runs:
            ids = [experiment.experiment_id for experiment in self.client().search_experiments()]
            for found in _search(self.client(), *ids, filter_string=f"tags.`{TAG_RUN}` = '{run}'"):
                self._runs[run] = found.info.run_id
        return self._runs.get(run)

    def _experiment_id(self, name: str) -> str:
        if name not in self._experiments:
            found = self.client().get_experiment_by_name(name)
            self._experiments[name] = (
                found.experiment_id if found is not None else self._create_experiment(name)
            )
        return self._experiments[name]

    def _create_experiment(self, name: str) -> str:
        artifacts = (
            None
            if self.database is None
            else (self.database.resolve().parent / "artifacts").as_uri()
        )
        return self.client().create_experiment(name, artifact_location=artifacts)


def _import_quietly() -> None:
    """Import MLflow so that it neither phones home nor chatters; a user's own settings of its
    requests are kept.
    """
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")  # seconds
    os.environ.setdefault(
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0"
    )  # we try again ourselves, without urllib3's warnings
    from mlflow.telemetry import set_telemetry_client

    set_telemetry_client()  # switches telemetry off even if somebody imported MLflow before us


def _search(client: MlflowClient, *experiment_ids: str, **query: Any) -> Iterator[Any]:
    token: str | None = None
    while True:
        page = client.search_runs(list(experiment_ids), page_token=token, **query)
        yield from page
        token = page.token
        if not token:
            return


def _is_hopeless(event: Event, error: Exception) -> bool:
    """Whether trying again is pointless, because the store has answered that it will not take this
    event.
    """
    from mlflow.exceptions import MlflowException

    # The events before an artifact have just arrived, so the store is up; one that cannot keep
    # files must not hold up the metrics behind them.
    if event["event"] == "artifact" or isinstance(error, LookupError):
        return True
    if not isinstance(error, MlflowException):
        return False
    status = error.get_http_status_code()
    return 400 <= status < 500 and status != 429  # 429: too many requests, come back later


def _placed(event: Event, folder: Path) -> Event:
    """An event as a store takes it: an artifact, which a spool names as seen from its own folder,
    as a whole path.
    """
    return event | {"path": str(folder / event["path"])} if event["event"] == "artifact" else event


def _chunks(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    return (items[first : first + size] for first in range(0, len(items), size))


def _cut(text: str) -> str:
    return text if len(text) <= MAX_PARAM_CHARS else text[: MAX_PARAM_CHARS - 1] + "…"
