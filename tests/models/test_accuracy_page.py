"""The accuracy page says what the committed predictions say, and refuses those that were made from something else. All numbers here are made up."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyarrow", reason="needs the training extra")

from stowplan_predictor.errors import DatasetRefused
from stowplan_predictor.training.data import datasets
from stowplan_predictor.training.data.rows import NetworkRow
from stowplan_predictor.training.data.samples import samples
from stowplan_predictor.training.judgements.parts import FusionJudgement, KernelJudgement, judgements_path, read_judgements, write_judgements
from stowplan_predictor.training.judgements.predictions import data_digest
from stowplan_predictor.training.pages import evaluations, rankings
from stowplan_predictor.training.pages.bars import Aim, Shares, bar_table
from stowplan_predictor.training.pages.evaluations import Evaluation
from stowplan_predictor.training.pages.sources import CALIBRATION, dataset_folder
from stowplan_predictor.training.pages.truths import truths
from support import made_up_datasets as made_up
from support.synthetic_bundles import DEVICE

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A data set with predictions of two systems and judgements of every stage, and a manifest; nobody writes to them."""
    root = tmp_path_factory.mktemp("datasets")
    folder = made_up.write_dataset(root)
    rows = made_up.predicted(folder, "stowplan", 0.06)
    # A little worse than the others, so that it is known which network is the worst.
    made_up.keep_predictions(folder, [replace(rows[0], predicted_ms=0.99 * (rows[0].predicted_ms or 0.0)), *rows[1:]])
    made_up.keep_predictions(folder, made_up.predicted(folder, "linear", 0.5, intervals=False))
    made_up.keep_judgements(folder)
    return folder, made_up.write_manifest(root / "bundle")


@pytest.fixture(scope="module")
def found(judged: tuple[Path, Path]) -> Evaluation:
    """What is made of it."""
    return evaluations.evaluate(*judged)


def cells(page: str, *starts: str) -> list[str]:
    """Cells of the first row that begins with those cells."""
    for line in page.splitlines():
        row = [cell.strip() for cell in line.strip("|").split("|")]
        if row[: len(starts)] == list(starts):
            return row
    raise AssertionError(f"no row {starts} in the page")


def test_every_system_is_a_row_on_every_slice(found: Evaluation) -> None:
    """Systems, oracle and noise, on each slice that networks were measured on."""
    seen = {(item.group.slice, item.system) for item in found.figures}

    assert seen == {(slice_, system) for slice_ in made_up.SLICES for system in ("stowplan", "linear", "measured kernels", "measured again")}


def test_figures_are_those_of_the_predictions(found: Evaluation) -> None:
    """Off by six percent everywhere, with intervals that hold everything; by four from visit to visit; every profile is in the oracle."""
    by_system = {item.system: item for item in found.figures if item.group.slice == "cpu:1"}
    own = by_system["stowplan"]

    assert own.score.mape_percent == pytest.approx(6.04, abs=0.01)
    assert (own.score.cases, own.score.within_5_percent, own.score.within_10_percent) == (24, 0.0, 100.0)
    assert own.coverage is not None
    assert own.coverage.percent == 100.0
    assert own.coverage.half_width_percent == pytest.approx(12.0, abs=0.01)
    assert by_system["linear"].coverage is None
    assert by_system["measured again"].score.mape_percent == pytest.approx(4.0, abs=0.01)
    assert by_system["measured kernels"].score.cases == 24


def test_the_page_shows_bars_with_their_verdicts(found: Evaluation) -> None:
    """A MAPE of 6 % is over the bar of 8 % and short of 5 %; what nobody judged is said to be so."""
    assert cells(found.page, "end-to-end MAPE: published networks, cpu:1")[-2:] == ["6.0 %", "**bar reached**"]
    assert cells(found.page, "predictions within ±10 %: published networks, cpu:2")[-1] == "**goal reached**"
    assert cells(found.page, "edge fusion accuracy: rules, corrected on these networks")[-2:] == ["99.50 %", "**goal reached**"]
    assert cells(found.page, "kernel type, top-1")[-2:] == ["96.00 %", "**bar reached**"]
    assert cells(found.page, "MAE / MAE of the mean: cnn")[-2:] == ["-", "not judged"]


