"""Answers are used again while fresh, stand in while nobody answers, and never outlive their bundle or their device's description."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from stowplan_extender.errors import NotYet
from stowplan_extender.judging.predictions import Predictions
from stowplan_extender.judging.probes import PredictorProbe
from stowplan_extender.metrics import Metrics
from stowplan_extender.settings import PredictorSettings
from stowplan_fleet.answers import Answer
from stowplan_fleet.errors import MessageRefused, PredictorUnavailable
from stowplan_fleet.services import OnUnknown
from stowplan_fleet.slices import DeviceName
from support import harbours
from support.quays import TOY_DEVICE, Quay
from support.toy_predictors import ToyPredictor


def a_quay(**work_ms: float) -> Quay:
    quay = Quay(None, 0, None, **(work_ms or {"ant": 10.0}))
    quay.service("ant")
    for index in range(50):
        quay.node(f"n{index}", cores=2 + index % 2)
    quay.pod("p", "ant")
    return quay


NAMES = [f"n{index}" for index in range(50)]


async def test_one_call_for_all_that_is_missing() -> None:
    """Fifty nodes of two signatures cost one call, and the next pod of the service costs none."""
    quay = a_quay()
    result = await quay.verbs.filter(quay.args("p", *NAMES))
    assert result.node_names == NAMES
    assert quay.toy.calls == 1
    assert quay.toy.questions == 1  # both signatures ask how it would do alone there
    quay.pod("q", "ant")
    await quay.verbs.filter(quay.args("q", *NAMES))
    await quay.verbs.prioritize(quay.args("q", *NAMES))
    assert quay.toy.calls == 1


async def test_answers_are_asked_for_again_when_old() -> None:
    """After `reuse_s` the predictor is asked again."""
    quay = a_quay()
    await quay.verbs.filter(quay.args("p", *NAMES))
    quay.clock.now = 59.0
    await quay.verbs.filter(quay.args("p", *NAMES))
    assert quay.toy.calls == 1
    quay.clock.now = 61.0
    await quay.verbs.filter(quay.args("p", *NAMES))
    assert quay.toy.calls == 2


async def test_last_known_answers_stand_in_while_fresh() -> None:
    """While the predictor is away, what it said serves for `keep_s`; after that the scheduler is told to ask again."""
    quay = a_quay()
    await quay.verbs.filter(quay.args("p", *NAMES))
    quay.toy.up = False
    quay.clock.now = 300.0
    assert (await quay.verbs.filter(quay.args("p", *NAMES))).node_names == NAMES
    quay.clock.now = 601.0
    with pytest.raises(NotYet, match="does not answer"):
        await quay.verbs.filter(quay.args("p", *NAMES))
    quay.toy.up = True
    assert (await quay.verbs.filter(quay.args("p", *NAMES))).node_names == NAMES


async def test_services_that_tolerate_unknown_are_placed_without_a_predictor() -> None:
    """With onUnknown: Allow a silent predictor blocks nobody, and the pod carries no number."""
    quay = a_quay()
    found = quay.view.service(harbours.service("ant").name)
    assert found is not None
    quay.view.put_service(replace(found, placement=replace(found.placement, on_unknown=OnUnknown.ALLOW)))
    quay.toy.up = False
    assert (await quay.verbs.filter(quay.args("p", *NAMES))).node_names == NAMES
    await quay.bind("p", "n0")
    [(_, _, annotations)] = quay.calls.written
    assert annotations["stowplan.dev/basis"] == "unknown"
    assert "stowplan.dev/predicted-milliseconds" not in annotations


async def test_a_missing_graph_is_asked_for_each_time() -> None:
    """GraphNotFound is an error the scheduler retries, and is never remembered: the graph may be there the next moment."""
    quay = a_quay(other=1.0)
    with pytest.raises(NotYet, match="not analysed"):
        await quay.verbs.filter(quay.args("p", *NAMES))
    quay.toy.work_ms[harbours.digest("ant")] = 10.0
    assert (await quay.verbs.filter(quay.args("p", *NAMES))).node_names == NAMES


async def test_another_bundle_drops_what_the_former_said() -> None:
    """Once another bundle answers, no verdict rests on an answer of the former one."""
    quay = a_quay()
    await quay.verbs.filter(quay.args("p", *NAMES))
    quay.toy.bundle, quay.toy.work_ms[harbours.digest("ant")] = "toy@2", 100.0
    quay.service("bee")
    quay.toy.work_ms[harbours.digest("bee")] = 1.0
    quay.pod("q", "bee")
    await quay.verbs.filter(quay.args("q", *NAMES))  # brings the news
    result = await quay.verbs.filter(quay.args("p", *NAMES))
    assert result.node_names == []
    assert "too slow even alone" in result.failed_and_unresolvable_nodes["n0"]


async def test_another_descriptor_drops_what_was_said_of_the_device() -> None:
    """When a device's descriptor changes or goes, its slices are asked about again."""
    quay = a_quay()
    await quay.verbs.filter(quay.args("p", *NAMES))
    for name in quay.view.devices.put("test", {}):
        quay.predictions.forget_device(name)
    result = await quay.verbs.filter(quay.args("p", *NAMES))
    assert set(result.failed_and_unresolvable_nodes.values()) == {f"cannot be judged (DeviceNotDescribed): no descriptor of {harbours.DEVICE}"}
    assert quay.view.devices.put("test", {TOY_DEVICE.name: TOY_DEVICE}) == {DeviceName(harbours.DEVICE)}


