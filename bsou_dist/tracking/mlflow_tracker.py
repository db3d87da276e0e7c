"""Runs written to MLflow through a queue that training never waits for."""

from __future__ import annotations

import logging
import shlex
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bsou_dist.common.errors import InputError
from bsou_dist.tracking.delivery import Delivery, Event, first_line, read_spool
from bsou_dist.tracking.mlflow_store import MlflowStore, is_hopeless
from bsou_dist.tracking.tracker import TAG_CODE, Status, code_version, flatten

logger = logging.getLogger(__name__)


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
        self._store = MlflowStore(uri)
        self._experiment = experiment
        self._spool = spool
        self._folder = spool.parent.resolve()
        self._wait_s = wait_s
        self._run: str | None = None
        self._recorded_steps: dict[str, int] = {}
        self._delivery = Delivery(
            spool,
            send=self._send,
            hopeless=is_hopeless,
            destination=f"MLflow at {self._store.uri}",
            retry_s=retry_s,
        )

    @property
    def address(self) -> str:
        if self._store.database is None:
            return self._store.uri
        uri = shlex.quote(self._store.uri)
        return f"MLFLOW_DISABLE_TELEMETRY=true mlflow ui --backend-store-uri {uri}"

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
        self._recorded_steps = _last_steps(self._spool, run) if run else {}
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
        new_values = {
            key: float(value)
            for key, value in values.items()
            if step is None or step > self._recorded_steps.get(key, -1)
        }
        if new_values:
            self._put("metrics", values=new_values, step=step)

    def artifact(self, path: Path) -> None:
        # A path within the run's folder is kept as seen from there, because a run may be moved.
        path = path.resolve()
        if path.is_relative_to(self._folder):
            path = path.relative_to(self._folder)
        self._put("artifact", path=str(path))

    def finish(self, status: Status) -> None:
        self._put("finish", status=status)
        self._run = None
        self._delivery.wait(self._wait_s)

    def _put(self, kind: str, **content: Any) -> None:
        assert self._run is not None, "start a run first"
        time_ms = time.time_ns() // 1_000_000
        self._delivery.put({"event": kind, "run": self._run, "time_ms": time_ms, **content})

    def _send(self, event: Event) -> None:
        self._store.send(_with_whole_path(event, self._folder))


def resend(spool: Path, uri: str) -> int:
    """Send a whole spool to a store; returns the number of events that it took.

    What is in the store already stays as it is. Send the spool of a stage 1 run before those of its
    children, which look for their parent in the store. Files outside the spool's folder are not
    sent: a spool that somebody else wrote could name any.

    Raises:
        InputError: there is no such spool, or the store is out of reach.
    """
    store = MlflowStore(uri)
    folder = spool.parent.resolve()
    taken = 0
    for spooled_event in read_spool(spool):
        event = _with_whole_path(spooled_event, folder)
        if event["event"] == "artifact":
            file = Path(event["path"]).resolve()
            if not file.is_relative_to(folder):
                logger.warning("%s is outside %s and was not sent", event["path"], folder)
                continue
        try:
            store.send(event)
            taken += 1
        except Exception as error:
            if not is_hopeless(event, error):
                raise InputError(
                    f"MLflow at {uri} is out of reach ({first_line(error)}); "
                    f"start it, then send {spool} again"
                ) from error
            logger.warning(
                "MLflow at %s did not take a %s event (%s)", uri, event["event"], first_line(error)
            )
    return taken


def _last_steps(spool: Path, run: str) -> dict[str, int]:
    """The last step of every metric of a run in a spool, which need not be there."""
    steps: dict[str, int] = {}
    if not spool.is_file():
        return steps
    for event in read_spool(spool):
        is_step = event["event"] == "metrics" and event["step"] is not None
        if is_step and event["run"] == run:
            for key in event["values"]:
                steps[key] = max(event["step"], steps.get(key, -1))
    return steps


def _with_whole_path(event: Event, folder: Path) -> Event:
    """An event as a store takes it: an artifact's path is no longer as seen from the spool."""
    if event["event"] != "artifact":
        return event
    return event | {"path": str(folder / event["path"])}