def test_who_is_ahead_of_what_is_served_is_said(found: Evaluation) -> None:
    """A system with a smaller mean error on a group is named with a reason, the chosen one with the figures that chose it; the oracle is no system."""
    kernels = {"system": "gnn", "mean_absolute_log_error": {"gnn": 0.06, "trees": 0.07}}
    nobody = rankings.section(found.figures, kernels)
    better = [replace(item, system="trees", score=replace(item.score, mape_percent=1.0)) for item in found.figures if item.system == "linear"]
    somebody = rankings.section([*found.figures, *better], kernels)

    assert "No system that was asked about every network" in nobody
    assert cells(nobody, "**kernels, GNN**")[1] == "0.0600"
    assert "oracle" not in somebody
    for item in better:
        assert cells(somebody, item.group.title, "kernels, a regressor a type")[2:4] == ["1.0 %", "6.0 %"]


def test_the_worst_networks_name_the_kernels_to_blame(found: Evaluation) -> None:
    """Convolutions that were predicted twice too long come first, with what was measured; kernels without a profile are not blamed."""
    section = found.page.split("## The ten worst networks")[1].split("\n## ")[0]
    row = cells(section, "net-00")

    rows = [line for line in section.splitlines() if line.startswith("| net-")]
    assert len(rows) == 10
    assert rows[0].startswith("| net-00 |")
    assert row[-2:] == ["3.1 → 6.05", "2 Conv: 3 → 6; 1 Relu: 0.1 → 0.05"]


def test_light_models_have_their_own_rows(found: Evaluation) -> None:
    """Each is listed with its interval; they are in no figure of published networks."""
    assert cells(found.page, "light_net", "cpu:1")[5] in {"+6.0 %", "-6.0 %"}
    assert all(item.score.cases == made_up.FAMILIES * made_up.EACH for item in found.figures if item.system == "stowplan")


def test_the_page_is_the_same_every_time(judged: tuple[Path, Path], found: Evaluation, tmp_path: Path) -> None:
    """Rendered again, byte for byte; a file that differs is not current."""
    evaluations.write_page(found.page, tmp_path / "page.md")

    assert evaluations.evaluate(*judged).page == found.page
    assert evaluations.is_current(found.page, tmp_path / "page.md")
    assert not evaluations.is_current(found.page + " ", tmp_path / "page.md")
    assert [path.name for path in tmp_path.iterdir()] == ["page.md"]


def test_no_cell_is_empty_of_meaning(found: Evaluation) -> None:
    """No `nan`, no `None` and no unformatted number gets onto the page."""
    assert not re.search(r"\bnan\b|\bNone\b|\binf\b|\d\.\d{5}", found.page)


def test_predictions_of_other_data_are_refused(tmp_path: Path) -> None:
    """One more measurement, and the old predictions are stale: an error, not a table."""
    folder, bundle = made_up.write_dataset(tmp_path), made_up.write_manifest(tmp_path / "bundle")
    made_up.keep_predictions(folder, made_up.predicted(folder, "stowplan", 0.06))
    rows = datasets.read_rows(folder / "networks.parquet", NetworkRow)
    datasets.write_rows(folder / "networks.parquet", [*rows, made_up.network_row("net-00", "cpu:1", 30, 5.0)], NetworkRow)

    with pytest.raises(DatasetRefused, match="stowplan were made from data"):
        evaluations.evaluate(folder, bundle)


def test_the_served_system_may_leave_nobody_out(tmp_path: Path) -> None:
    """A network without a row is refused; one with a reason instead of a prediction is counted as a miss."""
    folder, bundle = made_up.write_dataset(tmp_path), made_up.write_manifest(tmp_path / "bundle")
    rows = made_up.predicted(folder, "stowplan", 0.06)
    made_up.keep_predictions(folder, rows[1:])
    with pytest.raises(DatasetRefused, match="leave out 1 cases"):
        evaluations.evaluate(folder, bundle)

    made_up.keep_predictions(folder, [replace(rows[0], predicted_ms=None, lower_ms=None, upper_ms=None, reason="too strange"), *rows[1:]])
    score = next(item.score for item in evaluations.evaluate(folder, bundle).figures if item.system == "stowplan")

    assert (score.cases, score.refused) == (23, 1)
    assert score.within_10_percent == pytest.approx(100 * 23 / 24, abs=0.1)


