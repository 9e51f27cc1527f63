"""How many kernels of each type to measure alone: where the model errs most on what takes most time (nn-Meter's adaptive sampling, by type)."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from stowplan_predictor.training.judgements.parts import KernelJudgement

_FIRST: Final = Path(__file__).with_name("isolated_errors.json")
# Every type is looked at a little: an error that nobody measures is no small error.
LEAST: Final = 12
# An error above this is as bad as this: wild errors of kernels of a microsecond say nothing about their weight in a network.
_MOST_ERROR: Final = 1.0
# Of all kernels, for one type.
_MOST_SHARE: Final = 0.2


def first() -> tuple[str, dict[str, float]]:
    """Weights of round 0, and where they come from: the first kernel models, trained on networks alone."""
    record = json.loads(_FIRST.read_text(encoding="utf-8"))
    return record["source"], from_errors(record["errors"])


def from_errors(errors: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Held-out error times share of time of each kernel type."""
    return {name: min(_MOST_ERROR, item["mape_percent"] / 100) * item["share_of_time_percent"] / 100 for name, item in errors.items()}


def dealt(weights: Mapping[str, float], total: int, least: int = LEAST) -> dict[str, int]:
    """Kernels of each type, in proportion to the weights within the bounds above.

    Raises:
        ValueError: there are no weights.
    """
    if not weights or sum(weights.values()) <= 0:
        raise ValueError("no weights to deal kernels by")
    whole = sum(weights.values())
    return {name: max(least, min(round(_MOST_SHARE * total), round(total * weight / whole))) for name, weight in sorted(weights.items())}


def from_judgements(rows: Sequence[KernelJudgement]) -> tuple[dict[str, float], dict[tuple[str, int], float]]:
    """Misjudged time over all time of each kernel type, and the misjudged share of each kernel, by network and position.

    Only published networks, by models that never saw their family.
    """
    judged = [(row, row.measured_ms) for row in rows if row.measured_ms is not None and row.split == "zoo"]
    whole = sum(measured for _, measured in judged)
    types: dict[str, float] = {}
    kernels: dict[tuple[str, int], float] = {}
    for row, measured in judged:
        wrong = min(_MOST_ERROR * measured, abs(row.predicted_ms - measured))
        types[row.type] = types.get(row.type, 0.0) + wrong / whole
        kernels[row.network, row.position] = max(kernels.get((row.network, row.position), 0.0), wrong / measured)
    return types, kernels
