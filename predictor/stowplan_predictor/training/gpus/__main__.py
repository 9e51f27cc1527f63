"""The bundle of GPUs and its predictions: `python -m stowplan_predictor.training.gpus --tables DIR`.

Reads the published tables (each held against its checksum), judges every system on every GPU that is held out, writes what they said to `datasets/gpu-kernels`
and the bundle to the package. May be stopped and started again: what was done stays done in the work folder.
"""

import argparse
import logging
import sys
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

import stowplan_predictor
from stowplan_predictor.errors import DatasetRefused
from stowplan_predictor.training.gpus import fits, predictions, runs, systems
from stowplan_predictor.training.gpus.predictions import Judged
from stowplan_predictor.training.gpus.runs import STANDS_FOR, Data

# Systems with nothing to correct, or that nobody would.
_NEVER_ADAPTED: Final = ("mean", "roofline")


def gathered(found: Data, work: Path, names: list[str]) -> Judged:
    """What all units said, in the order of the judged rows."""
    models = found.judged.models
    zero = {name: np.empty(len(models)) for name in names}
    twenty = {name: np.empty((runs.DRAWS, len(models))) for name in names if name not in _NEVER_ADAPTED}
    types: dict[str, NDArray[np.bool_]] = {}
    for name in names:
        for model in STANDS_FOR:
            with np.load(work / f"{name}-{model}.npz") as unit:
                zero[name][models == model] = unit["zero"]
                if name in twenty:
                    twenty[name][:, models == model] = unit["twenty"]
                if "top1" in unit:
                    right = types.setdefault(name, np.zeros((2, len(models)), dtype=np.bool_))
                    right[:, models == model] = np.stack([unit["top1"], unit["top5"]])
    return Judged(models, np.array(found.judged.tasks.kinds), found.judged.latency_ms, zero, twenty, types)


def main() -> int:
    """See above."""
    parser = argparse.ArgumentParser(description="Judges every system on GPUs held out, and writes the bundle of GPUs.")
    parser.add_argument("--tables", type=Path, required=True, help="folder with the published kernels_train_*.csv(.gz)")
    parser.add_argument("--work", type=Path, default=Path.home() / ".cache" / "stowplan" / "gpus", help="folder for what was done")
    parser.add_argument("--datasets", type=Path, default=Path("datasets"), help="where predictions are kept")
    parser.add_argument("--output", type=Path, default=Path(stowplan_predictor.__file__).parent / "shipped" / fits.RUNTIME, help="where the bundle goes")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        known = systems.all_systems()
        runs.run(options.tables, options.work, list(known), known)
        found = runs.data(options.tables, options.work)
        judged = gathered(found, options.work, list(known))
        predictions.write(judged, options.datasets / predictions.FOLDER / predictions.FILE)
        version = fits.bundle(found, judged, options.output)
    except DatasetRefused as error:
        sys.stderr.write(f"{error}\n")
        return 1
    logging.getLogger(__name__).info("%s: %s@%s", options.output, fits.NAME, version)
    return 0


if __name__ == "__main__":
    sys.exit(main())
