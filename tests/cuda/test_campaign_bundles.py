"""From a campaign's tables to a bundle. The tables are SYNTHETIC, made by a law that stands in `support.synthetic_campaigns`: what is checked is that the law
is found again on families that taught nothing, that nothing leaks, and that what is broken is refused. No figure here says anything about a GPU.
"""

import functools
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from stowplan_fleet.answers import Answer, Basis
from stowplan_fleet.devices import Device, GpuDevice
from stowplan_fleet.questions import Occupant, Question, Tenant
from stowplan_fleet.slices import DeviceName, SliceClass, parse_slice
from stowplan_predictor.bundles.loading import open_bundle, shipped_folder
from stowplan_predictor.errors import BundleRefused, DatasetRefused
from stowplan_predictor.gpus.tasks import Network
from stowplan_predictor.pipelines import Pipeline
from stowplan_predictor.training.cuda import tables
from stowplan_predictor.training.cuda.plans import EAGER, INDUCTOR
from stowplan_predictor.training.gpubundles import __main__ as command
from stowplan_predictor.training.gpubundles import calibrations, judgements, networks, outcomes, pages, runs, scores
from stowplan_predictor.training.gpubundles.kernels import kernels_of
from stowplan_predictor.training.gpubundles.outcomes import Outcome
from stowplan_predictor.training.gpubundles.predictions import NetworkPrediction
from stowplan_predictor.training.gpubundles.truths import truths
from support import synthetic_campaigns as made
from support.synthetic_gpu_bundles import write_synthetic_gpu_bundle

NETWORKS = {network.name: network for network in made.networks()}
GPU = DeviceName(made.PRODUCT)


