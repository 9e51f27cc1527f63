"""Results of a campaign while it runs: one JSON file a task, written whole or not at all, so that an interrupted campaign goes on where it stopped."""

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from stowplan_predictor.errors import DatasetRefused
from stowplan_predictor.training.campaigns.plans import Task
from stowplan_predictor.training.data.datasets import TABLES, AnyRow


def _frozen(value: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    if isinstance(value, dict):
        return base64.b64decode(value["base64"])
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def _plain(value: object) -> dict[str, str]:
    """What JSON has no word for: bytes.

    Raises:
        TypeError: it is something else.
    """
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    raise TypeError(f"{type(value).__name__} cannot be kept")


@dataclass(frozen=True, slots=True)
class Results:
    """A folder of results."""

    folder: Path

    def is_done(self, task: Task) -> bool:
        """True where the task was measured, or was found impossible."""
        return self._path(task).exists()

    def keep(self, task: Task, rows: Mapping[str, list[AnyRow]]) -> None:
        """Writes what a task gave, by table name."""
        self._write(task, {"rows": {table: [asdict(row) for row in given] for table, given in rows.items()}})

    def keep_failure(self, task: Task, reason: str) -> None:
        """Writes why a task cannot be measured here; it is not tried again."""
        self._write(task, {"left_out": reason})

    def collect(self) -> tuple[dict[str, list[AnyRow]], dict[str, str]]:
        """All rows by table name, and the reasons of what was left out by task key.

        Raises:
            DatasetRefused: a file is malformed, or holds what cannot be a measurement.
        """
        rows: dict[str, list[AnyRow]] = {table: [] for table in TABLES if table != "structures"}
        left_out: dict[str, str] = {}
        for path in sorted(self.folder.glob("*.json")):
            try:
                record = json.loads(path.read_text(encoding="utf-8"))
                if "left_out" in record:
                    left_out[path.stem] = record["left_out"]
                    continue
                for table, given in record["rows"].items():
                    row_type = TABLES[table]
                    known = {field.name for field in fields(row_type)}
                    rows[table].extend(row_type(**{name: _frozen(value) for name, value in row.items() if name in known}) for row in given)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise DatasetRefused(f"{path}: not a result of this version: {error!r}; delete it, and the task is measured again") from error
        return rows, left_out

    def _path(self, task: Task) -> Path:
        return self.folder / f"{task.key}.json"

    def _write(self, task: Task, record: Mapping[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self._path(task).with_suffix(".tmp")
        temporary.write_text(json.dumps(record, default=_plain), encoding="utf-8")
        temporary.replace(self._path(task))
