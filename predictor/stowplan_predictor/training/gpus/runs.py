"""Runs: every system on every GPU that is held out, a unit each; what was done stays done.

`python -m stowplan_predictor.training.gpus.runs --tables DIR --work DIR` may be stopped and started again at any time.
"""

import argparse
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import msgspec
import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.gpus.figures import Figures, figures_of
from stowplan_predictor.gpus.tasks import Matrix, Tasks
from stowplan_predictor.training.gpus import adaptations, samples, systems, tables
from stowplan_predictor.training.gpus.measured_figures import figures, host_of, hosts, machine, own_ms
from stowplan_predictor.training.gpus.mixtures import Served
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
    hosts: Mapping[str, float]
    """Likewise, milliseconds that each shape run before adds to the launch of a convolution."""


def _save(table: KernelTable, path: Path) -> None:
    np.savez(
        path,
        kinds=np.array(table.tasks.kinds),
        numbers=table.tasks.numbers,
        products=table.products,
        ms=table.latency_ms,
        names=table.names,
        tiles=table.tiles,
        before=table.shapes_before,
    )


def _load(path: Path) -> KernelTable:
    with np.load(path) as held:
        tasks = Tasks(tuple(held["kinds"].tolist()), held["numbers"], np.ones(len(held["ms"]), dtype=np.bool_))
        return KernelTable(tasks, held["products"], held["ms"], held["names"], held["tiles"], held["before"])


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
        rest = table.part(np.flatnonzero(~away))
        per_shape = hosts(rest)
        known.write_bytes(msgspec.json.encode((figures(replace(rest, latency_ms=own_ms(rest, per_shape))), per_shape)))
    of, per_shape = msgspec.json.decode(known.read_bytes(), type=tuple[dict[str, Figures], dict[str, float]])
    return Data(_load(learned), _load(judged), of, per_shape)


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
    hosts: dict[str, float]
    """Likewise."""
    model: str

    def asked(self, table: KernelTable) -> Samples:
        """Its rows with its features."""
        return samples.samples(table, self.figures, self.hosts)


def held_out(found: Data, model: str, also: str | None = None) -> Held:
    """What is known where a GPU is held out, and where another one is not learned from either."""
    learned_from = sorted(set(STANDS_FOR) - {model, also})
    others = [(machine(STANDS_FOR[other]), found.figures[other]) for other in learned_from]
    guessed = figures_of(machine(STANDS_FOR[model]), others)
    host = host_of(machine(STANDS_FOR[model]), [(machine(STANDS_FOR[other]), found.hosts[other]) for other in learned_from])
    rows = samples.samples(_only(found.learned, np.isin(found.learned.models, learned_from)), found.figures, found.hosts)
    return Held(
        rows.part(~rows.trap),
        _only(found.judged, found.judged.models == model),
        _only(found.learned, found.learned.models == model),
        {**found.figures, model: guessed},
        {**found.hosts, model: host},
        model,
    )


def after_twenty(predict: Predict, asked: Samples, pool: Samples) -> Matrix:
    """(draws, rows): log milliseconds of the judged rows once twenty of a pool of others were measured."""
    found = []
    # Of a mixture of library kernels the readings tell by their names which ones run there.
    thoughts = predict.thoughts(asked) if isinstance(predict, Served) else None
    answers = thoughts.said() if thoughts else predict(asked)
    for draw in range(DRAWS):
        mask = np.zeros(len(pool), dtype=np.bool_)
        mask[adaptations.chosen(pool, draw)] = True
        readings = pool.part(mask)
        if thoughts and isinstance(predict, Served):
            told = predict.thoughts(readings)
            found.append(adaptations.adapted(readings, told.as_ran(), asked, thoughts.said(told.odds())))
        else:
            found.append(adaptations.adapted(readings, predict(readings), asked, answers))
    return np.stack(found)


def at_once(predict: Predict, asked: Samples) -> Matrix:
    """Log milliseconds without a reading, the host's added."""
    return np.asarray(np.log(np.exp(predict(asked)) + asked.host_ms))


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
    found: dict[str, Any] = {
        "zero": at_once(predict, asked),
        "twenty": after_twenty(predict, asked, pool),
    }
    if isinstance(predict, Typed):
        likeliest = list(zip(predict.likeliest(asked), held.judged.names.tolist(), strict=True))
        found["top1"] = np.array([ran in guesses[:1] for guesses, ran in likeliest])
        found["top5"] = np.array([ran in guesses[:5] for guesses, ran in likeliest])
    return found


def run(folder: Path, work: Path, names: Sequence[str], fits: Mapping[str, Fit]) -> None:
    """All units that are not there yet."""
    work.mkdir(parents=True, exist_ok=True)
    missing = {model: [name for name in names if not (work / f"{name}-{model}.npz").is_file()] for model in STANDS_FOR}
    if not any(missing.values()):
        return
    found = data(folder, work)
    for model, some in missing.items():
        if not some:
            continue
        held = held_out(found, model)
        for name in some:
            np.savez_compressed(work / "unit.new.npz", **unit(held, fits[name]))
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
