"""Tables of figures as text: the same cells for Markdown pages and for terminals."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from stowplan_predictor.training.judgements.predictions import PredictionRow
from stowplan_predictor.training.judgements.scores import Coverage, Score
from stowplan_predictor.training.pages.blames import Blame, TypeScore
from stowplan_predictor.training.pages.figures import Figure
from stowplan_predictor.training.pages.truths import Truth

# Kernel types that a network's blame names.
_BLAMED: Final = 3
NONE: Final = "-"


@dataclass(frozen=True, slots=True)
class Table:
    """Cells in rows, all as text."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """As Markdown."""
        return "\n".join("| " + " | ".join(row) + " |" for row in (self.header, ("---",) * len(self.header), *self.rows))


def percent(value: float) -> str:
    """One digit after the point: no figure here is known better."""
    return f"{value:.1f} %"


def milliseconds(value: float) -> str:
    """Three significant digits."""
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def signed(ratio: float) -> str:
    """An error as a percentage with its sign."""
    return f"{100 * ratio:+.1f} %"


_SCORE: Final = ("cases", "MAPE", "95 % range", "within 5 %", "within 10 %", "rank correlation")


def score_cells(found: Score, of: int | None = None) -> tuple[str, ...]:
    """Under `_SCORE`; `of` is how many cases there are, where a system was asked about some only."""
    asked = found.cases + found.refused
    told = str(asked) if of is None or asked == of else f"{asked} of {of}"
    return (
        f"{told} ({found.refused} refused)" if found.refused else told,
        percent(found.mape_percent),
        f"{found.mape_low_percent:.1f} to {found.mape_high_percent:.1f}",
        f"{found.within_5_percent:.0f} %",
        f"{found.within_10_percent:.0f} %",
        f"{found.rank_correlation:.3f}",
    )


def coverage_cells(found: Coverage | None) -> tuple[str, ...]:
    """Share held with its range, and half the interval's width."""
    if found is None:
        return (NONE, NONE)
    return (f"{found.percent:.0f} % ({found.low_percent:.0f} to {found.high_percent:.0f})", f"±{found.half_width_percent:.0f} %")


def main_table(figures: Sequence[Figure], names: Mapping[str, str]) -> Table:
    """The one table: systems by group; a group is named in its first row."""
    rows, last = [], ""
    for item in figures:
        title = "" if item.group.title == last else f"**{item.group.title}**"
        last = item.group.title
        rows.append((title, names.get(item.system, item.system), *score_cells(item.score, item.of), *coverage_cells(item.coverage)))
    return Table(("judged on", "system", *_SCORE, "90 % interval held", "half-width"), tuple(rows))


def random_table(figures: Sequence[Figure], names: Mapping[str, str], published: Mapping[str, str]) -> Table:
    """Absolute errors on random networks, in the papers' measure and in ours.

    Args:
        figures: of random groups.
        names: of systems.
        published: by split, what the papers report for such networks.
    """
    rows, last = [], ""
    for item in figures:
        first = item.group.title != last
        last = item.group.title
        of_mean = NONE if item.mae_over_mae_of_mean is None else f"{item.mae_over_mae_of_mean:.3f}"
        told = published.get(item.group.split, "") if first else ""
        rows.append(
            (f"**{last}**" if first else "", names.get(item.system, item.system), milliseconds(item.mae_ms), f"{item.mae_over_mean:.3f}", of_mean, told)
        )  # fmt: skip
    return Table(("judged on", "system", "MAE, ms", "MAE / mean latency", "MAE / MAE of the mean", "published"), tuple(rows))


def network_table(cases: Sequence[tuple[Truth, PredictionRow | None]]) -> Table:
    """One row a network."""
    rows = []
    for truth, row in cases:
        marks = "noisy" if truth.noisy else ""
        if row is None or row.predicted_ms is None:
            reason = row.reason if row is not None else "not judged"
            rows.append((truth.network, truth.slice, NONE, NONE, milliseconds(truth.ms), reason, marks))
            continue
        span = NONE if row.lower_ms is None or row.upper_ms is None else f"{milliseconds(row.lower_ms)} to {milliseconds(row.upper_ms)}"
        error = signed(row.predicted_ms / truth.ms - 1)
        rows.append((truth.network, truth.slice, milliseconds(row.predicted_ms), span, milliseconds(truth.ms), error, marks))
    return Table(("network", "slice", "predicted ms", "90 % interval", "measured ms", "error", ""), tuple(rows))


def blame_table(blames: Sequence[Blame]) -> Table:
    """The worst networks, one row each, with the kernel types to blame."""
    rows = []
    for item in blames:
        truth = item.truth
        named = "; ".join(f"{part.kernels} {part.type}: {milliseconds(part.measured_ms)} → {milliseconds(part.predicted_ms)}" for part in item.types[:_BLAMED])
        sums = NONE
        if item.kernels_measured_ms is not None and item.kernels_predicted_ms is not None:
            sums = f"{milliseconds(item.kernels_measured_ms)} → {milliseconds(item.kernels_predicted_ms)}"
        measured = milliseconds(truth.ms) + (" (noisy)" if truth.noisy else "")
        rows.append((truth.network, truth.family, truth.slice, measured, milliseconds(item.predicted_ms), signed(item.error), sums, named or "no profile"))
    header = ("network", "family", "slice", "measured ms", "predicted ms", "error", "its kernels, ms", "kernels to blame: measured → predicted ms")
    return Table(header, tuple(rows))


def type_table(types: Sequence[TypeScore]) -> Table:
    """Kernels by type."""
    rows = [(item.type, str(item.families), f"{100 * item.time_share:.1f} %", *score_cells(item.score)) for item in types]
    return Table(("type", "families", "share of time", *_SCORE), tuple(rows))


def figure_document(item: Figure) -> dict[str, object]:
    """A figure as plain JSON."""
    return {
        "judgedOn": item.group.title,
        "split": item.group.split,
        "slice": item.group.slice,
        "system": item.system,
        "score": asdict(item.score),
        "coverage": None if item.coverage is None else asdict(item.coverage),
        "maeMilliseconds": item.mae_ms,
        "maeOverMeanLatency": item.mae_over_mean,
        "maeOverMaeOfMean": item.mae_over_mae_of_mean,
    }
