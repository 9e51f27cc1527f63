"""How long predictions take is measured, and said where it is long."""

from collections.abc import Mapping, Sequence

import pytest
from prometheus_client import generate_latest
from stowplan_fleet.answers import Answer
from stowplan_fleet.devices import Device
from stowplan_fleet.errors import PredictorLate, PredictorUnavailable
from stowplan_fleet.questions import Question
from stowplan_fleet.slices import DeviceName
from stowplan_operator.reconciling import paces
from stowplan_operator.reconciling.metrics import Metrics
from stowplan_operator.reconciling.paces import Paced
from support.toy_predictors import ToyPredictor
from support.virtual_clocks import HandClock


@pytest.mark.parametrize(
    ("seconds", "error", "outcome"), [(1.9, None, "ok"), (2.0, None, "ok"), (30.0, PredictorLate("x"), "late"), (0.1, PredictorUnavailable("x"), "failed")]
)
async def test_slow_ones_are_named(
    seconds: float, error: Exception | None, outcome: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From `slow_s` on there is a line, whether an answer came or not; the outcome tells late from away."""
    clock, metrics = HandClock(), Metrics()
    monkeypatch.setattr(paces, "monotonic", clock)

    class Slow(ToyPredictor):
        async def predict(self, questions: Sequence[Question], devices: Mapping[DeviceName, Device], runtime: str) -> Sequence[Answer]:
            del questions, devices, runtime
            clock.now += seconds
            if error is not None:
                raise error
            return ()

        async def anywhere_forgotten(self, question: Question, devices: Mapping[DeviceName, Device], runtime: str) -> bool:
            del question, devices, runtime
            return False

    paced = Paced(Slow({}), 2.0, metrics)
    if error is None:
        assert await paced.predict((), {}, "cpu") == ()
    else:
        with pytest.raises(type(error)):
            await paced.predict((), {}, "cpu")
    assert f'stowplan_operator_predictor_rpc_seconds_sum{{outcome="{outcome}"}} {seconds}' in _text(metrics)
    assert [record.__dict__["seconds"] for record in caplog.records if record.message == "the predictor is slow"] == ([seconds] if seconds >= 2 else [])


def _text(metrics: Metrics) -> str:
    return generate_latest(metrics.registry).decode()
