"""Systems that may be served, judged on every fold by what the other folds teach; and the served recipe: for each fold the one that is best on the others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


def fold_fits(world: World, by_fold: Mapping[int, Sequence[Case]]) -> dict[int, NetworkFit]:
    """For each fold what the others teach; for the light models, all folds without the light models' families."""
    found = {}
    strange = {sample.family for sample in world.folds[LIGHT_FOLD].test} if LIGHT_FOLD in world.folds else set()
    for number in by_fold:
        others = [case for other, cases in by_fold.items() if other not in (number, LIGHT_FOLD) for case in cases]
        if number == LIGHT_FOLD:
            others = [case for case in others if case.sample.family not in strange]
        found[number] = network_fits.fit_networks(judged_cases(others), world.dataset.device)
    return found


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


def candidate(world: World, by_fold: Mapping[int, Sequence[Case]]) -> Candidate:
    """A system judged on held-out families."""
    fits = fold_fits(world, by_fold)
    return Candidate(by_fold, fits, judge(world, by_fold, fits))


def best(known: Mapping[str, Candidate], without: int = LIGHT_FOLD) -> str:
    """The candidate with the least error on every fold but one (and but the light models)."""
    return min(known, key=lambda name: (error_of(known[name].held_out(without)), name))


def served_rows(known: Mapping[str, Candidate]) -> list[PredictionRow]:
    """Predictions of the recipe: for each fold the candidate that is best on the others."""
    rows = []
    for number in next(iter(known.values())).cases:
        chosen = known[best(known, number)]
        rows += prediction_rows(STOWPLAN, chosen.cases[number], chosen.judged[number])
    return rows


def served_kernels(known: Mapping[str, Candidate]) -> list[KernelJudgement]:
    """Kernels of published networks on whole cores, as the recipe predicts them."""
    rows: list[KernelJudgement] = []
    for number in next(iter(known.values())).cases:
        for case in judged_cases(known[best(known, number)].cases[number]):
            if case.sample.split in _PUBLISHED and not case.measured.slice_.fractional:
                rows += kernel_judgements(case.sample, case.slice, case.known, number, STOWPLAN)
    return rows
