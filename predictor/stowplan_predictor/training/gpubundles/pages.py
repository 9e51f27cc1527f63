"""Sections of the page on accuracy: one for each GPU and runtime that a campaign measured."""

from collections.abc import Sequence
from pathlib import Path

from stowplan_predictor.training.gpubundles import outcomes
from stowplan_predictor.training.gpubundles.outcomes import Outcome
from stowplan_predictor.training.gpubundles.scores import Row, beside, noise, parts, whole


def sections(datasets: Path) -> list[str]:
    """Of all that is kept below `datasets/cuda`, in the order of its names; none where no GPU was measured.

    Raises:
        DatasetRefused: something that is kept there is broken.
    """
    return [section(outcomes.read(path)) for path in sorted((datasets / "cuda").glob("*/predictions/outcome-*.json"))]


def section(found: Outcome) -> str:
    """Markdown for the page on accuracy: one GPU under one runtime."""
    lines = [f"## {found.product} under `{found.runtime}`, measured by the campaign", "",
             "Networks of families that taught nothing of what predicts them (`training/gpubundles/judgements.py`), one request at a time.",]  # fmt: skip
    lines += _table("On the whole GPU", "network", whole(found.networks), [one.noise for one in found.networks if one.partition == "full"])
    lines += _table("On parts of the GPU", "row", parts(found.networks), [one.noise for one in found.networks if one.partition != "full"])
    for kind, words in (("mps", "Beside one that never rests, under MPS at half each"), ("time", "Beside one that never rests, taking turns")):
        lines += _table(words, "pair", beside(found.pairs, kind), [one.noise for one in found.pairs if one.sharing.startswith(kind)])
    if found.kernels:
        lines += ["", "Kernels of one operator on the device, mean absolute percentage error:", "", "| kernels | rows | public, by rule | calibrated |",
                  "|---|---:|---:|---:|"]  # fmt: skip
        lines += [f"| {one.family} | {one.kernels} | {one.public:.1f} | {one.calibrated:.1f} |" for one in found.kernels]
    if found.missing:
        lines += ["", "Missing:", "", *(f"* {item}" for item in found.missing)]
    return "\n".join(lines) + "\n"


def _table(title: str, unit: str, rows: Sequence[Row], noises: Sequence[float]) -> list[str]:
    if not rows:
        return ["", f"### {title}", "", "Not measured."]
    served = rows[-1]
    lines = [
        "",
        f"### {title}",
        "",
        f"{served.cases} {unit}s; noise of a {unit} {noise(noises):.1f} % (middle one).",
        "",
        "| system | MAPE % | median % |",
        "|---|---:|---:|",
    ]
    return lines + [f"| {one.system} | {one.mape:.1f} | {one.median:.1f} |" for one in rows]
