"""Crashes, slow watches, specs that slipped past the schema and failures that nobody foresaw: each is said once, and it converges."""

from typing import Any

import pytest
from stowplan_operator.reconciling.reconcilers import FOREVER
from support.fake_operator_worlds import Crash
from support.operator_scenes import Scene


@pytest.mark.parametrize("crash_after", range(1, 12))
async def test_a_crash_after_any_write_converges(crash_after: int) -> None:
    """Killed after the so-many-th write and started again, the operator arrives at the very state that an undisturbed one reaches."""
    calm = Scene()
    await calm.look()
    scene = Scene()
    scene.world.crash_after = crash_after
    try:
        await scene.look()
    except Crash:
        scene.restart()
        await scene.look()
    assert scene.status == calm.status
    assert scene.world.stored[scene.name]["spec"] == calm.world.stored[calm.name]["spec"]
    assert scene.world.stored[scene.name]["metadata"]["generation"] == 1


@pytest.mark.parametrize("crash_after", range(1, 7))
@pytest.mark.parametrize("change", ["template", "load", "edited by somebody else"])
async def test_a_crash_after_any_write_of_a_change_converges(crash_after: int, change: str) -> None:
    """The same, while a service that runs is changed, or its Deployment by somebody else: nothing is left half changed."""

    async def changed() -> Scene:
        scene = Scene()
        await scene.look()
        scene.world.put_pods(scene.name, 1)
        await scene.look()
        service = scene.world.objects[scene.name]
        if change == "template":
            service["spec"]["template"]["spec"]["containers"][0]["image"] = "example.com/it:2"
        elif change == "load":
            service["spec"] |= {"load": {"requestsPerSecond": 30}, "replicas": {"min": 1, "max": 4}}
        else:
            stored = scene.world.stored[scene.name]
            stored["spec"]["template"]["spec"]["containers"][0]["image"] = "example.com/somebody-elses"
            stored["metadata"]["generation"] += 1
        service["metadata"]["generation"] = 2
        return scene

    calm = await changed()
    await calm.look()
    scene = await changed()
    written = len(scene.world.writes)
    scene.world.crash_after = written + crash_after
    try:
        await scene.look()
    except Crash:
        scene.restart()
        await scene.look()
    assert len(scene.world.writes) > written
    assert scene.status == calm.status
    assert scene.world.stored[scene.name]["spec"] == calm.world.stored[calm.name]["spec"]


async def test_a_slow_watch_repeats_no_event() -> None:
    """While the watch still shows the service without our status, nothing is written or told a second time."""
    scene = Scene()
    scene.world.lagging = {scene.name: dict(scene.world.objects[scene.name])}
    await scene.look()
    before = len(scene.world.events), list(scene.world.writes)
    await scene.look()
    assert (len(scene.world.events), scene.world.writes) == before


async def test_a_spec_that_slipped_past_the_schema_is_refused_by_name() -> None:
    """A value that the schema would not have let through becomes a condition, not a crash."""
    scene = Scene(slo={"latencyMilliseconds": -5})
    assert await scene.look() == FOREVER
    ready = scene.world.condition(scene.name, "Ready")
    assert (ready["reason"], "spec.slo.latencyMilliseconds" in ready["message"]) == ("SpecRefused", True)


@pytest.mark.parametrize(
    ("container", "spec", "path"),
    [
        ({"env": {"FOO": "bar"}}, {}, "spec.template.spec.containers[0].env"),
        ({"env": ["FOO=bar"]}, {}, "spec.template.spec.containers[0].env[0]"),
        ({"env": [{"name": 7}]}, {}, "spec.template.spec.containers[0].env[0].name"),
        ({"resources": {"limits": ["cpu"]}}, {}, "spec.template.spec.containers[0].resources.limits"),
        ({}, {"nodeSelector": "zone-a"}, "spec.template.spec.nodeSelector"),
        ({}, {"nodeSelector": {"zone": True}}, "spec.template.spec.nodeSelector['zone']"),
        ({}, {"tolerations": 5}, "spec.template.spec.tolerations"),
        ({}, {"tolerations": ["all"]}, "spec.template.spec.tolerations[0]"),
        ({}, {"tolerations": [{"effect": ["NoSchedule"]}]}, "spec.template.spec.tolerations[0].effect"),
        ({}, {"containers": []}, "spec.template.spec.containers"),
    ],
)
async def test_a_template_of_another_shape_is_refused_by_its_path(container: dict[str, Any], spec: dict[str, Any], path: str) -> None:
    """Each template field that we use and that the schema leaves open is checked: SpecRefused names its path, and nothing is tried for ever."""
    scene = Scene(template={"spec": {"containers": [{"name": "server", "image": "i", **container}], **spec}})
    assert await scene.look() == FOREVER
    ready = scene.world.condition(scene.name, "Ready")
    assert (ready["status"], ready["reason"], ready["message"].partition(": ")[0]) == ("False", "SpecRefused", path)


async def test_null_in_a_template_counts_as_unset() -> None:
    """As for the API server, a field that is null is one that is not there."""
    container = {"name": "server", "image": "i", "env": None, "resources": None}
    toleration = {"key": None, "operator": None, "effect": None}
    scene = Scene(template={"metadata": None, "spec": {"containers": [container], "nodeSelector": None, "tolerations": [toleration]}})
    assert await scene.look() == 30
    assert scene.conditions()["Placeable"] == ("True", "RungChosen")


async def test_an_unexpected_failure_is_said_once_and_tried_again(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody thought of is logged with its traceback, becomes Ready=Unknown with a fixed reason, and is retried; a mended service recovers."""
    scene = Scene()
    nodes = scene.world.nodes
    count = iter(range(9))

    def broken() -> list[Any]:
        raise RuntimeError(f"failure number {next(count)}")

    monkeypatch.setattr(scene.world, "nodes", broken)
    assert await scene.look() is None
    assert scene.conditions() == {"Ready": ("Unknown", "InternalError")}
    assert "failure number" not in scene.world.condition(scene.name, "Ready")["message"]
    assert caplog.records[-1].exc_info is not None
    scene.world.writes.clear()
    assert await scene.look() is None
    assert scene.world.writes == []
    monkeypatch.setattr(scene.world, "nodes", nodes)
    assert await scene.look() == 30
    assert scene.conditions()["Ready"] == ("False", "ReplicasNotReady")
