"""`stowplan predict` keeps its contract: keys, exit statuses, formats."""

import hashlib

import pytest
import yaml
from support.command_lines import Desk, Run


def test_the_document_has_exactly_the_promised_keys(run: Run, desk: Desk) -> None:
    """Programs read these keys; none may be missing, and none may appear that nobody promised."""
    outcome = run("predict", desk.model, *desk.options, "--slice", "cpu:1", "--slice", "cpu:2", "-o", "json")
    document = outcome.json

    assert outcome.status == 0
    assert list(document) == ["model", "bundle", "device", "predictions"]
    assert list(document["model"]) == ["digest", "operators", "kernels", "flops", "parameters"]
    assert list(document["bundle"]) == ["name", "version"]
    assert document["device"]["name"] == "synthetic"
    assert [list(item) for item in document["predictions"]] == [["slice", "latencyMilliseconds", "basis", "unknown"]] * 2
    assert [item["slice"] for item in document["predictions"]] == ["cpu:1", "cpu:2"]
    for item in document["predictions"]:
        latency = item["latencyMilliseconds"]
        assert list(latency) == ["median", "lower", "upper", "coverage"]
        assert 0 < latency["lower"] <= latency["median"] <= latency["upper"]
        assert 0 < latency["coverage"] < 1
        assert item["unknown"] is None


def test_the_numbers_are_those_of_the_model_file(run: Run, desk: Desk) -> None:
    """Three convolutions of 32 channels over 28x28, each with its activation: digest, operators, kernels, FLOPs and parameters."""
    model = run("predict", desk.model, *desk.options, "-o", "json").json["model"]
    convolution = 2 * 32 * 32 * 9 * 28 * 28

    assert model["digest"] == "sha256:" + hashlib.sha256(desk.model.read_bytes()).hexdigest()
    assert (model["operators"], model["kernels"], model["parameters"]) == (6, 3, 3 * 32 * 32 * 9)
    assert model["flops"] == pytest.approx(3 * convolution, rel=0.01)


@pytest.mark.parametrize("part", ["cpu:64", "mig-1g.10gb", "full", "mps-25", "time-4"])
def test_what_cannot_be_judged_is_null_with_a_reason_and_status_3(run: Run, desk: Desk, part: str) -> None:
    """No default number ever: the prediction is null, the reason stands beside it, and a script sees status 3."""
    outcome = run("predict", desk.model, *desk.options, "--slice", "cpu:1", "--slice", part, "-o", "json")
    known, unknown = outcome.json["predictions"]

    assert outcome.status == 3
    assert known["latencyMilliseconds"] is not None
    assert unknown["latencyMilliseconds"] is None
    assert unknown["basis"] == "unknown"
    assert unknown["unknown"].startswith("SliceNotSupported: ")


def test_the_reason_is_shown_to_people_too(run: Run, desk: Desk) -> None:
    """The table names the reason below."""
    outcome = run("predict", desk.model, *desk.options, "--slice", "cpu:64")

    assert outcome.status == 3
    assert "cpu:64: SliceNotSupported: " in outcome.stdout


def test_yaml_says_what_json_says(run: Run, desk: Desk) -> None:
    """The formats differ in spelling only."""
    arguments = ("predict", desk.model, *desk.options, "--slice", "cpu:1")

    assert yaml.safe_load(run(*arguments, "-o", "yaml").stdout) == run(*arguments, "-o", "json").json


def test_without_a_slice_every_measured_core_count_is_predicted(run: Run, desk: Desk) -> None:
    """The descriptor knows throughputs for 1, 2 and 4 cores."""
    predictions = run("predict", desk.model, *desk.options, "-o", "json").json["predictions"]

    assert [item["slice"] for item in predictions] == ["cpu:1", "cpu:2", "cpu:4"]


def test_spellings_of_one_slice_are_one_prediction(run: Run, desk: Desk) -> None:
    """`cpu:1` and `cpu:1000m` are the same slice."""
    predictions = run("predict", desk.model, *desk.options, "--slice", "cpu:1", "--slice", "cpu:1000m", "-o", "json").json["predictions"]

    assert [item["slice"] for item in predictions] == ["cpu:1"]


def test_the_table_has_a_row_for_each_slice(run: Run, desk: Desk) -> None:
    """People see slice, basis, median, interval and coverage."""
    lines = run("predict", desk.model, *desk.options, "--slice", "cpu:1", "--slice", "cpu:2").stdout.splitlines()

    assert lines[1].split() == ["SLICE", "BASIS", "MEDIAN", "MS", "INTERVAL", "MS", "COVERAGE"]
    assert [line.split()[0] for line in lines[2:4]] == ["cpu:1", "cpu:2"]