def test_what_a_calibration_is_worth_is_told_with_what_stood_in_for_a_machine(judged: tuple[Path, Path], tmp_path: Path) -> None:
    """Figures before and after, and on which slice; of other data they are refused."""
    folder, bundle = made_up.write_dataset(tmp_path), judged[1]
    made_up.keep_predictions(folder, made_up.predicted(folder, "stowplan", 0.06))
    before = {"cases": 10, "mape_percent": 52.1, "median_ape_percent": 52.1, "within_10_percent": 0.0}
    after = {"cases": 10, "mape_percent": 3.4, "median_ape_percent": 3.4, "within_10_percent": 100.0}
    told = {"system": "boosted", "learned_from": "cpu:1", "calibrated_for": "cpu:2", "folds": 5, "anchors": 20, "before": before, "after": after}
    data = data_digest(folder, folder.parent / "splits.json")
    (folder / CALIBRATION).parent.mkdir(exist_ok=True)
    (folder / CALIBRATION).write_text(json.dumps({**told, "data": data}))
    page = evaluations.evaluate(folder, bundle).page

    assert cells(page, "cpu:2, before the calibration")[1:] == ["10", "52.1 %", "52.1 %", "0 %"]
    assert cells(page, "cpu:2, after the calibration")[4] == "100 %"
    assert "No second machine was measured" in page
    (folder / CALIBRATION).write_text(json.dumps({**told, "data": "sha256:other"}))
    with pytest.raises(DatasetRefused, match="other data"):
        evaluations.evaluate(folder, bundle)


def test_stale_judgements_are_refused(judged: tuple[Path, Path], tmp_path: Path) -> None:
    """Judgements carry the digest of their data; rows of another version are refused by file."""
    folder = tmp_path / "made-up"
    write_judgements(folder, [], FusionJudgement, "sha256:old")
    assert read_judgements(folder, FusionJudgement) == ()
    with pytest.raises(DatasetRefused, match="made from data sha256:old"):
        read_judgements(folder, FusionJudgement, "sha256:new")
    judgements_path(folder, KernelJudgement).write_bytes(judgements_path(folder, FusionJudgement).read_bytes())
    with pytest.raises(DatasetRefused, match=r"kernels\.parquet: its columns"):
        read_judgements(folder, KernelJudgement)
    assert read_judgements(judged[0], KernelJudgement)[0].type == "Conv"


@pytest.mark.parametrize("change", [{"edges_right": 101}, {"kernels_right": -1}])
def test_judgements_that_cannot_be_are_refused(change: dict[str, Any]) -> None:
    """More right than there are, or fewer than none."""
    row = FusionJudgement("rules", "zoo", "net", "family", 0, 100, 99, 50, 49, 0, 0)
    with pytest.raises(DatasetRefused, match="fusion of net by rules"):
        replace(row, **change)


def test_truths_are_those_of_training(tmp_path: Path) -> None:
    """What a page judges by, read off the rows alone, is what training calls the truth of the same network."""
    folder = made_up.write_dataset(tmp_path)
    dataset = datasets.read_dataset(folder)
    networks = samples(dataset, DEVICE).networks
    found = truths(dataset, datasets.read_splits(tmp_path / "splits.json"))

    assert {(name, slice_): measured.truth_ms for name, sample in networks.items() for slice_, measured in sample.measured.items()} == {
        case: truth.ms for case, truth in found.items()
    }


def test_one_data_set_is_needed(tmp_path: Path) -> None:
    """None, or two without a name, is an error that says what there is; a named one is taken, unless nothing is there."""
    with pytest.raises(DatasetRefused, match="there are: none"):
        dataset_folder(tmp_path)
    for name in ("a", "b"):
        datasets.write_provenance(tmp_path / name, {})
    with pytest.raises(DatasetRefused, match="there are: a, b"):
        dataset_folder(tmp_path)

    with pytest.raises(DatasetRefused, match="no data set here"):
        dataset_folder(tmp_path, tmp_path / "c")

    assert dataset_folder(tmp_path, tmp_path / "b").name == "b"


@pytest.mark.parametrize(
    ("falling", "reached", "verdict"),
    [
        (True, 5.0, "**goal reached**"),
        (True, 8.0, "**bar reached**"),
        (True, 9.5, "missed by 1.5 %"),
        (False, 4.0, "missed by 4.0 %"),
        (True, None, "not judged"),
    ],
)
def test_verdicts(falling: bool, reached: float | None, verdict: str) -> None:  # noqa: FBT001 - a parameter of the test
    """At the bar is reached; beyond it the gap is told."""
    assert Aim("figure", "-", 8.0, 5.0 if falling else 10.0, falling, 1).verdict(reached) == verdict


def test_bars_without_figures_claim_nothing() -> None:
    """With nothing judged, every verdict says so."""
    assert {row[-1] for row in bar_table([], Shares(None, "rules", None, None)).rows} == {"not judged"}
