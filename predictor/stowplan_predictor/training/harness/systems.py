"""A system: one row of the accuracy table, made from units of work."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from stowplan_predictor.training.harness.worlds import World
from stowplan_predictor.training.judgements.predictions import PredictionRow

# Kind of unit to fold to content.
Content = Mapping[str, Mapping[int, bytes]]


@dataclass(frozen=True, slots=True)
class System:
    """One row of the table."""

    name: str
    units: tuple[str, ...]
    """Kinds of units it is made from; a blend has several and adds none of its own."""
    rows: Callable[[World, str, Content], Sequence[PredictionRow]]
    """Predictions from finished units; the second argument is the system's name."""
    beside: Callable[[World, str, Content], None] | None = None
    """Writes what the system's units say beside predictions, in files of its own."""
