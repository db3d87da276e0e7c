"""The one door to MLflow: events sent to a store, and runs read back from it.

Runs have ids of our own, kept in MLflow as a tag, because a run must have an id before any server
has answered. Sending the same event twice changes nothing, so an event can be tried again and a
whole spool can be sent again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from bsou_dist.common.errors import InputError
from bsou_dist.tracking.delivery import Event, first_line

if TYPE_CHECKING:
    from mlflow import MlflowClient

TAG_RUN = "bsou.run"
TAG_PARENT = "bsou.parent"

SQLITE = "sqlite:///"
STORES = (SQLITE, "http://", "https://")
"""How the address of a store begins."""

_WORD = re.compile(r"[A-Za-z0-9]+")
_TOKEN_CHARACTERS = 20  # more than a part of a UUID and most words have

# What MLflow's servers take in one call, and the characters of a parameter.
MAX_PARAM_CHARS = 6000
MAX_PARAMS_PER_CALL = 100
MAX_METRICS_PER_CALL = 1000


def local_uri(folder: Path) -> str:
    """Address of the default store: an SQLite file in `folder`, with the artifacts beside it."""
    path = str(folder.resolve() / "mlflow.db")
    # SQLAlchemy would take these for its own.
    escaped = path.replace("%", "%25").replace("?", "%3F")
    return SQLITE + escaped


def check_uri(uri: str) -> None:
    """Check that a text is the address of a store, and holds no secret, since it is recorded.

    Raises:
        InputError: it is of another kind, or holds a login or what may be a token; it is not
            repeated then.
    """
    if "://" in uri and not uri.startswith(SQLITE):
        _check_no_secret(uri)
    if not uri.startswith(STORES):
        raise InputError(
            f"tracking address is {uri!r}; allowed are 'sqlite:///PATH/mlflow.db' and the "
            "'http://' or 'https://' address of an MLflow server"
        )


def _check_no_secret(uri: str) -> None:
    """InputError if an address holds a login, a query, or a word that looks like a token."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        raise InputError("the tracking address is no address; write https://SERVER") from None
    recorded = "which would end up in logs and in MLflow itself"
    if "@" in parts.netloc:
        raise InputError(
            f"the tracking address holds a login, {recorded}; set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD in the environment instead"
        )
    words = _WORD.findall(parts.path)
    has_parameters = parts.query or parts.fragment or "=" in parts.path
    if has_parameters or any(_like_a_token(word) for word in words):
        raise InputError(
            f"the tracking address holds what may be a token, {recorded}; give the address of the "
            "server alone, and set MLFLOW_TRACKING_TOKEN in the environment instead"
        )


def _like_a_token(word: str) -> bool:
    """Whether a word of an address is long, and mixes letters and digits."""
    is_long = len(word) >= _TOKEN_CHARACTERS
    return is_long and not word.isalpha() and not word.isdecimal()


@dataclass(frozen=True)
class StoredRun:
    """A run as MLflow remembers it. `metrics` holds the last value of each key."""

    run_id: str
    name: str
    status: str
    started_ms: int
    tags: dict[str, str]
    metrics: dict[str, float]


