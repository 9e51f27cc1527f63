"""Systems that may be served, judged on every fold by what the other folds teach; and the served recipe: for each fold the one that is best on the others."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Final

import numpy as np

from stowplan_predictor.kernels.latencies import Isolated
from stowplan_predictor.training.data.folds import LIGHT_FOLD
from stowplan_predictor.training.harness.worlds import World
from stowplan_predictor.training.judgements.parts import KernelJudgement
from stowplan_predictor.training.judgements.predictions import PredictionRow
from stowplan_predictor.training.kernels.judgements import kernel_judgements
from stowplan_predictor.training.networks import cases as network_cases
from stowplan_predictor.training.networks import fits as network_fits
from stowplan_predictor.training.networks.cases import Case, Judged
from stowplan_predictor.training.networks.fits import COVERAGE, NetworkFit

STOWPLAN: Final = "stowplan"
# Whose kernels are judged one by one.
_PUBLISHED: Final = ("zoo", "light")


def judged_cases(cases: Sequence[Case]) -> list[Case]:
    """Those measured alone whose kernels can be judged."""
    return [case for case in cases if case.measured.visits and case.efficiencies is not None]


def fold_fit(world: World, by_fold: Mapping[int, Sequence[Case]], number: int) -> NetworkFit:
    """What the other folds teach about a fold; for the light models, all folds without the light models' families."""
    others = [case for other, cases in by_fold.items() if other not in (number, LIGHT_FOLD) for case in cases]
    if number == LIGHT_FOLD:
        strange = {sample.family for sample in world.folds[LIGHT_FOLD].test}
        others = [case for case in others if case.sample.family not in strange]
    return network_fits.fit_networks(judged_cases(others), world.dataset.device)


def judge(world: World, by_fold: Mapping[int, Sequence[Case]], fits: Mapping[int, NetworkFit]) -> dict[int, list[Judged]]:
    """Held-out predictions of every network that was measured alone and can be judged."""
    found = {}
    for number, cases in by_fold.items():
        model = fits[number].model()
        found[number] = [network_fits.predict(case, model, world.dataset.device) for case in judged_cases(cases)]
    return found


def error_of(judged: Sequence[Judged]) -> float:
    """What systems are chosen by: mean absolute log error, kinds of networks balanced."""
    return float(np.average([abs(item.log_residual) for item in judged], weights=network_cases.weights([item.case for item in judged])))


def _row(system: str, case: Case, alone: Isolated | None) -> PredictionRow:
    sample = case.sample
    where = (system, sample.split, sample.name, sample.family, case.slice, case.fold)
    if alone is None:
        return PredictionRow(*where, None, reason=case.refusal)
    interval = alone.interval.of(alone.median_ms, COVERAGE)
    return PredictionRow(*where, interval.median_ms, interval.lower_ms, interval.upper_ms)


def prediction_rows(system: str, cases: Sequence[Case], judged: Sequence[Judged]) -> list[PredictionRow]:
    """One row a measured network and slice; refusals too."""
    known = {(item.case.sample.name, item.case.slice): item.isolated for item in judged}
    return [_row(system, case, known.get((case.sample.name, case.slice))) for case in cases if case.measured.visits]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A system that may be served, on every fold."""

    cases: Mapping[int, Sequence[Case]]
    fits: Mapping[int, NetworkFit]
    """What the other folds teach, by fold."""
    judged: Mapping[int, Sequence[Judged]]

    def held_out(self, without: int = LIGHT_FOLD) -> list[Judged]:
        """Predictions of every fold but one (and but the light models)."""
        return [item for fold, items in self.judged.items() if fold not in (without, LIGHT_FOLD) for item in items]

    @property
    def error(self) -> float:
        """On every fold but the light models."""
        return error_of(self.held_out())


def _candidate(world: World, by_fold: Mapping[int, Sequence[Case]], fits: Mapping[int, NetworkFit]) -> Candidate:
    return Candidate(by_fold, fits, judge(world, by_fold, fits))


def candidate(world: World, by_fold: Mapping[int, Sequence[Case]]) -> Candidate:
    """A system judged on held-out families."""
    return _candidate(world, by_fold, {number: fold_fit(world, by_fold, number) for number in by_fold})


# What forked processes share with the one that read it: samples are large, and pickling them takes longer than fitting.
_SHARED: list[Callable[[str, int], NetworkFit]] = []


def _shared_fit(name: str, number: int) -> NetworkFit:
    return _SHARED[0](name, number)


def candidates(world: World, systems: Mapping[str, Mapping[int, Sequence[Case]]], processes: int) -> dict[str, Candidate]:
    """Systems judged on held-out families, by name; fitted in that many forked processes.

    Args:
        world: the data set.
        systems: cases by system and fold.
        processes: fits at a time.
    """
    tasks = [(name, number) for name, by_fold in systems.items() for number in by_fold]
    _SHARED[:] = [lambda name, number: fold_fit(world, systems[name], number)]
    with ProcessPoolExecutor(processes, mp_context=get_context("fork")) as pool:
        fits = dict(zip(tasks, pool.map(_shared_fit, *zip(*tasks, strict=True)), strict=True))
    return {name: _candidate(world, by_fold, {number: fits[name, number] for number in by_fold}) for name, by_fold in systems.items()}


def best(known: Mapping[str, Candidate], without: int = LIGHT_FOLD) -> str:
    """The candidate with the least error on every fold but one (and but the light models)."""
    return min(known, key=lambda name: (error_of(known[name].held_out(without)), name))


def rows(known: Mapping[str, Candidate]) -> dict[str, list[PredictionRow]]:
    """Predictions of every candidate, by name."""
    return {name: [row for number, cases in item.cases.items() for row in prediction_rows(name, cases, item.judged[number])] for name, item in known.items()}


def served_rows(known: Mapping[str, Candidate]) -> list[PredictionRow]:
    """Predictions of the recipe: for each fold the candidate that is best on the others."""
    found = []
    for number in next(iter(known.values())).cases:
        chosen = known[best(known, number)]
        found += prediction_rows(STOWPLAN, chosen.cases[number], chosen.judged[number])
    return found


def served_kernels(known: Mapping[str, Candidate]) -> list[KernelJudgement]:
    """Kernels of published networks on whole cores, as the recipe predicts them."""
    found: list[KernelJudgement] = []
    for number in next(iter(known.values())).cases:
        for case in judged_cases(known[best(known, number)].cases[number]):
            if case.sample.split in _PUBLISHED and not case.measured.slice_.fractional:
                found += kernel_judgements(case.sample, case.slice, case.known, number, STOWPLAN)
    return found
