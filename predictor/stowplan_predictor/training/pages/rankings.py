"""Who is ahead of what the bundle serves, where, and why it does not serve: said whether it flatters or not."""

from collections.abc import Mapping, Sequence
from typing import Any

from stowplan_predictor.training.pages.bars import SERVED
from stowplan_predictor.training.pages.figures import AGAIN, KERNELS, Figure
from stowplan_predictor.training.pages.sources import SYSTEMS
from stowplan_predictor.training.pages.tables import Table, percent

# What is no system: the noise and the oracle.
_NO_SYSTEM = frozenset({AGAIN, KERNELS})


def ahead(found: Sequence[Figure]) -> list[tuple[Figure, Figure]]:
    """(a system, what is served) for every group in which the system was asked about every network and is off by less on average; best first."""
    served = {item.group: item for item in found if item.system == SERVED}
    pairs = [
        (item, served[item.group])
        for item in found
        if item.system != SERVED and item.system not in _NO_SYSTEM and item.group in served and item.asked == item.of
    ]
    return [(item, own) for item, own in pairs if item.score.mape_percent < own.score.mape_percent]


def _why(system: str, candidates: Mapping[str, float], served: str) -> str:
    if system == served:
        return "it serves: `stowplan` is the recipe with its choice, which took another one on some folds"
    if system in candidates:
        return f"a candidate; over all kinds of networks it is off by {candidates[system]:.4f}, what serves by {candidates[served]:.4f}"
    if system.endswith("-sum") or system == "rules-forests":
        return "a plain sum without an interval; the candidate made of it adds what is learned end to end"
    return "knows whole networks only: no kernel to explain, no slice beside those measured"


def _together(one: Figure, other: Figure) -> str:
    apart = one.score.mape_high_percent < other.score.mape_low_percent
    return "no" if apart else "yes"


def section(found: Sequence[Figure], kernels: Mapping[str, Any]) -> str:
    """What was chosen by which figures, and every system that is ahead somewhere.

    Args:
        found: figures of the main table.
        kernels: `models.kernels` of the bundle's manifest.
    """
    candidates: Mapping[str, float] = kernels["mean_absolute_log_error"]
    served = str(kernels["system"])
    chosen = Table(
        ("candidate", "mean absolute log error"),
        tuple(
            (f"**{SYSTEMS.get(name, name)}**" if name == served else SYSTEMS.get(name, name), f"{error:.4f}")
            for name, error in sorted(candidates.items(), key=lambda item: (item[1], item[0]))
        ),
    )
    rows = tuple(
        (
            item.group.title,
            SYSTEMS.get(item.system, item.system),
            percent(item.score.mape_percent),
            percent(own.score.mape_percent),
            _together(item, own),
            _why(item.system, candidates, served),
        )
        for item, own in ahead(found)
    )
    lead = Table(("judged on", "ahead", "its MAPE", "`stowplan`", "ranges overlap", "why it does not serve"), rows)
    told = lead.markdown() if rows else "No system that was asked about every network of a group is ahead of what is served on it."
    return f"""## What serves, and who is ahead of it

The bundle serves the candidate with the least mean of |log(measured / predicted)| on families held out, over all slices; all published networks together weigh
1, fully connected and convolutional ones 0.3 each, other random ones 0.15. The recipe in the table makes that choice for each fold on the other folds, so its
figures pay for choosing.

{chosen.markdown()}

{told}"""