@pytest.mark.looptime
async def test_a_slow_predictor_counts_as_silent(looptime: object) -> None:
    """No answer within the time limit is no answer; the limit is ours, whatever the client does."""
    del looptime
    quay = a_quay()

    class Slow(ToyPredictor):
        async def predict(self, *_: Any, **__: Any) -> Sequence[Answer]:
            await asyncio.sleep(3600)
            return []

    clock = asyncio.get_running_loop().time
    predictions = Predictions(Slow({}), quay.view.devices.find, PredictorSettings(timeout_s=1.0), clock, Metrics())
    quay.judge._predictions = predictions
    started = clock()
    with pytest.raises(NotYet, match="does not answer"):
        await quay.verbs.filter(quay.args("p", *NAMES))
    assert clock() - started == pytest.approx(1.0, abs=0.01)


@pytest.mark.looptime
async def test_an_answer_that_comes_late_is_there_for_the_next_filter(looptime: object, caplog: pytest.LogCaptureFixture) -> None:
    """Two and a half seconds are too long for a filter, but what came then is remembered: the scheduler's next try is answered at once, and asks nobody."""
    del looptime
    quay = a_quay()
    soon, metrics, clock = quay.toy.predict, Metrics(), asyncio.get_running_loop().time

    async def slowly(*given: Any) -> Sequence[Answer]:
        await asyncio.sleep(2.5)
        return await soon(*given)

    quay.toy.predict = slowly  # type: ignore[assignment,method-assign]
    quay.judge._predictions = Predictions(quay.toy, quay.view.devices.find, PredictorSettings(), clock, metrics)
    with pytest.raises(NotYet, match="does not answer"):
        await quay.verbs.filter(quay.args("p", *NAMES))
    assert metrics.predictor_up._value.get() == 0
    await asyncio.sleep(1.6)
    assert (await quay.verbs.filter(quay.args("p", *NAMES))).node_names == NAMES
    assert quay.toy.calls == 1
    text = metrics.text().decode()
    assert 'stowplan_extender_predictor_rpc_seconds_count{outcome="late"} 1.0' in text
    assert "stowplan_extender_late_answers_total 1.0" in text
    assert metrics.predictor_up._value.get() == 1
    (slow,) = [record for record in caplog.records if record.message == "the predictor is slow"]
    assert slow.__dict__["seconds"] == 2.5


@pytest.mark.looptime
async def test_a_late_answer_about_what_changed_since_is_dropped(looptime: object) -> None:
    """The device's description changed while the late answer was on its way: it is not remembered, and the next filter asks anew."""
    del looptime
    quay = a_quay()
    soon = quay.toy.predict

    async def slowly(*given: Any) -> Sequence[Answer]:
        await asyncio.sleep(2.5)
        return await soon(*given)

    quay.toy.predict = slowly  # type: ignore[assignment,method-assign]
    predictions = quay.judge._predictions = Predictions(quay.toy, quay.view.devices.find, PredictorSettings(), asyncio.get_running_loop().time, Metrics())
    with pytest.raises(NotYet, match="does not answer"):
        await quay.verbs.filter(quay.args("p", *NAMES))
    predictions.forget_device(DeviceName(harbours.DEVICE))
    await asyncio.sleep(1.6)
    quay.toy.predict = soon  # type: ignore[method-assign]
    await quay.verbs.filter(quay.args("p", *NAMES))
    assert quay.toy.calls == 2


async def test_too_few_answers_are_none() -> None:
    """A predictor that answers fewer questions than were asked is not believed at all."""
    quay = a_quay()

    class Short(ToyPredictor):
        async def predict(self, *_: Any, **__: Any) -> Sequence[Answer]:
            return []

    quay.judge._predictions = Predictions(Short({}), quay.view.devices.find, PredictorSettings(), quay.clock, Metrics())
    with pytest.raises(NotYet, match="does not answer"):
        await quay.verbs.filter(quay.args("p", *NAMES))


@pytest.mark.looptime
async def test_the_probe_tells_when_somebody_is_there(looptime: object) -> None:
    """Away at first, then there: `reached` is set at the first answer, be it a refusal, and `up` follows every look."""
    del looptime
    answers: list[Exception | None] = [PredictorUnavailable("x"), MessageRefused("no such bundle"), PredictorUnavailable("x")]

    async def reach() -> None:
        error = answers.pop(0)
        if error:
            raise error

    probe = PredictorProbe(reach, 5.0, 1.0, Metrics())
    seen = []
    for _ in range(3):
        await probe.look()
        seen.append((probe.up, probe.reached.is_set()))
    assert seen == [(False, False), (True, True), (False, True)]


async def test_an_answer_overtaken_by_a_change_is_not_remembered() -> None:
    """What was asked of a device's former description is not kept once the description changed while the answer was on its way."""
    quay = a_quay()
    former = quay.toy.predict

    async def overtaken(*given: object) -> object:
        answers = await former(*given)  # type: ignore[arg-type]
        for name in quay.view.devices.put("test", {}):
            quay.predictions.forget_device(name)
        return answers

    quay.toy.predict = overtaken  # type: ignore[assignment,method-assign]
    assert (await quay.verbs.filter(quay.args("p", *NAMES))).node_names == NAMES
    quay.toy.predict = former  # type: ignore[method-assign]
    result = await quay.verbs.filter(quay.args("p", *NAMES))
    assert "DeviceNotDescribed" in result.failed_and_unresolvable_nodes["n0"]