@functools.cache
def of_synthetic(name: str) -> Network:
    """As `networks.from_zoo`, of networks that no zoo has."""
    return networks.from_onnx(NETWORKS[name].onnx())


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of another GPU, of made-up numbers."""
    return write_synthetic_gpu_bundle(tmp_path_factory.mktemp("public") / "bundle")


@pytest.fixture(scope="module", params=[EAGER, INDUCTOR])
def trained(request: pytest.FixtureRequest, public: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, Path]:
    """A bundle from synthetic tables of each runtime, and the folder that it lies in."""
    folder = tmp_path_factory.mktemp("campaign")
    made.write_synthetic_campaign(folder / "tables", request.param)
    found, _ = runs.train(folder / "tables", request.param, public, folder / "bundle", predictions=folder / "predictions", network_of=of_synthetic)
    return found, folder


def test_the_law_is_found_again_on_families_that_taught_nothing(trained: tuple[Outcome, Path]) -> None:
    """Noise is two percent: networks within twice that, better than a line through FLOPs, a mean and the public bundle by far."""
    found, _ = trained
    *rivals, served = scores.whole(found.networks)

    assert served.cases == len(NETWORKS)
    assert served.mape < 4
    assert min(rival.mape for rival in rivals) > 2 * served.mape
    assert all(error.calibrated < error.public / 5 for error in found.kernels)


def test_parts_of_the_gpu_and_pairs_teach_what_they_cost(trained: tuple[Outcome, Path]) -> None:
    """Shares come nearer than all the baselines, which are given the time on the whole GPU; slowdowns nearer than the published laws."""
    found, _ = trained

    for rows in (scores.parts(found.networks), scores.beside(found.pairs, "time"), scores.beside(found.pairs, "mps")):
        *rivals, served = rows
        assert served.mape < min(rival.mape for rival in rivals) * 0.8, rows
    assert {row.predicted for row in found.pairs if row.sharing == "time-2"} != {made.TURNS}
    assert np.mean([row.predicted for row in found.pairs if row.sharing == "time-2"]) == pytest.approx(made.TURNS, rel=0.02)


def ask(folder: Path, runtime: str, part: str, tenants: tuple[Tenant, ...] = (), device: DeviceName = GPU) -> Answer:
    """Of the bundle there, about a synthetic network."""
    pipeline = Pipeline(open_bundle(folder / "bundle"))
    devices: dict[DeviceName, Device] = {device: GpuDevice(device)}
    digest = pipeline.analyze(NETWORKS["net-3-0"].onnx(), {}).graph_digest
    neighbours = tuple(replace(tenant, graph_digest=digest) for tenant in tenants if isinstance(tenant, Occupant))
    return pipeline.predict([Question(Occupant(digest, SliceClass(device, parse_slice(part)), 0.0), neighbours)], devices, runtime)[0]


def test_the_pipeline_opens_the_bundle_and_answers_as_measured(trained: tuple[Outcome, Path]) -> None:
    """The whole GPU and MPS shares are measured there; a MIG instance, and another GPU, are not."""
    found, folder = trained
    whole, half, instance = (ask(folder, found.runtime, part) for part in ("full", "mps-50", "mig-1g.18gb"))
    other = ask(folder, found.runtime, "full", device=DeviceName("NVIDIA-L4"))

    assert (whole.basis, half.basis, instance.basis, other.basis) == (Basis.MEASURED, Basis.MEASURED, Basis.EXTRAPOLATED, Basis.EXTRAPOLATED), half.message
    assert whole.isolated is not None
    assert half.isolated is not None
    assert instance.isolated is not None
    assert whole.isolated.median_ms == pytest.approx(NETWORKS["net-3-0"].wall_ms(), rel=0.08)
    assert whole.isolated.lower_ms < NETWORKS["net-3-0"].wall_ms() < whole.isolated.upper_ms
    assert whole.isolated.median_ms < half.isolated.median_ms < instance.isolated.median_ms
    assert whole.bundle.startswith("stowplan-nvidia-h200@")


def test_neighbours_are_judged_by_what_pairs_showed(trained: tuple[Outcome, Path]) -> None:
    """Enough pairs taking turns: an answer that nothing speaks against but the queue. Few under MPS: still unvalidated, and it says how many."""
    found, folder = trained
    busy = Occupant(SliceClass(GPU, parse_slice("time-2")), SliceClass(GPU, parse_slice("time-2")), 1e9)  # type: ignore[arg-type] # its graph is put in by `ask`
    turns = ask(folder, found.runtime, "time-2", (busy,))
    shared = ask(folder, found.runtime, "mps-50", (replace(busy, slice_class=SliceClass(GPU, parse_slice("mps-50"))),))

    assert turns.isolated is not None
    assert turns.colocated is not None
    assert turns.colocated.median_ms / turns.isolated.median_ms == pytest.approx(made.TURNS, rel=0.03)
    assert "law" not in turns.message
    assert shared.basis is Basis.UNVALIDATED
    assert "checked on 6 pairs on this GPU, too few" in shared.message


def judged(folder: Path, public: Path, runtime: str) -> dict[tuple[str, str], NetworkPrediction]:
    """Predictions of held-out families by network and part."""
    dataset = tables.read_dataset(folder)
    found = truths(dataset, runtime)
    known = networks.known([row.network for row in found.whole], of_synthetic)
    result = judgements.judge(found, kernels_of(dataset, runtime), calibrations.public(public), known.networks)
    return {(row.network, row.partition): row for row in result.networks}


def rewrite(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Alters a table in place."""
    pq.write_table(change(pq.read_table(path)), path)


def scaled(table: pa.Table, column: str, rows: pa.ChunkedArray, factor: float) -> pa.Table:
    """With a column multiplied in some rows."""
    values = pc.if_else(rows, pc.multiply(table[column], factor), table[column])
    return table.set_column(table.schema.get_field_index(column), table.schema.field(column), values)


