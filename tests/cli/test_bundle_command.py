"""`stowplan bundle` shows what a bundle says of itself."""

import json

import pytest
from stowplan_cli.forecasts.bundles import leaves
from support.command_lines import Desk, Run


def test_the_manifest_is_printed_as_it_is(run: Run, desk: Desk) -> None:
    """JSON is the manifest, to the last key."""
    assert run("bundle", desk.bundle, "-o", "json").json == json.loads((desk.bundle / "manifest.json").read_text())


def test_people_see_name_version_and_where_data_comes_from(run: Run, desk: Desk) -> None:
    """Name and version first, then provenance."""
    outcome = run("bundle", desk.bundle)

    assert outcome.status == 0
    assert outcome.stdout.startswith("synthetic sha256:")
    assert "made  up" in outcome.stdout
    assert "errors: none stated" in outcome.stdout


@pytest.mark.parametrize("runtime", ["onnxruntime-cpu", "torch-eager"])
def test_each_shipped_runtime_has_its_bundle(run: Run, runtime: str) -> None:
    """Of CPUs and of GPUs, with what it was off by on what it had not seen."""
    document = run("bundle", "--runtime", runtime, "-o", "json").json

    assert document["runtime"] == runtime
    assert document["errors"]
    assert document["provenance"]


def test_a_directory_without_a_bundle_is_refused(run: Run, desk: Desk) -> None:
    """The message says that there is none there."""
    outcome = run("bundle", desk.bundle.parent)

    assert outcome.status == 1
    assert "no bundle here" in outcome.stderr


def test_nested_values_are_named_by_their_path() -> None:
    """Every figure of the errors can be found in the table, wherever it is nested."""
    found = dict(leaves({"kernels": {"Conv": {"mape": 0.123456}}, "hosts": ["a", "b"], "folds": [{"mape": 1}, {"mape": None}]}))

    assert found == {"kernels.Conv.mape": "0.1235", "hosts": "a, b", "folds[0].mape": "1", "folds[1].mape": "None"}


def test_long_lists_are_cut_short() -> None:
    """Thousands of digests do not bury the figures; how many there are is said."""
    found = dict(leaves({"graphs": [f"g{index}" for index in range(2000)]}))

    assert found["graphs"].endswith("g7 and 1992 more")
