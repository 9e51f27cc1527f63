"""A reconciler on a stage: a world in memory with a node, a model and a service, and a clock that a test moves."""

import datetime as dt
from typing import Any

from stowplan_operator.reconciling.metrics import Metrics
from stowplan_operator.reconciling.moments import Clock
from stowplan_operator.reconciling.reconcilers import Reconciler
from stowplan_operator.settings import OperatorSettings
from support.fake_operator_worlds import FakeWorld, FilePredictor


class Scene:
    """A world with a node, a model and a service, and a clock that a test moves."""

    def __init__(self, **spec: Any) -> None:
        self.world, self.predictor, self.now = FakeWorld(), FilePredictor(), dt.datetime(2026, 11, 22, 8, tzinfo=dt.UTC)
        self.settings, self.ahead = OperatorSettings(), dt.timedelta()
        self.world.put_node()
        self.world.put_model()
        self.name = self.world.put_service(**spec)
        self.restart()

    def restart(self) -> None:
        """A new process: nothing is remembered."""
        self.metrics = Metrics()
        clock = Clock(self.metrics.clock_jumps, lambda: self.now + self.ahead, lambda: self.steady_s)
        self.reconciler = Reconciler(self.world, self.world, self.predictor, settings=self.settings, now=clock.now, metrics=self.metrics)

    async def look(self) -> float | None:
        """One look."""
        return await self.reconciler.reconcile(self.name)

    @property
    def status(self) -> dict[str, Any]:
        """As stored."""
        status: dict[str, Any] = self.world.objects[self.name]["status"]
        return status

    def conditions(self) -> dict[str, tuple[str, str]]:
        """Status and reason by type."""
        return {item["type"]: (item["status"], item["reason"]) for item in self.status["conditions"]}

    def container(self) -> dict[str, Any]:
        """The first container of the Deployment."""
        container: dict[str, Any] = self.world.stored[self.name]["spec"]["template"]["spec"]["containers"][0]
        return container

    @property
    def steady_s(self) -> float:
        """The steady clock, which nobody sets."""
        return self.now.timestamp()

    async def wait(self, seconds: float) -> float | None:
        """Lets time pass, then looks."""
        self.now += dt.timedelta(seconds=seconds)
        return await self.look()
