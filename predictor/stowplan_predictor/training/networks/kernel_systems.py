"""Systems that sum kernels, as the rivals' harness knows them: a unit is one kernel system on one fold; networks are predicted from units of all folds.

What is learned end to end (dispatch, correction, interval) for a fold comes from the units of the other folds, so that no unit is fitted twice. `stowplan` is
what the bundle's recipe serves: for each fold the candidate that is best on the others. Published rivals and ablations are the plain sum over kernels.
"""

import hashlib
from collections.abc import Mapping
from typing import Final

from stowplan_predictor.kernels.throttles import sustained_ms
from stowplan_predictor.training.harness.systems import Content, System
from stowplan_predictor.training.harness.units import UnitKind
from stowplan_predictor.training.harness.worlds import World
from stowplan_predictor.training.judgements.parts import KernelJudgement, TypeJudgement, write_judgements
from stowplan_predictor.training.judgements.predictions import PredictionRow
from stowplan_predictor.training.kernels.judgements import type_judgements
from stowplan_predictor.training.kernels.models import BLENDS, KERNEL_SYSTEMS
from stowplan_predictor.training.kernels.models import blended as blend_of
from stowplan_predictor.training.networks.candidates import STOWPLAN, Candidate, candidate, rows, served_kernels, served_rows
from stowplan_predictor.training.networks.candidates import candidates as known_candidates
from stowplan_predictor.training.networks.cases import Case
from stowplan_predictor.training.networks.cross_fits import blended, decode, decode_types, encode, judged_by
from stowplan_predictor.training.networks.dispatch_fits import kernels_ms

# Fitted on one fold only, to show the difference that the target makes.
_ONE_FOLD: Final[Mapping[str, frozenset[int]]] = {"gnn-raw": frozenset({0})}
# Plain sums over the kernels of a system, by name: a published rival, and what the target and the end-to-end stage are worth.
_PLAIN: Final[Mapping[str, str]] = {"rules-forests": "forests", "gnn-raw": "gnn-raw", "gnn-sum": "gnn", "boosted-sum": "boosted"}
# What may be served: everything but raw latencies, which are there to be compared with.
CANDIDATES: Final = tuple(name for name in (*KERNEL_SYSTEMS, *BLENDS) if name != "gnn-raw")
# What graphs and fusion make of a file is among the inputs.
_SOURCES: Final = (
    "kernels", "training/kernels", "training/networks/cases.py", "training/networks/cross_fits.py",
    *(f"training/data/{name}.py" for name in ("folds", "measurements", "sample_jobs", "samples")),
)  # fmt: skip


def _inputs(world: World) -> str:
    """Digest of what kernel systems see: kernels with their insides and features, times, profiles and folds of everything that was measured.

    What graphs and fusion make of a file is all in there, so that their code need not stand in a unit's key.
    """
    found = hashlib.sha256()
    for name, sample in sorted(world.samples.networks.items()):
        found.update(f"{name}\0{sample.family}\0{sample.split}\0{world.splits.get(sample.family)}\0{sample.work.types}\0{sample.runtime_types}\0".encode())
        found.update(f"{sample.work.subgraphs.types}\0".encode())
        found.update(sample.work.subgraphs.nodes.tobytes() + sample.work.subgraphs.owner.tobytes() + sample.work.subgraphs.edges.tobytes())
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

    return UnitKind(system, make, _inputs, _SOURCES, _ONE_FOLD.get(system))


UNITS: Final[Mapping[str, UnitKind]] = {kind.name: kind for kind in map(_kind, KERNEL_SYSTEMS)}


def cases_of(world: World, system: str, content: Content) -> dict[int, list[Case]]:
    """Kernel predictions of a system or blend, by fold."""
    members = BLENDS.get(system, (system,))
    numbers = sorted(set.intersection(*(set(content[member]) for member in members)))
    parts = {member: {number: decode(content[member][number], world.folds[number]) for number in numbers} for member in members}
    if len(members) == 1:
        return parts[members[0]]
    return {number: blended([parts[member][number] for member in members], blend_of) for number in numbers}


def _system_rows(world: World, system: str, content: Content) -> list[PredictionRow]:
    return rows({system: candidate(world, cases_of(world, system, content))})[system]


def candidates(world: World, content: Content, processes: int) -> dict[str, Candidate]:
    """Every system that may be served, judged on held-out families."""
    return known_candidates(world, {name: cases_of(world, name, content) for name in CANDIDATES}, processes)


def write_parts(world: World, known: Mapping[str, Candidate], content: Content) -> None:
    """What is judged beside whole networks: the served recipe's kernels, and how often the graph network names the runtime's kernels."""
    write_judgements(world.folder, served_kernels(known), KernelJudgement, world.data)
    _write_types(world, "gnn", content)


def _stowplan_rows(world: World, system: str, content: Content) -> list[PredictionRow]:  # noqa: ARG001 - the harness names the system
    return served_rows(candidates(world, content, 1))


def _write_kernels(world: World, system: str, content: Content) -> None:  # noqa: ARG001 - as above
    write_judgements(world.folder, served_kernels(candidates(world, content, 1)), KernelJudgement, world.data)


def _plain_rows(world: World, system: str, content: Content) -> list[PredictionRow]:
    """The sum over kernels and nothing else, as nn-Meter has it; no interval."""
    member = _PLAIN[system]
    found = []
    for cases in cases_of(world, member, content).values():
        for case in cases:
            if case.measured.visits:
                where = (system, case.sample.split, case.sample.name, case.sample.family, case.slice, case.fold)
                predicted = None if case.efficiencies is None else sustained_ms(kernels_ms(case), case.measured.slice_)
                found.append(PredictionRow(*where, predicted, reason=case.refusal))
    return found


def _write_types(world: World, system: str, content: Content) -> None:
    found = [row for part in content[system].values() for row in decode_types(part)]
    write_judgements(world.folder, found, TypeJudgement, world.data)


def _system(name: str) -> System:
    return System(name, BLENDS.get(name, (name,)), _system_rows, _write_types if name == "gnn" else None)


_UNITS_OF_CANDIDATES: Final = tuple(dict.fromkeys(member for name in CANDIDATES for member in BLENDS.get(name, (name,))))
SYSTEMS: Final[Mapping[str, System]] = {
    **{name: _system(name) for name in CANDIDATES},
    **{name: System(name, (member,), _plain_rows) for name, member in _PLAIN.items()},
    STOWPLAN: System(STOWPLAN, _UNITS_OF_CANDIDATES, _stowplan_rows, _write_kernels),
}
