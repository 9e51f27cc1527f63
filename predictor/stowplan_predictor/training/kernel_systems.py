"""Systems that sum kernels, as the rivals' harness knows them: a unit is one kernel system on one fold; networks are predicted from units of all folds.

What is learned end to end (dispatch, correction, interval) for a fold comes from the units of the other folds, so that no unit is fitted twice. `stowplan` is
what the bundle's recipe serves: for each fold the candidate that is best on the others. Published rivals and ablations are the plain sum over kernels.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from stowplan_predictor.kernels.latencies import Isolated
from stowplan_predictor.kernels.throttles import sustained_ms
from stowplan_predictor.training import network_cases, network_fits
from stowplan_predictor.training.accuracy_rows import KernelJudgement, TypeJudgement, write_judgements
from stowplan_predictor.training.cross_fits import blended, decode, decode_types, encode, judged_by
from stowplan_predictor.training.dispatch_fits import kernels_ms
from stowplan_predictor.training.folds import LIGHT_FOLD
from stowplan_predictor.training.kernel_judgements import kernel_judgements, type_judgements
from stowplan_predictor.training.kernel_models import BLENDS, KERNEL_SYSTEMS
from stowplan_predictor.training.kernel_models import blended as blend_of
from stowplan_predictor.training.network_cases import Case, Judged
from stowplan_predictor.training.network_fits import COVERAGE, NetworkFit
from stowplan_predictor.training.predictions import PredictionRow
from stowplan_predictor.training.rivals.systems import Content, System
from stowplan_predictor.training.rivals.units import UnitKind
from stowplan_predictor.training.rivals.worlds import World

STOWPLAN: Final = "stowplan"
# Whose kernels are judged one by one.
_PUBLISHED: Final = ("zoo", "light")
# Fitted on one fold only, to show the difference that the target makes.
_ONE_FOLD: Final[Mapping[str, frozenset[int]]] = {"gnn-raw": frozenset({0})}
# How the table calls them, where that differs.
_NAMES: Final[Mapping[str, str]] = {"forests": "rules-forests"}
# Plain sums over the kernels of a system, by name: a published rival, and what the target and the end-to-end stage are worth.
_PLAIN: Final[Mapping[str, str]] = {"rules-forests": "forests", "gnn-raw": "gnn-raw", "gnn-sum": "gnn", "boosted-sum": "boosted"}
# What may be served. Raw latencies and forests are there to be compared with.
CANDIDATES: Final = tuple(name for name in (*KERNEL_SYSTEMS, *BLENDS) if name not in ("gnn-raw", "forests"))
_SOURCES: Final = (
    "graphs", "fusion", "kernels", "training/kernel_models.py", "training/kernel_rows.py", "training/samples.py", "training/measurements.py",
    "training/folds.py", "training/cross_fits.py", "training/network_cases.py",
)  # fmt: skip
_TREES: Final = ("training/boosted_trees.py", "training/tree_files.py")
_TYPES: Final = (*_TREES, "training/type_regressors.py", "training/regressions.py")
_GRAPHS: Final = (
    "training/graph_fits.py", "training/graph_networks.py", "training/graph_batches.py", "training/network_rows.py", "training/kernel_judgements.py",
)  # fmt: skip
_OWN: Final[Mapping[str, tuple[str, ...]]] = {"boosted": _TREES, "trees": _TYPES, "forests": _TYPES, "gnn": _GRAPHS, "gnn-raw": _GRAPHS}


def _inputs(world: World) -> str:
    """Digest of what kernel systems see: features, times, profiles and folds of everything that was measured."""
    found = hashlib.sha256()
    for name, sample in sorted(world.samples.networks.items()):
        found.update(f"{name}\0{sample.family}\0{sample.split}\0{world.splits.get(sample.family)}\0".encode())
        for slice_, measured in sample.measured.items():
            found.update(f"{slice_}\0{measured.visits!r}\0".encode() + measured.features.tobytes())
            if measured.kernel_ms is not None:
                found.update(measured.kernel_ms.tobytes())
    return found.hexdigest()


def _kind(system: str) -> UnitKind:
    def make(world: World, number: int) -> bytes:
        fold = world.folds[number]
        model = KERNEL_SYSTEMS[system](fold.train, world.seed)
        types = type_judgements(model, fold.test, number, system) if model.names_types else ()
        return encode(judged_by(model, fold), list(types))

    return UnitKind(_NAMES.get(system, system), make, _inputs, (*_SOURCES, *_OWN[system]), _ONE_FOLD.get(system))


UNITS: Final[Mapping[str, UnitKind]] = {kind.name: kind for kind in map(_kind, KERNEL_SYSTEMS)}


def cases_of(world: World, system: str, content: Content) -> dict[int, list[Case]]:
    """Kernel predictions of a system or blend, by fold."""
    members = BLENDS.get(system, (system,))
    numbers = sorted(set.intersection(*(set(content[member]) for member in members)))
    parts = {member: {number: decode(content[member][number], world.folds[number]) for number in numbers} for member in members}
    if len(members) == 1:
        return parts[members[0]]
    return {number: blended([parts[member][number] for member in members], blend_of) for number in numbers}


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


def _system_rows(world: World, system: str, content: Content) -> list[PredictionRow]:
    by_fold = cases_of(world, system, content)
    judged = judge(world, by_fold, fold_fits(world, by_fold))
    return [row for number, cases in by_fold.items() for row in prediction_rows(system, cases, judged[number])]


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


def candidates(world: World, content: Content) -> dict[str, Candidate]:
    """Every system that may be served, judged on held-out families."""
    found = {}
    for name in CANDIDATES:
        by_fold = cases_of(world, name, content)
        fits = fold_fits(world, by_fold)
        found[name] = Candidate(by_fold, fits, judge(world, by_fold, fits))
    return found


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


def _stowplan_rows(world: World, system: str, content: Content) -> list[PredictionRow]:  # noqa: ARG001 - the harness names the system
    return served_rows(candidates(world, content))


def _write_kernels(world: World, system: str, content: Content) -> None:  # noqa: ARG001 - as above
    write_judgements(world.folder, served_kernels(candidates(world, content)), KernelJudgement, world.data)


def _plain_rows(world: World, system: str, content: Content) -> list[PredictionRow]:
    """The sum over kernels and nothing else, as nn-Meter has it; no interval."""
    member = _PLAIN[system]
    rows = []
    for cases in cases_of(world, member, {member: content[_NAMES.get(member, member)]}).values():
        for case in cases:
            if case.measured.visits:
                where = (system, case.sample.split, case.sample.name, case.sample.family, case.slice, case.fold)
                predicted = None if case.efficiencies is None else sustained_ms(kernels_ms(case), case.measured.slice_)
                rows.append(PredictionRow(*where, predicted, reason=case.refusal))
    return rows


def _write_types(world: World, system: str, content: Content) -> None:
    rows = [row for part in content[system].values() for row in decode_types(part)]
    write_judgements(world.folder, rows, TypeJudgement, world.data)


def _system(name: str) -> System:
    return System(name, BLENDS.get(name, (name,)), _system_rows, _write_types if name == "gnn" else None)


_UNITS_OF_CANDIDATES: Final = tuple(dict.fromkeys(member for name in CANDIDATES for member in BLENDS.get(name, (name,))))
SYSTEMS: Final[Mapping[str, System]] = {
    **{name: _system(name) for name in CANDIDATES},
    **{name: System(name, (_NAMES.get(member, member),), _plain_rows) for name, member in _PLAIN.items()},
    STOWPLAN: System(STOWPLAN, _UNITS_OF_CANDIDATES, _stowplan_rows, _write_kernels),
}
