"""An operator of a test's own, in place of the common one and in weather of its own, with shorter patience."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stowplan_fleet import keys
from support import components
from support.components import Operator
from support.controlplane import KUBECTL_PATIENCE, PATIENCE_S, condition_of, events_of, node, wait_until
from support.stages import Stage, inference_service
from support.strikes import Strike
from support.troubles import QUICK, QUICK_CORE, absent, shiftable_clock
from support.weathers import Weather, weather_before

SLOW = {keys.DEVICE_LABEL: "made-up-slow"}
SLOW_CORE = "made-up-slow/cpu:1"
# Long enough to see a pod wait, short enough to see a climb, too long to see it come down; the price makes the slow device the second choice.
HASTE = {
    "STOWPLAN_OPERATOR_API_TIMEOUT_S": "2",
    "STOWPLAN_OPERATOR_API_SWEEP_S": "2",
    "STOWPLAN_OPERATOR_PATIENCE_CLIMB_AFTER_S": "6",
    "STOWPLAN_OPERATOR_PATIENCE_DESCEND_AFTER_S": "600",
    "STOWPLAN_OPERATOR_PATIENCE_RETRY_AFTER_S": "600",
    "STOWPLAN_OPERATOR_RECONCILING_RESYNC_S": "1",
    "STOWPLAN_OPERATOR_RECONCILING_BACKOFF_S": "0.2",
    "STOWPLAN_OPERATOR_RECONCILING_BACKOFF_MAX_S": "2",
    "STOWPLAN_OPERATOR_SIZING_PRICES": "made-up-quick=1,made-up-slow=2",
}


@dataclass(frozen=True, slots=True)
class Scene:
    """A stage whose operator stands in weather of its own."""

    stage: Stage
    operator: Operator
    weather: Weather
    clock: Path
    """File with the seconds by which the operator's wall clock is ahead."""

    def serve(self, name: str, **more: Any) -> None:
        """Applies a service that a quick core suffices for."""
        self.stage.apply(inference_service(name, "squeezenet", 60_000, slice_classes=more.pop("slice_classes", [QUICK_CORE]), graph="squeezenet", **more))

    def await_ready(self, name: str, timeout_s: float = 40) -> None:
        """Waits until it serves."""
        self.stage.await_condition(name, "Ready", "True", timeout_s)

    def is_ready(self, name: str) -> bool:
        """Whether it serves now."""
        return (condition_of(self.stage.service(name), "Ready") or {}).get("status") == "True"

    def both(self, name: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """A service and its Deployment, at one moment."""
        service, deployment = self.stage.cluster.get(f"inferenceservices.stowplan.dev/{name}", f"deployment/{name}", "-n", self.stage.namespace)["items"]
        return service, deployment

    def state(self, name: str) -> Mapping[str, Any]:
        """What there is of a service, without dates and names that differ from one to the next."""
        return state_of(*self.both(name))

    def told(self, name: str) -> list[tuple[str, str]]:
        """Reason and condition of each event that tells a transition, oldest first."""
        events = events_of(self.stage.cluster, self.stage.namespace, name)
        return [(event["reason"], event["message"].partition("=")[0]) for event in events if event.get("reportingComponent") == "stowplan-operator"]

    def killed_after(self, writes: int, change: Callable[[], None], done: Callable[[], bool], name: str) -> bool:
        """Makes a change, kills the operator after so many writes from then on, before it hears of the last one, and starts it again.

        Answers False where it was `done` with fewer; it lives on then.
        """
        strike = Strike(self.weather, self.operator, writes)
        change()
        wait_until(lambda: strike.struck or done(), 40, lambda: f"write {writes} or the end of {name}, after {strike.written}; {self.stage.tell(name)}")
        struck = strike.end()
        if struck:
            self.operator.start()
        return struck

    def remove(self, name: str) -> None:
        """Deletes a service and waits until its pods are gone: a node takes only so many tenants that anybody can predict."""
        self.stage.cluster.kubectl("delete", "stow", name, "-n", self.stage.namespace, KUBECTL_PATIENCE, timeout_s=PATIENCE_S + 30)
        # The garbage collector would do it, once it has heard of our API: it asks for new ones every half minute.
        self.stage.cluster.kubectl("delete", "deployment", name, "-n", self.stage.namespace, "--ignore-not-found", KUBECTL_PATIENCE, timeout_s=PATIENCE_S + 30)
        wait_until(lambda: not self.stage.pods(name), 30, lambda: f"pods of {name} gone; {self.stage.tell(name)}")

    def await_named(self, log: str, metric: str, timeout_s: float = 30, **labels: str) -> None:
        """Waits until a log line and a metric of the operator name what happened."""
        wait_until(lambda: self.operator.logged(log), timeout_s, f"a log line that says {log!r}")
        wait_until(lambda: self.operator.metric(metric, **labels) > 0, timeout_s, f"metric {metric}{labels} above 0")


def state_of(service: Mapping[str, Any], deployment: Mapping[str, Any]) -> Mapping[str, Any]:
    """What there is of a service and its Deployment, without dates, counters, and names that differ from one to the next."""
    status, container = service["status"], deployment["spec"]["template"]["spec"]["containers"][0]
    return {
        "conditions": {item["type"]: (item["status"], item["reason"], item["message"]) for item in status["conditions"]},
        "status": {key: value for key, value in status.items() if key not in {"conditions", "selector", "rung", "observedGeneration"}},
        "observed": status["observedGeneration"] == service["metadata"]["generation"],
        "spec": {key: deployment["spec"][key] for key in ("replicas", "strategy")},
        "container": {key: container[key] for key in ("image", "resources")},
    }


@contextlib.contextmanager
def scene_on(stage: Stage, folder: Path) -> Iterator[Scene]:
    """A node with room, the model, and the operator; `folder` holds its clock."""
    (folder / "jump").write_text("0")
    stage.add_nodes(node("only", "24", QUICK))
    stage.upload("squeezenet")
    with absent(stage.cluster, "operator"), weather_before(stage.cluster) as weather:
        more = HASTE | {"PYTHONPATH": shiftable_clock(folder)}
        operator = components.operator(stage.cluster, stage.predictor_port, "stowplan-operator", weather.url, name="operator-in-weather", more=more)
        stage.cluster.log(operator.name).unlink(missing_ok=True)
        try:
            operator.start()
            yield Scene(stage, operator, weather, folder / "jump")
        finally:
            operator.kill()
