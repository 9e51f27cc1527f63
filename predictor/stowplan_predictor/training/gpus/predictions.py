"""What every system said of every judged kernel, committed: `datasets/gpu-kernels/predictions.parquet`.

The published tables are not in this project, and are not needed to render the page: of a judged row only its GPU, its kind and its milliseconds are kept, with
what was predicted for it. Single precision and dictionaries keep the file at some megabytes.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from stowplan_predictor.errors import DatasetRefused
from stowplan_predictor.gpus.tasks import KINDS, Matrix
from stowplan_predictor.training.gpus import published

FOLDER: Final = "gpu-kernels"
FILE: Final = "predictions.parquet"
_SOURCE_KEY: Final = b"stowplan.source"
_PLACES: Final = ("top1", "top5")
# Hundredths of a percent: what is between two neighbours of this grid of logarithms.
_STEP: Final = 1e-4


@dataclass(frozen=True)
class Judged:
    """Judged rows, and what systems said of them."""

    models: NDArray[np.str_]
    kinds: NDArray[np.str_]
    measured_ms: Matrix
    zero: Mapping[str, Matrix]
    """Log milliseconds by system, nothing measured on the GPU."""
    twenty: Mapping[str, Matrix]
    """The same (draws, rows) after twenty readings, for systems that learn."""
    types: Mapping[str, NDArray[np.bool_]]
    """(2, rows): whether the kernel that ran was the likeliest, and among the five likeliest, by system that tells."""

    @property
    def families(self) -> NDArray[np.str_]:
        """Of each row."""
        return np.array([KINDS[kind] for kind in self.kinds])


def source() -> str:
    """Names the published rows: a digest over the checksums of their tables."""
    return hashlib.sha256("\n".join(f"{name} {digest}" for name, digest in sorted(published.CHECKSUMS.items())).encode()).hexdigest()


def _grid(log_ms: Matrix) -> NDArray[np.int32]:
    return np.round(log_ms / _STEP).astype(np.int32)


def write(found: Judged, path: Path) -> None:
    """Writes the file; the same content gives the same bytes."""
    columns: dict[str, pa.Array] = {
        "gpu": pa.array(found.models.tolist()).dictionary_encode(),
        "kind": pa.array(found.kinds.tolist()).dictionary_encode(),
        "measured": pa.array(_grid(np.log(found.measured_ms))),
    }
    columns |= {f"zero:{name}": pa.array(_grid(values)) for name, values in sorted(found.zero.items())}
    for name, draws in sorted(found.twenty.items()):
        columns |= {f"twenty:{name}:{draw}": pa.array(_grid(values)) for draw, values in enumerate(draws)}
    for name, right in sorted(found.types.items()):
        columns |= {f"{place}:{name}": pa.array(values) for place, values in zip(_PLACES, right, strict=True)}
    table = pa.table(columns).replace_schema_metadata({_SOURCE_KEY: source().encode()})
    path.parent.mkdir(parents=True, exist_ok=True)
    encodings = {name: "DELTA_BINARY_PACKED" for name, values in columns.items() if pa.types.is_integer(values.type)}
    pq.write_table(table, path, compression="zstd", compression_level=19, use_dictionary=["gpu", "kind"], column_encoding=encodings)


def read(path: Path) -> Judged:
    """Reads the file.

    Raises:
        DatasetRefused: missing, malformed, or made from other tables than those this version names.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DatasetRefused(f"{path}: cannot be read ({error}); make it with `python -m stowplan_predictor.training.gpus`") from error
    if (table.schema.metadata or {}).get(_SOURCE_KEY) != source().encode():
        raise DatasetRefused(f"{path}: made from other tables than {published.SOURCE} at {published.COMMIT}; make it again")
    values = {field.name: table[field.name].to_numpy().astype(np.float64) * _STEP for field in table.schema if pa.types.is_integer(field.type)}
    typed = sorted({name.split(":")[1] for name in table.column_names if name.startswith(_PLACES)})
    systems = sorted({name.split(":")[1] for name in values if name.startswith("twenty:")})
    return Judged(
        np.array(table["gpu"].to_pylist()),
        np.array(table["kind"].to_pylist()),
        np.exp(values["measured"]),
        {name.split(":")[1]: one for name, one in values.items() if name.startswith("zero:")},
        {system: np.stack([values[name] for name in sorted(name for name in values if name.startswith(f"twenty:{system}:"))]) for system in systems},
        {system: np.stack([table[f"{place}:{system}"].to_numpy() for place in _PLACES]) for system in typed},
    )