def test_what_is_held_out_teaches_nothing_of_itself(public: Path, tmp_path: Path) -> None:
    """All times of one family multiplied by seven: its own predictions stay the same to the last bit, and those that it taught do not."""
    family = "family-3"
    made.write_synthetic_campaign(tmp_path / "tables", EAGER)
    before = judged(tmp_path / "tables", public, EAGER)
    names = pa.array([network.name for network in NETWORKS.values() if network.family == family])

    def sevenfold(column: str, table: pa.Table) -> pa.Table:
        return scaled(table, column, pc.is_in(table["network"], names), 7.0)

    for column in ("wall_ms", "wall_p5_ms", "wall_p95_ms"):
        rewrite(tmp_path / "tables" / "networks.parquet", functools.partial(sevenfold, column))
    rewrite(tmp_path / "tables" / "kernels.parquet", functools.partial(sevenfold, "median_us"))
    after = judged(tmp_path / "tables", public, EAGER)

    own = [key for key in before if before[key].family == family]
    others = [key for key in before if judgements.fold(before[key].family) != judgements.fold(family)]
    assert own
    assert others
    assert all(after[key].measured_ms == pytest.approx(7 * before[key].measured_ms) for key in own)
    assert all(after[key].predicted_ms == before[key].predicted_ms and after[key].linear_ms == before[key].linear_ms for key in own)
    assert all(after[key].predicted_ms != before[key].predicted_ms for key in others)


def test_the_shipped_bundle_can_be_calibrated(tmp_path: Path) -> None:
    """Its files take further nodes, whatever its models are: kernels of the very networks come nearer than by its rule for unknown GPUs."""
    dataset = made.write_synthetic_campaign(tmp_path / "tables", EAGER)
    kernels = kernels_of(dataset, EAGER)
    base = calibrations.public(shipped_folder("torch-eager"))
    errors = []
    for taught in (kernels, kernels.part(np.zeros(len(kernels), dtype=np.bool_))):
        found = calibrations.calibrated(base, made.PRODUCT, taught)
        found.estimator()
        errors.append(float(np.mean(np.abs(np.log(kernels.latency_ms) - calibrations.log_ms(found, made.PRODUCT, kernels.tasks)))))

    assert errors[0] < 0.1
    assert errors[0] < errors[1] / 2


def test_predictions_are_kept_beside_the_noise(trained: tuple[Outcome, Path]) -> None:
    """As tables that can be read again, and as a section that names what is missing."""
    found, folder = trained
    kept = outcomes.read(folder / "predictions" / f"outcome-{found.runtime}.json")
    section = pages.section(kept)

    assert kept == found
    assert [row.noise for row in kept.networks] == pytest.approx([0.02] * len(kept.networks))
    assert "line through FLOPs" in section
    assert "mps pairs: 6, too few for an interval" in section


def test_the_page_has_a_section_for_each_measured_gpu_and_none_without(trained: tuple[Outcome, Path], tmp_path: Path) -> None:
    """By what is kept below `datasets/cuda`; a broken record is refused, not left out. This project has none: no GPU was measured."""
    found, folder = trained
    kept = tmp_path / "datasets" / "cuda" / made.PRODUCT / "predictions"
    shutil.copytree(folder / "predictions", kept)

    assert pages.sections(tmp_path / "datasets") == [pages.section(found)]
    assert pages.sections(Path(__file__).parents[2] / "datasets") == []
    (kept / f"pairs-{found.runtime}.parquet").unlink()
    with pytest.raises(DatasetRefused, match="pairs-"):
        pages.sections(tmp_path / "datasets")


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        ("networks.wall_ms", float("nan"), "wall_ms is nan"),
        ("networks.wall_ms", -1.0, "wall_ms is -1"),
        ("networks.wall_p95_ms", 0.0, "not in order"),
        ("kernels.median_us", 0.0, "median_us is 0"),
        ("kernels.shapes", "nonsense", "shapes cannot be read"),
        ("kernels.network", "nobody", "has no such network"),
        ("pairs.beside_ms", float("inf"), "beside_ms is inf"),
        ("pairs.sharing", "mps-half", "mps-half"),
        ("networks.partition", "mig-1g.5gb", "mig-1g.5gb"),
        ("networks.network", "net-0-0", "measured twice"),
    ],
)
def test_what_cannot_be_a_measurement_is_refused(public: Path, tmp_path: Path, place: str, value: object, named: str) -> None:
    """In one row of many; the error says where and what, and no bundle is written."""
    made.write_synthetic_campaign(tmp_path / "tables", EAGER)
    table, _, column = place.partition(".")

    def spoil(content: pa.Table) -> pa.Table:
        rows = content.to_pylist()
        rows[1][column] = value
        return pa.Table.from_pylist(rows, schema=content.schema)

    rewrite(tmp_path / "tables" / f"{table}.parquet", spoil)
    with pytest.raises(DatasetRefused, match=named):
        runs.train(tmp_path / "tables", EAGER, public, tmp_path / "bundle", network_of=of_synthetic)
    assert not (tmp_path / "bundle").exists()


