"""Error analysis: the networks that were predicted worst, and the kernel types to blame, predicted against profiled."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from stowplan_predictor.training.judgements.parts import KernelJudgement
from stowplan_predictor.training.judgements.predictions import PredictionRow
from stowplan_predictor.training.judgements.scores import Score, score
from stowplan_predictor.training.pages.truths import Case, Truth, is_fractional


@dataclass(frozen=True, slots=True)
class TypeBlame:
    """Kernels of one type in one network."""

    type: str
    kernels: int
    measured_ms: float
    predicted_ms: float

    @property
    def excess_ms(self) -> float:
        """What they add to the network's error."""
        return self.predicted_ms - self.measured_ms


@dataclass(frozen=True, slots=True)
class Blame:
    """One network that was predicted badly."""

    truth: Truth
    predicted_ms: float
    kernels_measured_ms: float | None
    """Sum of the kernels that were profiled; None where there is no profile."""
    kernels_predicted_ms: float | None
    """Sum of the predictions of those same kernels."""
    types: tuple[TypeBlame, ...]
    """The largest excess in either direction first."""

    @property
    def error(self) -> float:
        """Predicted over measured, less one."""
        return self.predicted_ms / self.truth.ms - 1


def _by_type(kernels: Iterable[KernelJudgement]) -> list[TypeBlame]:
    found: dict[str, list[KernelJudgement]] = {}
    for kernel in kernels:
        if kernel.measured_ms is not None:
            found.setdefault(kernel.type, []).append(kernel)
    blames = [
        TypeBlame(name, len(own), sum(kernel.measured_ms or 0.0 for kernel in own), sum(kernel.predicted_ms for kernel in own)) for name, own in found.items()
    ]
    return sorted(blames, key=lambda blame: (-abs(blame.excess_ms), blame.type))


def _blame(truth: Truth, predicted_ms: float, kernels: Sequence[KernelJudgement]) -> Blame:
    types = _by_type(kernels)
    if not types:
        return Blame(truth, predicted_ms, None, None, ())
    return Blame(truth, predicted_ms, sum(item.measured_ms for item in types), sum(item.predicted_ms for item in types), tuple(types))


def worst(count: int, truths: Mapping[Case, Truth], rows: Mapping[Case, PredictionRow], kernels: Iterable[KernelJudgement], split: str) -> list[Blame]:
    """The networks of a split with the largest relative errors on whole cores, each once, on the slice where it is worst.

    Args:
        count: how many.
        truths: measured.
        rows: predictions of one system.
        kernels: judged kernels of the same system.
        split: of the networks.
    """
    by_case: dict[Case, list[KernelJudgement]] = {}
    for kernel in kernels:
        by_case.setdefault((kernel.network, kernel.slice), []).append(kernel)
    found: dict[str, Blame] = {}
    for case, truth in truths.items():
        row = rows.get(case)
        if truth.split != split or is_fractional(truth.slice) or row is None or row.predicted_ms is None:
            continue
        blame = _blame(truth, row.predicted_ms, by_case.get(case, ()))
        if truth.network not in found or abs(blame.error) > abs(found[truth.network].error):
            found[truth.network] = blame
    return sorted(found.values(), key=lambda blame: (-abs(blame.error), blame.truth.network))[:count]


@dataclass(frozen=True, slots=True)
class TypeScore:
    """All judged kernels of one type."""

    type: str
    families: int
    time_share: float
    """Of the profiled time of all judged kernels, 0 to 1."""
    score: Score


def by_type(kernels: Iterable[KernelJudgement]) -> list[TypeScore]:
    """Kernels against the profiler, type by type, longest time first."""
    profiled = [kernel for kernel in kernels if kernel.measured_ms is not None]
    whole = sum(kernel.measured_ms or 0.0 for kernel in profiled)
    found = []
    for name in {kernel.type for kernel in profiled}:
        own = [kernel for kernel in profiled if kernel.type == name]
        measured, families = [kernel.measured_ms or 0.0 for kernel in own], [kernel.family for kernel in own]
        found.append(TypeScore(name, len(set(families)), sum(measured) / whole, score(measured, [kernel.predicted_ms for kernel in own], families)))
    return sorted(found, key=lambda item: (-item.time_share, item.type))
