"""The recorder: keeps the latest decisions in a folder, bounded in number and bytes.

Two files: one that grows and the one before it, which goes when the newer one is full. So at least half of the bound is always there. A disk that is
full or gone costs records, never decisions.
"""

import datetime as dt
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from stowplan_fleet.devices import Device
from stowplan_fleet.slices import DeviceName

from stowplan_extender.metrics import Metrics
from stowplan_extender.recording import recordings
from stowplan_extender.recording.recordings import Grounds
from stowplan_extender.settings import RecordingSettings

_log = logging.getLogger(__name__)

CURRENT: Final = "decisions.jsonl"
BEFORE: Final = "decisions.1.jsonl"


class Recorder:
    """Writes records down."""

    def __init__(self, settings: RecordingSettings, find_device: Callable[[DeviceName], Device | None], metrics: Metrics) -> None:
        """Begins a new file; the one of an earlier run becomes the one before."""
        self._folder = Path(settings.directory)
        self._bytes_max = settings.bytes_max // 2
        self._decisions_max = max(1, settings.decisions_max // 2)
        self._find_device = find_device
        self._metrics = metrics
        self._bytes = 0
        self._decisions = 0
        self._fails = False
        self._turn()

    def record(self, grounds: Grounds, *, verb: str, pod: str, best_k: int = 0, returned: list[str]) -> None:
        """Writes one decision down, if it can."""
        names = {inquiry.question.subject.slice_class.device for inquiry in grounds.asked}
        devices = {name: device for name in names if (device := self._find_device(name)) is not None}
        at = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        line = recordings.write(recordings.record_of(grounds, verb=verb, pod=pod, at=at, best_k=best_k, returned=returned, devices=devices))
        if len(line) > self._bytes_max:
            self._metrics.records.labels("too large").inc()
            return
        if self._bytes + len(line) > self._bytes_max or self._decisions >= self._decisions_max:
            self._turn()
        self._append(line)

    def _append(self, line: bytes) -> None:
        try:
            with (self._folder / CURRENT).open("ab") as file:
                file.write(line)
        except OSError as error:
            self._failed(error)
            return
        self._bytes += len(line)
        self._decisions += 1
        self._fails = False
        self._metrics.records.labels("written").inc()

    def _turn(self) -> None:
        self._bytes = self._decisions = 0
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if (self._folder / CURRENT).exists():
                (self._folder / CURRENT).replace(self._folder / BEFORE)
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        self._metrics.records.labels("failed").inc()
        if not self._fails:
            _log.warning("decisions cannot be recorded; they are made all the same", extra={"folder": str(self._folder), "error": str(error)})
        self._fails = True
