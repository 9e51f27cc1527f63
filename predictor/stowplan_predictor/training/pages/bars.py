"""What was aimed at, what the papers report, and what was reached.

Published figures: end-to-end MAPE, edge fusion accuracy and kernel types of the kernel GNN with learned fusion (8.68 %, 98.35 %, 88.63 and 98.84 %, on GPUs,
five folds over models); random networks, MAE over the mean latency: 0.00282 / 0.02132 s (fully connected) and 0.01801 / 0.39026 s (convolutional) of the deep
network on flattened adjacency, 0.0038 / 0.0400 s of the graph-informed transformer (fully connected).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from stowplan_predictor.training.pages.figures import Figure
from stowplan_predictor.training.pages.tables import NONE, Table
from stowplan_predictor.training.pages.truths import is_fractional

SERVED: Final = "stowplan"
PUBLISHED_RANDOM: Final[Mapping[str, str]] = {"fnn": "0.132 (DNN), 0.095 (transformer)", "cnn": "0.046 (DNN)"}
_NOMINAL_PERCENT: Final = 90.0
_WIDEST_HALF_PERCENT: Final = 12.0


@dataclass(frozen=True, slots=True)
class Aim:
    """A figure that has a bar and a goal."""

    title: str
    published: str
    bar: float
    goal: float
    falling: bool
    """True where less is better."""
    digits: int
    unit: str = " %"

    def shown(self, value: float) -> str:
        """A value in this figure's unit."""
        return f"{value:.{self.digits}f}{self.unit}"

    def verdict(self, reached: float | None) -> str:
        """How a value stands to bar and goal."""
        if reached is None:
            return "not judged"
        beyond = [reached <= limit if self.falling else reached >= limit for limit in (self.goal, self.bar)]
        if beyond[0]:
            return "**goal reached**"
        return "**bar reached**" if beyond[1] else f"missed by {self.shown(abs(reached - self.bar))}"

    def cells(self, where: str, reached: float | None) -> tuple[str, ...]:
        """A row of the table."""
        sign = "≤" if self.falling else "≥"
        limits = (f"{sign} {limit:g}{self.unit}" for limit in (self.bar, self.goal))
        return (self.title + where, self.published, *limits, NONE if reached is None else self.shown(reached), self.verdict(reached))


@dataclass(frozen=True, slots=True)
class Shares:
    """Shares of the stages below, in percent; None where nobody judged them."""

    edges: float | None
    edges_by: str
    """Which way of fusing the bundle serves, and whether its figure is of families it never saw."""
    top1: float | None
    top5: float | None


# Split, aim, and where its value stands in a figure.
_NETWORKS: Final[tuple[tuple[str, Aim, Callable[[Figure], float | None]], ...]] = (
    ("zoo", Aim("end-to-end MAPE", "8.68 %", 8.0, 5.0, falling=True, digits=1), lambda item: item.score.mape_percent),
    ("zoo", Aim("predictions within ±10 %", NONE, 75.0, 90.0, falling=False, digits=1), lambda item: item.score.within_10_percent),
    ("fnn", Aim("MAE / MAE of the mean", "0.132", 0.132, 0.066, falling=True, digits=3, unit=""), lambda item: item.mae_over_mae_of_mean),
    ("cnn", Aim("MAE / MAE of the mean", "0.046", 0.046, 0.023, falling=True, digits=3, unit=""), lambda item: item.mae_over_mae_of_mean),
)
_EDGES: Final = Aim("edge fusion accuracy", "98.35 %", 99.0, 99.5, falling=False, digits=2)
_STAGES: Final[tuple[tuple[Aim, Callable[[Shares], float | None]], ...]] = (
    (_EDGES, lambda shares: shares.edges),
    (Aim("kernel type, top-1", "88.63 %", 95.0, 98.0, falling=False, digits=2), lambda shares: shares.top1),
    (Aim("kernel type, top-5", "98.84 %", 99.5, 99.9, falling=False, digits=2), lambda shares: shares.top5),
)


def _served(figures: Sequence[Figure], split: str) -> list[Figure]:
    return [item for item in figures if item.system == SERVED and item.group.split == split and not is_fractional(item.group.slice)]


def _coverage_cells(item: Figure) -> tuple[str, ...]:
    title = f"coverage of the 90 % interval: {item.group.title}"
    limits = ("none published", "its 95 % range contains 90 %", f"and half-width ≤ {_WIDEST_HALF_PERCENT:g} %")
    found = item.coverage
    if found is None:
        return (title, *limits, NONE, "not judged")
    reached = f"{found.percent:.1f} % ({found.low_percent:.1f} to {found.high_percent:.1f}), half-width {found.half_width_percent:.1f} %"
    if not found.contains(_NOMINAL_PERCENT):
        return (title, *limits, reached, "missed: 90 % is outside the range")
    return (title, *limits, reached, "**goal reached**" if found.half_width_percent <= _WIDEST_HALF_PERCENT else "**bar reached**")


def bar_table(figures: Sequence[Figure], shares: Shares) -> Table:
    """Bars, goals, and what was reached by what the bundle serves, on whole cores."""
    rows = []
    for split, aim, value in _NETWORKS:
        own = _served(figures, split)
        rows += [aim.cells(f": {item.group.title}", value(item)) for item in own] or [aim.cells(f": {split}", None)]
    rows += [aim.cells(f": {shares.edges_by}" if aim is _EDGES else "", value(shares)) for aim, value in _STAGES]
    rows += [_coverage_cells(item) for item in _served(figures, "zoo")]
    return Table(("figure (families held out)", "published", "bar", "goal", "reached", "verdict"), tuple(rows))
