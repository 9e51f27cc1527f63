"""What became of a campaign: predictions of what was held out, and what is missing; kept beside the measurements, so that a page needs no training."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from stowplan_predictor.errors import DatasetRefused
from stowplan_predictor.training.data.datasets import read_rows, write_rows
from stowplan_predictor.training.gpubundles.predictions import KernelError, NetworkPrediction, PairPrediction

_TABLES: Final[dict[str, type[Any]]] = {"networks": NetworkPrediction, "pairs": PairPrediction, "kernels": KernelError}


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one GPU under one runtime."""

    product: str
    runtime: str
    networks: tuple[NetworkPrediction, ...]
    """On the whole GPU and on parts of it."""
    pairs: tuple[PairPrediction, ...]
    kernels: tuple[KernelError, ...]
    missing: tuple[str, ...]
    """What the tables do not hold, and what could not be judged, in words."""


def write(found: Outcome, folder: Path) -> None:
    """Tables, and last the file that names them."""
    for name, row_type in _TABLES.items():
        write_rows(folder / f"{name}-{found.runtime}.parquet", getattr(found, name), row_type)
    words = {"product": found.product, "runtime": found.runtime, "missing": found.missing}
    (folder / f"outcome-{found.runtime}.json").write_text(json.dumps(words, indent=1) + "\n", encoding="utf-8")


def read(path: Path) -> Outcome:
    """What was kept under `outcome-<runtime>.json`.

    Raises:
        DatasetRefused: it is not that, or a table beside it is missing or malformed.
    """
    try:
        words = json.loads(path.read_text(encoding="utf-8"))
        product, runtime, missing = str(words["product"]), str(words["runtime"]), tuple(map(str, words["missing"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetRefused(f"{path}: not what became of a campaign ({error!r}); train its bundle again") from error
    tables = {name: read_rows(path.parent / f"{name}-{runtime}.parquet", row_type) for name, row_type in _TABLES.items()}
    return Outcome(product, runtime, tables["networks"], tables["pairs"], tables["kernels"], missing)
