"""Runs: every system on every GPU that is held out, a unit each; what was done stays done.

`python -m stowplan_predictor.training.gpus.runs --tables DIR --work DIR` may be stopped and started again at any time.
"""

import argparse
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import msgspec
import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.gpus.figures import Figures, figures_of
from stowplan_predictor.gpus.tasks import Matrix, Tasks
from stowplan_predictor.training.gpus import adaptations, samples, systems, tables
from stowplan_predictor.training.gpus.measured_figures import figures, machine
from stowplan_predictor.training.gpus.samples import Samples
from stowplan_predictor.training.gpus.systems import Fit, Predict
from stowplan_predictor.training.gpus.tables import MODELS, KernelTable

logger = logging.getLogger(__name__)

# The GPU that stands for each of those held out together.
STANDS_FOR: Final = {model: next(product for product, other in MODELS.items() if other == model) for model in MODELS.values()}
# Draws of twenty readings.
DRAWS: Final = 5


@dataclass(frozen=True)
class Data:
    """What is learned from and what is judged."""

    learned: KernelTable
    judged: KernelTable
    figures: Mapping[str, Figures]
    """Of every GPU, from rows that are not judged."""


def _save(table: KernelTable, path: Path) -> None:
    np.savez(
        path, kinds=np.array(table.tasks.kinds), numbers=table.tasks.numbers, products=table.products, ms=table.latency_ms, names=table.names, tiles=table.tiles
    )


def _load(path: Path) -> KernelTable:
    with np.load(path) as held:
        tasks = Tasks(tuple(held["kinds"].tolist()), held["numbers"], np.ones(len(held["ms"]), dtype=np.bool_))
        return KernelTable(tasks, held["products"], held["ms"], held["names"], held["tiles"])


def data(folder: Path, work: Path) -> Data:
    """Rows to learn from and to judge, read once and kept.

    Raises:
        DatasetRefused: the published tables are not there.
    """
    learned, judged, known = work / "learned.npz", work / "judged.npz", work / "figures.json"
    if not known.is_file():
        table = tables.read(folder)
        away = samples.judged(table)
        _save(table.part(samples.learned(table, away)), learned)
        _save(table.part(np.flatnonzero(away)), judged)
        known.write_bytes(msgspec.json.encode(figures(table.part(np.flatnonzero(~away)))))
    return Data(_load(learned), _load(judged), msgspec.json.decode(known.read_bytes(), type=dict[str, Figures]))


def _only(table: KernelTable, rows: NDArray[np.bool_]) -> KernelTable:
    return table.part(np.flatnonzero(rows))


@dataclass(frozen=True)
class Held:
    """A GPU held out."""

    learned: Samples
    """Of the others, less what breaks every model."""
    judged: KernelTable
    readings: KernelTable
    """That twenty are drawn from."""
    figures: dict[str, Figures]
    """Its own by rule, from those of the others."""
    model: str

    def asked(self, table: KernelTable, known: Figures | None = None) -> Samples:
        """Its rows with its features."""
        return samples.samples(table, {self.model: known or self.figures[self.model]})


def held_out(found: Data, model: str) -> Held:
    """What is known where a GPU is held out."""
    others = [(machine(STANDS_FOR[other]), one) for other, one in found.figures.items() if other != model]
    guessed = figures_of(machine(STANDS_FOR[model]), others)
    rows = samples.samples(_only(found.learned, found.learned.models != model), dict(found.figures))
    return Held(
        rows.part(~rows.trap),
        _only(found.judged, found.judged.models == model),
        _only(found.learned, found.learned.models == model),
        {**found.figures, model: guessed},
        model,
    )


def after_twenty(held: Held, predict: Predict, pool: Samples, draw: int) -> Matrix:
    """Log milliseconds of the judged rows once twenty of a pool of others were measured."""
    taken = adaptations.chosen(pool, draw)
    mask = np.zeros(len(pool), dtype=np.bool_)
    mask[taken] = True
    known = adaptations.relaunched(held.figures[held.model], pool.part(mask))
    readings, asked = held.asked(pool.part(mask).table, known), held.asked(held.judged, known)
    residuals = readings.log_ms - predict(readings)
    return predict(asked) + adaptations.correction(readings, residuals, asked)


@runtime_checkable
class Typed(Protocol):
    """A prediction that names kernel types too."""

    def likeliest(self, rows: Samples) -> list[tuple[str, ...]]:
        """The likeliest types of each row, likeliest first."""


def unit(held: Held, fit: Fit) -> dict[str, Any]:
    """What a system says of a GPU that it never saw.

    Returns:
        `zero`: log milliseconds at once; `twenty`: after twenty readings (draws, rows); `top1` and `top5`, where it names kernel types: whether the one that
        ran was among the likeliest.
    """
    predict = fit(held.learned)
    asked, pool = held.asked(held.judged), held.asked(held.readings)
    found: dict[str, Any] = {"zero": predict(asked), "twenty": np.stack([after_twenty(held, predict, pool, draw) for draw in range(DRAWS)])}
    if isinstance(predict, Typed):
        likeliest = list(zip(predict.likeliest(asked), held.judged.names.tolist(), strict=True))
        found["top1"] = np.array([ran in guesses[:1] for guesses, ran in likeliest])
        found["top5"] = np.array([ran in guesses[:5] for guesses, ran in likeliest])
    return found


def run(folder: Path, work: Path, names: Sequence[str], fits: Mapping[str, Fit]) -> None:
    """All units that are not there yet."""
    work.mkdir(parents=True, exist_ok=True)
    missing = [(name, model) for name in names for model in STANDS_FOR if not (work / f"{name}-{model}.npz").is_file()]
    if not missing:
        return
    found = data(folder, work)
    for name, model in missing:
        result = unit(held_out(found, model), fits[name])
        np.savez_compressed(work / "unit.new.npz", **result)
        (work / "unit.new.npz").rename(work / f"{name}-{model}.npz")
        logger.info("%s on %s: done", name, model)


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description="Judges every system on every GPU that is held out; may be stopped and started again.")
    parser.add_argument("--tables", type=Path, required=True, help="folder with the published kernels_train_*.csv(.gz)")
    parser.add_argument("--work", type=Path, required=True, help="folder for what was done")
    parser.add_argument("--system", action="append", help="only these; may be repeated")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    # Torch is imported for its own systems only.
    known = systems.SYSTEMS if options.system and set(options.system) <= systems.SYSTEMS.keys() else systems.all_systems()
    run(options.tables, options.work, options.system or list(known), known)


if __name__ == "__main__":
    main()
