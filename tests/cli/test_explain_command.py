"""`stowplan explain` shows where the time goes."""

import pytest
from support.command_lines import Desk, Run


def test_kernels_come_longest_first_and_make_up_the_whole(run: Run, desk: Desk) -> None:
    """Shares sum to one, milliseconds to the prediction of the same slice."""
    document = run("explain", desk.model, *desk.options, "--slice", "cpu:1", "-o", "json").json
    predicted = run("predict", desk.model, *desk.options, "--slice", "cpu:1", "-o", "json").json["predictions"][0]
    times = [kernel["milliseconds"] for kernel in document["kernels"]]

    assert times == sorted(times, reverse=True)
    assert sum(kernel["share"] for kernel in document["kernels"]) == pytest.approx(1.0)
    assert sum(times) == pytest.approx(predicted["latencyMilliseconds"]["median"])
    assert {kernel["name"] for kernel in document["kernels"]} == {"Conv+Relu conv0", "Conv+Relu conv1", "Conv+Relu conv2"}


def test_the_table_stops_where_it_is_told_and_says_what_is_left(run: Run, desk: Desk) -> None:
    """A network of hundreds of kernels stays readable, and nothing is hidden silently."""
    outcome = run("explain", desk.model, *desk.options, "--top", 1)

    assert outcome.stdout.count("Conv+Relu") == 1
    assert "and 2 more kernels with 66.7% of the time" in outcome.stdout


def test_a_slice_that_cannot_be_judged_gives_status_3(run: Run, desk: Desk) -> None:
    """There is nothing to explain; stdout stays empty, stderr says why."""
    outcome = run("explain", desk.model, *desk.options, "--slice", "cpu:64")

    assert (outcome.status, outcome.stdout) == (3, "")
    assert "cannot judge" in outcome.stderr
    assert "4 cores" in outcome.stderr
