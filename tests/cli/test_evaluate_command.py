"""`stowplan evaluate` prints what committed predictions say, writes the page, and judges any bundle. All data here is made up."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyarrow", reason="needs the training extra")

from stowplan_predictor.bundles.loading import load_bundle
from stowplan_predictor.bundles.writing import write_bundle
from stowplan_predictor.graphs.loading import load_graph
from stowplan_predictor.training.pages import sources as accuracy_sources
from support import made_up_datasets as made_up
from support.command_lines import Desk, Run
from support.synthetic_bundles import RUNTIME, chain_model, synthetic_files

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one data set and predictions of one system."""
    root = tmp_path_factory.mktemp("datasets")
    folder = made_up.write_dataset(root)
    made_up.keep_predictions(folder, made_up.predicted(folder, "stowplan", 0.06))
    return root


@pytest.fixture(autouse=True)
def served(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The manifest that the page takes pairs and loads from."""
    folder = made_up.write_manifest(tmp_path_factory.mktemp("served") / "bundle")
    monkeypatch.setattr(accuracy_sources, "shipped_folder", lambda: folder)


def test_the_table_is_printed_and_the_page_written(run: Run, datasets: Path, tmp_path: Path) -> None:
    """Bars and systems for people; the page says the same and passes its own check."""
    page = tmp_path / "docs" / "accuracy.md"
    outcome = run("evaluate", "--datasets", datasets, "--page", page)

    assert outcome.status == 0
    assert "stowplan (what the bundle serves)" in outcome.stdout
    assert "bar reached" in outcome.stdout
    assert "| **stowplan** (what the bundle serves) | 24 | 6.0 % |" in page.read_text()
    assert f"written: {page}" in outcome.stderr
    assert run("evaluate", "--datasets", datasets, "--page", page, "--check").status == 0


def test_a_page_that_drifted_fails_the_check_and_stays(run: Run, datasets: Path, tmp_path: Path) -> None:
    """Status 1, what to run, and the file as it was."""
    page = tmp_path / "accuracy.md"
    page.write_text("older")
    outcome = run("evaluate", "--datasets", datasets, "--page", page, "--check")

    assert outcome.status == 1
    assert "not what the predictions say" in outcome.stderr
    assert page.read_text() == "older"


def test_json_is_for_programs(run: Run, datasets: Path, tmp_path: Path) -> None:
    """Every figure with its group, nothing formatted."""
    document = run("evaluate", "--datasets", datasets, "--page", tmp_path / "page.md", "-o", "json").json
    own = next(item for item in document["figures"] if (item["system"], item["slice"]) == ("stowplan", "cpu:2"))

    assert own["score"]["mape_percent"] == pytest.approx(6.0, abs=0.01)
    assert own["coverage"]["percent"] == 100.0
    assert document["bars"][0]["verdict"] == "**bar reached**"


def bundle_knowing(folder: Path, graphs: list[str] | None) -> Path:
    """A bundle whose manifest names the graphs it was trained on, or does not."""
    provenance: dict[str, Any] = {} if graphs is None else {"trained_on": {"made-up": {"graphs": graphs}}}
    models = {"fusion": {"system": "rules"}}
    write_bundle(folder, name="synthetic", runtime=RUNTIME, files=synthetic_files(), models=models, provenance=provenance, errors={})
    return folder


def test_a_bundle_is_asked_about_every_network(run: Run, datasets: Path, tmp_path: Path) -> None:
    """Figures and networks come from the pipeline that serves: `predict` says the same of the same graph."""
    bundle = bundle_knowing(tmp_path / "bundle", [])
    outcome = run("evaluate", "--bundle", bundle, "--datasets", datasets, "-o", "json")
    networks = {(item["network"], item["slice"]): item for item in outcome.json["networks"]}
    model, device = tmp_path / "model.onnx", datasets / "made-up" / "device.json"
    model.write_bytes(chain_model(convolutions=1))
    said = run("predict", model, "--bundle", bundle, "--device", device, "--slice", "cpu:1", "-o", "json").json["predictions"][0]

    assert outcome.status == 0
    assert outcome.stderr == ""
    assert len(networks) == 2 * (made_up.FAMILIES * made_up.EACH + 1)
    assert networks["net-00", "cpu:1"]["predictedMilliseconds"] == pytest.approx(said["latencyMilliseconds"]["median"])
    assert {item["acquaintance"] for item in outcome.json["figures"]} == {"never seen"}
    assert outcome.json["bundle"] == load_bundle(bundle).label


def test_a_bundle_is_not_praised_for_remembering(run: Run, datasets: Path, tmp_path: Path) -> None:
    """Networks that trained it are judged apart, and that is said loudly, on stderr and in the document."""
    known = str(load_graph(chain_model(convolutions=1)).digest).removeprefix("sha256:")[:12]
    outcome = run("evaluate", "--bundle", bundle_knowing(tmp_path / "bundle", [known]), "--datasets", datasets, "--split", "zoo", "-o", "json")

    assert "WARNING" in outcome.stderr
    assert "8 of 24 networks TRAINED this bundle" in outcome.stderr
    assert "TRAINED" in outcome.json["warning"]
    assert {item["judgedOn"] for item in outcome.json["figures"] if item["slice"] == "cpu:1"} == {
        "published networks, cpu:1, trained on",
        "published networks, cpu:1, never seen",
    }


def test_a_bundle_that_does_not_say_is_not_believed(run: Run, datasets: Path, desk: Desk) -> None:
    """Without a list of what trained it, its figures may be of memory, and the warning says so."""
    outcome = run("evaluate", "--bundle", desk.bundle, "--datasets", datasets, "--split", "light")

    assert outcome.status == 0
    assert "does not name what it was trained on" in outcome.stderr
    assert "light models, cpu:1, not told whether trained on" in outcome.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--datasets", "nowhere"), "there are: none"),
        (("--bundle", "nowhere"), "no bundle here"),
        (("--bundle", "shipped", "--split", "all-of-them"), "there are zoo, light"),
        (("--split", "zoo"), "name a --bundle"),
        (("--dataset", "nowhere"), "nowhere"),
    ],
)
def test_what_cannot_be_judged_is_refused(run: Run, datasets: Path, arguments: tuple[str, ...], told: str) -> None:
    """Status 1, one line, and nothing printed."""
    given = arguments if "--datasets" in arguments else ("--datasets", datasets, *arguments)
    outcome = run("evaluate", *given)

    assert (outcome.status, outcome.stdout) == (1, "")
    assert told in outcome.stderr


def test_a_split_without_networks_is_refused(run: Run, datasets: Path, desk: Desk) -> None:
    """Nothing is claimed of networks that were not measured."""
    outcome = run("evaluate", "--bundle", desk.bundle, "--datasets", datasets, "--split", "cnn")

    assert outcome.status == 1
    assert "holds no network of the split 'cnn'" in outcome.stderr


def test_stale_predictions_are_refused(run: Run, tmp_path: Path) -> None:
    """Measured again, the old predictions make no table."""
    folder = made_up.write_dataset(tmp_path)
    made_up.keep_predictions(folder, made_up.predicted(folder, "stowplan", 0.06))
    splits = tmp_path / "splits.json"
    splits.write_text(json.dumps({"folds": {**json.loads(splits.read_text())["folds"], "another": 0}}))
    outcome = run("evaluate", "--datasets", tmp_path, "--page", tmp_path / "page.md")

    assert outcome.status == 1
    assert "predict again" in outcome.stderr
    assert not (tmp_path / "page.md").exists()
