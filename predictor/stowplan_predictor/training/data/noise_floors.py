"""How well measurements repeat: what no model can be better than, and how sure the truth is that models are judged by."""

import itertools
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

# Visits are numbered from ten on (`rows`); what was measured before by another protocol is compared with its own kind only.
FIRST_VISIT: Final = 10


class Timed(Protocol):
    """A row that says how long a network took on a slice in one of several visits."""

    @property
    def network(self) -> str:
        """Its name."""

    @property
    def slice(self) -> str:
        """Where it ran."""

    @property
    def repeat(self) -> int:
        """Which visit."""

    @property
    def median_ms(self) -> float:
        """Of the visit."""

    @property
    def p25_ms(self) -> float:
        """Of the visit."""


@dataclass(frozen=True, slots=True)
class Floor:
    """Absolute relative differences between a test and a retest, as shares."""

    retests: int
    mean: float
    """The test-retest MAPE."""
    median: float
    p90: float
    largest: float

    def plain(self) -> dict[str, Any]:
        """For JSON, rounded to hundredths of a percent."""
        figures = {"mean": self.mean, "median": self.median, "p90": self.p90, "largest": self.largest}
        return {"retests": self.retests, **{f"{name}_percent": round(100 * value, 2) for name, value in figures.items()}}


def floor_of(differences: Iterable[float]) -> Floor | None:
    """What differences sum up to; None where there is none."""
    ordered = sorted(differences)
    if not ordered:
        return None
    return Floor(len(ordered), statistics.fmean(ordered), statistics.median(ordered), ordered[int(0.9 * (len(ordered) - 1))], ordered[-1])


def by_case(rows: Iterable[Timed]) -> dict[tuple[str, str], list[Timed]]:
    """Visits of each network on each slice, in their order."""
    found: dict[tuple[str, str], list[Timed]] = {}
    for row in sorted(rows, key=lambda row: (row.network, row.slice, row.repeat)):
        found.setdefault((row.network, row.slice), []).append(row)
    return found


def retests(cases: Mapping[tuple[str, str], Sequence[Timed]], column: str) -> list[float]:
    """Each visit against the one before it, in `median_ms` or `p25_ms`."""
    return [
        abs(getattr(later, column) - getattr(earlier, column)) / getattr(earlier, column)
        for visits in cases.values()
        for earlier, later in itertools.pairwise(visits)
    ]


def truth_differences(cases: Mapping[tuple[str, str], Sequence[Timed]]) -> list[float]:
    """The truth from half of the visits against the truth from the other half, where there are at least four: odd ones against even ones."""
    found = []
    for visits in cases.values():
        if len(visits) >= 4:
            first, second = (min(half, key=lambda row: row.p25_ms).median_ms for half in (visits[::2], visits[1::2]))
            found.append(abs(second - first) / first)
    return found


def floors(rows: Sequence[Timed], slices: Iterable[str]) -> dict[str, Any]:
    """Test against retest for each slice, in plain values."""
    found: dict[str, Any] = {}
    for part in slices:
        cases = by_case(row for row in rows if row.slice == part)
        figures = {
            "median": floor_of(retests(cases, "median_ms")),
            "lower_quartile": floor_of(retests(cases, "p25_ms")),
            "truth": floor_of(truth_differences(cases)),
        }
        found[part] = {name: floor.plain() for name, floor in figures.items() if floor is not None}
    return found
