"""`stowplan predict` on GPUs: how devices and slices are named, and what is said where nobody can judge."""

import pytest
from stowplan_predictor.bundles import loading
from support.command_lines import Desk, Run

A100 = "NVIDIA-A100-SXM4-80GB"
TABLE_HEAD = ["SLICE", "HAS", "BASIS", "MEDIAN", "MS", "INTERVAL", "MS", "COVERAGE"]


def test_a_bundle_of_cpus_says_that_it_knows_no_gpus(run: Run, desk: Desk) -> None:
    """Status 3, no number, and the runtime that would know."""
    outcome = run("predict", desk.model, "--bundle", desk.bundle, "--device", A100, "--slice", "mig-1g.10gb", "--slice", "full", "-o", "json")

    assert outcome.status == 3
    assert [item["slice"] for item in outcome.json["predictions"]] == ["mig-1g.10gb", "full"]
    assert {item["latencyMilliseconds"] for item in outcome.json["predictions"]} == {None}
    assert all(item["unknown"].startswith("DeviceNotSupported: ") and "torch-eager" in item["unknown"] for item in outcome.json["predictions"])


def test_the_document_describes_the_gpu_as_the_catalogue_has_it(run: Run, desk: Desk) -> None:
    """Under the product's own name, whatever name it was called by."""
    device = run("predict", desk.model, "--bundle", desk.bundle, "--device", "A100-SXM4-80GB", "-o", "json").json["device"]

    assert (device["name"], device["multiprocessors"], device["memoryBytes"]) == (A100, 108, 80 << 30)
    assert device["bandwidthBytesPerSecond"] == 2039 * 10**9


def test_without_a_slice_the_usual_ones_of_the_gpu_are_asked_for(run: Run, desk: Desk) -> None:
    """The whole GPU, its MIG profiles, and shares; a GPU that cannot be cut has no profiles."""
    arguments = ("predict", desk.model, "--bundle", desk.bundle, "-o", "json", "--device")
    cut = [item["slice"] for item in run(*arguments, A100).json["predictions"]]
    whole = [item["slice"] for item in run(*arguments, "Tesla-T4").json["predictions"]]

    assert cut == ["full", "mig-1g.10gb", "mig-1g.20gb", "mig-2g.20gb", "mig-3g.40gb", "mig-4g.40gb", "mig-7g.80gb", "mps-50", "mps-25", "time-2", "time-4"]
    assert whole == ["full", "mps-50", "mps-25", "time-2", "time-4"]


@pytest.mark.parametrize("part", ["mig-1g.5gb", "cpu:1", "mig-7g.40gb"])
def test_a_slice_that_the_gpu_does_not_have_is_refused_with_those_it_has(run: Run, desk: Desk, part: str) -> None:
    """Status 1: a slip of the pen, not a question that nobody can judge."""
    outcome = run("predict", desk.model, "--bundle", desk.bundle, "--device", A100, "--slice", part)

    assert (outcome.status, outcome.stdout) == (1, "")
    for words in (A100, part, "mig-1g.10gb", "mig-7g.80gb", "mps-PERCENT", "time-REPLICAS"):
        assert words in outcome.stderr


def test_a_percentage_that_no_device_plugin_makes_is_noted(run: Run, desk: Desk) -> None:
    """It can be judged; no node offers it."""
    arguments = ("predict", desk.model, "--bundle", desk.bundle, "--device", A100, "-o", "json", "--slice")

    assert "equal parts only (50, 33, 25, 20, 16, 14, 12, 11" in run(*arguments, "mps-40").stderr
    assert "equal parts" not in run(*arguments, "mps-33").stderr


def test_a_device_that_is_neither_file_nor_gpu_is_refused_by_name(run: Run, desk: Desk) -> None:
    """Status 1, and where to look."""
    outcome = run("predict", desk.model, "--bundle", desk.bundle, "--device", "Voodoo2")

    assert outcome.status == 1
    assert "Voodoo2" in outcome.stderr
    assert "stowplan slices" in outcome.stderr


def test_people_see_what_each_slice_has_beside_its_basis(run: Run, desk: Desk) -> None:
    """Multiprocessors and memory, what is shared and for how much of the time; one line for slices that share their reason."""
    slices = ("--slice", "mig-1g.10gb", "--slice", "mps-25", "--slice", "time-4")
    lines = run("predict", desk.model, "--bundle", desk.bundle, "--device", A100, *slices).stdout.splitlines()

    assert lines[1].split() == TABLE_HEAD
    assert "14 SMs, 10 GiB " in lines[2]
    assert "26 SMs, 20 GiB, shared" in lines[3]
    assert "108 SMs, 80 GiB, shared, 25% of the time" in lines[4]
    assert lines[5].startswith("mig-1g.10gb, mps-25, time-4: DeviceNotSupported")


@pytest.mark.skipif("torch-eager" not in loading.shipped_runtimes(), reason="probe: no bundle of GPUs is shipped")
def test_the_shipped_bundle_of_gpus_is_asked_where_a_gpu_is_named(run: Run, desk: Desk) -> None:
    """No runtime has to be named; a slice nobody measured says so in its basis; a smaller instance is never faster."""
    slices = [part for name in ("mig-1g.10gb", "mig-3g.40gb", "mps-25", "full") for part in ("--slice", name)]
    outcome = run("predict", desk.model, "--device", A100, *slices, "-o", "json")
    predictions = {item["slice"]: item for item in outcome.json["predictions"]}

    assert outcome.status == 0
    assert {item["basis"] for item in predictions.values()} <= {"measured", "extrapolated", "unvalidated"}
    assert predictions["mig-1g.10gb"]["basis"] != "measured"
    medians = [predictions[name]["latencyMilliseconds"]["median"] for name in ("full", "mig-3g.40gb", "mig-1g.10gb")]
    assert medians == sorted(medians)