def test_foreign_and_missing_tables_are_refused(public: Path, tmp_path: Path) -> None:
    """Another table in the place of one, one that is not there, another GPU's machine, and the other runtime."""
    changes: list[tuple[str, Callable[[Path], object], str]] = [
        ("foreign", lambda folder: pq.write_table(pa.table({"unit": ["a"], "x": [1]}), folder / "kernels.parquet"), "not a table of kernels"),
        ("missing", lambda folder: (folder / "pairs.parquet").unlink(), "not a GPU data set"),
        ("mixed", lambda folder: altered(folder, "NVIDIA H200", "Tesla T4"), "several GPUs are mixed"),
        ("unknown", lambda folder: altered(folder, "H200", "H201"), "not in the catalogue"),
    ]
    for name, change, named in changes:
        folder = tmp_path / name
        made.write_synthetic_campaign(folder, EAGER)
        change(folder)
        with pytest.raises(DatasetRefused, match=named):
            runs.train(folder, EAGER, public, tmp_path / "bundle", network_of=of_synthetic)
    made.write_synthetic_campaign(tmp_path / "eager", EAGER)
    with pytest.raises(DatasetRefused, match=r"no network was measured under torch-inductor .* torch-eager"):
        runs.train(tmp_path / "eager", INDUCTOR, public, tmp_path / "bundle", network_of=of_synthetic)


def altered(folder: Path, old: str, new: str) -> None:
    """With other words in campaign.json."""
    path = folder / tables.CAMPAIGN
    path.write_text(path.read_text().replace(old, new))


def test_too_little_is_refused_with_how_much_is_wanted(public: Path, tmp_path: Path) -> None:
    """Six networks carry no interval."""
    made.write_synthetic_campaign(tmp_path / "tables", EAGER, made.networks(3))
    with pytest.raises(DatasetRefused, match=r"6 networks of 3 families .* needs 19 networks and 10 families"):
        runs.train(tmp_path / "tables", EAGER, public, tmp_path / "bundle", network_of=of_synthetic)


def test_tables_without_parts_and_pairs_still_make_a_bundle_and_say_so(public: Path, tmp_path: Path) -> None:
    """As on a machine without MPS: its reason is told."""
    dataset = made.write_synthetic_campaign(tmp_path / "tables", EAGER)
    dataset.rows["networks"] = [row for row in dataset.rows["networks"] if getattr(row, "partition", "") == "full"]
    dataset.rows["pairs"] = []
    dataset.skips = {"mps": "nvidia-cuda-mps-control is not on the path"}
    dataset.write(list(dataset.rows))
    found, _ = runs.train(tmp_path / "tables", EAGER, public, tmp_path / "bundle", network_of=of_synthetic)

    assert [text.split(":")[0] for text in found.missing] == ["parts of the GPU", "pairs"]
    assert all("mps-control is not on the path" in text for text in found.missing)
    assert ask(tmp_path, EAGER, "mps-50").basis is Basis.EXTRAPOLATED
    assert "Not measured." in pages.section(found)


def test_a_folder_that_is_no_bundle_is_never_replaced(public: Path, tmp_path: Path) -> None:
    """Somebody's files stay."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis").write_text("x")
    with pytest.raises(BundleRefused, match="would be replaced"):
        runs.train(tmp_path / "nothing", EAGER, public, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis").exists()


def test_the_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 1 and one line."""
    assert command.main(["--campaign", str(tmp_path / "nothing"), "--runtime", EAGER, "--output", str(tmp_path / "bundle")]) == 1
    assert "not a GPU data set" in capsys.readouterr().err