class MlflowStore:
    """One MLflow store and what we have learnt about it: the ids of its experiments and runs.

    Making one imports MLflow but reaches for nothing; the store is first opened when it is used.

    Raises:
        InputError: `uri` is not the address of a store.
    """

    def __init__(self, uri: str) -> None:
        check_uri(uri)
        self.uri = uri.rstrip("/")
        self.database: Path | None = None
        """The file of a local store."""
        if uri.startswith(SQLITE):
            path, _, _ = uri.removeprefix(SQLITE).partition("?")
            self.database = Path(unquote(path))
        self._client: MlflowClient | None = None
        self._experiment_ids: dict[str, str] = {}
        self._run_ids: dict[str, str] = {}
        # Here, in the caller's thread: two threads that import at once can deadlock.
        _import_quietly()

    def client(self) -> MlflowClient:
        """MLflow's client, made at first use, because making it opens the database."""
        from mlflow import MlflowClient

        if self._client is None:
            if self.database is not None:
                self.database.parent.mkdir(parents=True, exist_ok=True)
            self._client = MlflowClient(tracking_uri=self.uri)
        return self._client

    def send(self, event: Event) -> None:
        """Bring one event into the store; doing so again changes nothing.

        Raises:
            LookupError: the event's run is not in the store.
            Exception: whatever MLflow raises; `is_hopeless` tells what it means.
        """
        kind = event["event"]
        if kind == "start":
            self._send_start(event)
            return
        run_id = self._find_run(event["run"])
        if run_id is None:
            raise LookupError(f"run {event['run']} is not in the store")
        if kind == "metrics":
            self._send_metrics(run_id, event)
        elif kind == "artifact":
            self.client().log_artifact(run_id, event["path"])
        else:
            self.client().set_terminated(run_id, event["status"], event["time_ms"])

    def _send_start(self, event: Event) -> None:
        from mlflow.entities import Param

        run_id = self._find_run(event["run"])
        if run_id is not None:
            self.client().update_run(run_id, status="RUNNING")
        else:
            run_id = self._create_run(event)
        params = [Param(key, _shortened(value)) for key, value in event["params"].items()]
        for chunk in _chunks(params, MAX_PARAMS_PER_CALL):
            self.client().log_batch(run_id, params=chunk)

    def _create_run(self, event: Event) -> str:
        """Make the run that an event starts; MLflow's id of it."""
        tags = event["tags"] | {TAG_RUN: event["run"]}
        parent = event["parent"]
        if parent is not None:
            tags[TAG_PARENT] = parent
            parent_id = self._find_run(parent)
            if parent_id is not None:
                tags["mlflow.parentRunId"] = parent_id
        experiment_id = self._experiment_id(event["experiment"])
        run = self.client().create_run(experiment_id, event["time_ms"], tags, event["name"])
        run_id: str = run.info.run_id
        self._run_ids[event["run"]] = run_id
        return run_id

    def _send_metrics(self, run_id: str, event: Event) -> None:
        from mlflow.entities import Metric

        step = 0 if event["step"] is None else event["step"]
        metrics = [
            Metric(key, value, event["time_ms"], step) for key, value in event["values"].items()
        ]
        for chunk in _chunks(metrics, MAX_METRICS_PER_CALL):
            self.client().log_batch(run_id, metrics=chunk)

    def _find_run(self, run: str) -> str | None:
        """MLflow's id of a run of ours, which another process may have sent; None if none has."""
        if run not in self._run_ids:
            experiments = self.client().search_experiments()
            experiment_ids = [experiment.experiment_id for experiment in experiments]
            query = f"tags.`{TAG_RUN}` = '{run}'"
            for found in _search(self.client(), *experiment_ids, filter_string=query):
                self._run_ids[run] = found.info.run_id
        return self._run_ids.get(run)

    def _experiment_id(self, name: str) -> str:
        """MLflow's id of an experiment, which is made if it is not there."""
        if name not in self._experiment_ids:
            found = self.client().get_experiment_by_name(name)
            if found is not None:
                self._experiment_ids[name] = found.experiment_id
            else:
                self._experiment_ids[name] = self._create_experiment(name)
        return self._experiment_ids[name]

    def _create_experiment(self, name: str) -> str:
        artifacts = None  # a server has a place of its own for them
        if self.database is not None:
            artifacts = (self.database.resolve().parent / "artifacts").as_uri()
        return self.client().create_experiment(name, artifact_location=artifacts)


def read_runs(uri: str, experiment: str) -> list[StoredRun]:
    """All runs of an experiment that were not deleted, newest first.

    Raises:
        InputError: no such store, a store out of reach, or no such experiment (the message names
            those there are).
    """
    store = MlflowStore(uri)
    if store.database is not None and not store.database.is_file():
        raise InputError(
            f"no MLflow store at {store.database}; "
            "give the address of one that a run has written to"
        )
    try:
        client = store.client()
        found = client.get_experiment_by_name(experiment)
        if found is None or found.lifecycle_stage != "active":
            experiments = client.search_experiments()
            names = sorted(other.name for other in experiments if other.name != "Default")
            raise InputError(
                f"no experiment {experiment!r} in {uri}; it holds: {', '.join(names) or 'none'}"
            )
        runs = _search(client, found.experiment_id, order_by=["attributes.start_time DESC"])
        return [_stored_run(run) for run in runs]
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"MLflow at {uri} is out of reach ({first_line(error)}); start it or mend the address"
        ) from error


def is_hopeless(event: Event, error: Exception) -> bool:
    """Whether trying again is pointless, because the store has answered that it refuses this."""
    from mlflow.exceptions import MlflowException

    # The events before an artifact have just arrived, so the store is up; one that cannot keep
    # files must not hold up the metrics behind them.
    if event["event"] == "artifact":
        return True
    if isinstance(error, LookupError):
        return True
    if not isinstance(error, MlflowException):
        return False
    status = error.get_http_status_code()
    is_refusal = 400 <= status < 500
    return is_refusal and status != 429  # 429: too many requests, come back later


def _import_quietly() -> None:
    """Import MLflow so that it neither phones home nor chatters.

    A user's own settings of its log and its requests are kept.
    """
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")  # seconds
    # We try again ourselves, without urllib3's warnings.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    from mlflow.telemetry import set_telemetry_client

    # Switches telemetry off even if somebody imported MLflow before us.
    set_telemetry_client()


def _search(client: MlflowClient, *experiment_ids: str, **query: Any) -> Iterator[Any]:
    """All runs that a query finds, page by page."""
    token: str | None = None
    while True:
        page = client.search_runs(list(experiment_ids), page_token=token, **query)
        yield from page
        token = page.token
        if not token:
            return


def _stored_run(run: Any) -> StoredRun:
    return StoredRun(
        run_id=run.data.tags.get(TAG_RUN, run.info.run_id),
        name=run.info.run_name,
        status=run.info.status,
        started_ms=run.info.start_time,
        tags=dict(run.data.tags),
        metrics=dict(run.data.metrics),
    )


def _chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for first in range(0, len(items), size):
        yield items[first : first + size]


def _shortened(text: str) -> str:
    """A parameter's text as MLflow takes it; '…' at its end says that it was longer."""
    if len(text) <= MAX_PARAM_CHARS:
        return text
    return text[: MAX_PARAM_CHARS - 1] + "…"
