"""`stowplan measure` runs the model for real and reports its distribution."""

from typing import Any

import pytest
from stowplan_predictor.measuring import networks
from support.command_lines import Desk, Run


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real runs in a real worker, only fewer: other tests may disturb this machine, which would be repeated for 20 s."""
    real = networks.measure_network

    def short(*arguments: Any, **keywords: Any) -> networks.NetworkMeasurement:
        keywords["rules"] = networks.SampleRules(min_runs=5, min_s=0.05, max_s=0.3, budget_s=0.0, warmup_runs=1, warmup_s=0.0, fractional_min_s=0.1)
        return real(*arguments, **keywords)

    monkeypatch.setattr(networks, "measure_network", short)


@pytest.mark.usefixtures("brief")
def test_a_model_is_measured_on_a_slice(run: Run, desk: Desk) -> None:
    """Median and percentiles in order, with the noise and the number of runs beside them."""
    outcome = run("measure", desk.model, "--slice", "cpu:1", "-o", "json")
    (item,) = outcome.json["measurements"]
    latency = item["latencyMilliseconds"]

    assert outcome.status == 0
    assert (item["slice"], item["threads"]) == ("cpu:1", 1)
    assert item["runs"] >= 5
    assert 0 < latency["p5"] <= latency["p25"] <= latency["median"] <= latency["p75"] <= latency["p95"] <= latency["p99"]
    assert isinstance(item["noisy"], bool)
    assert item["foreignShare"] >= 0


def test_what_the_runtime_or_the_machine_cannot_do_is_refused(run: Run, desk: Desk) -> None:
    """A GPU slice, and more cores than there are."""
    for part in ("full", "cpu:1000"):
        outcome = run("measure", desk.model, "--slice", part)
        assert outcome.status == 1
        assert outcome.stderr.startswith("stowplan: ")
