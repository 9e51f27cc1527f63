"""Evaluation from committed predictions: figures of every system, and the page `docs/accuracy.md` that shows them. Nothing is trained and nothing measured.

Any bundle on any data set is judged in `accuracy_bundles`.
"""

from dataclasses import dataclass
from pathlib import Path

from stowplan_predictor.training.pages import stages as accuracy_stages
from stowplan_predictor.training.pages.accuracy_pages import all_figures, render
from stowplan_predictor.training.pages.bars import bar_table
from stowplan_predictor.training.pages.figures import Figure
from stowplan_predictor.training.pages.sources import SYSTEMS, read_evidence
from stowplan_predictor.training.pages.tables import Table, main_table


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What is known of every system on one data set."""

    device: str
    figures: tuple[Figure, ...]
    bars: Table
    table: Table
    page: str
    """Markdown."""


def evaluate(folder: Path, bundle: Path) -> Evaluation:
    """Judges every system by its committed predictions.

    Args:
        folder: `datasets/<device>`.
        bundle: directory of the served one; its manifest judges pairs and loads.

    Raises:
        DatasetRefused: data or predictions are missing, malformed, or were not made for each other.
    """
    evidence = read_evidence(folder, bundle)
    found = all_figures(evidence)
    return Evaluation(
        device=evidence.device,
        figures=tuple(found),
        bars=bar_table(found, accuracy_stages.shares(evidence)),
        table=main_table(found, SYSTEMS),
        page=render(evidence, found),
    )


def write_page(page: str, output: Path) -> None:
    """Writes a page whole: to a temporary file first, then in its place."""
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_name(output.name + ".tmp")
    temporary.write_text(page, encoding="utf-8")
    temporary.replace(output)


def is_current(page: str, output: Path) -> bool:
    """Whether a file holds exactly that page."""
    return output.is_file() and output.read_text(encoding="utf-8") == page
