"""Judges: who answers for the devices of one runtime, given the kernels of analysed graphs. CPUs: `cpu_judges`; GPUs: `stowplan_predictor.gpus`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from stowplan_fleet.answers import Answer
from stowplan_fleet.devices import Device
from stowplan_fleet.questions import Occupant, Question
from stowplan_fleet.slices import DeviceName, SliceClass

from stowplan_predictor.bundles.gpu_bundles import GpuBundle
from stowplan_predictor.bundles.loading import Bundle
from stowplan_predictor.errors import CannotJudge
from stowplan_predictor.kernels.latencies import Isolated
from stowplan_predictor.kernels.workloads import Workloads
from stowplan_predictor.pipelines.cpu_judges import CpuJudge

AnyBundle = Bundle | GpuBundle


class Run(Protocol):
    """A network alone on a slice of a device: whatever its judge wants to know of it again."""

    @property
    def isolated(self) -> Isolated:
        """What is predicted of it."""


class Judge(Protocol):
    """Who answers. Thread-safe. Devices and runs are its own: it gets back what it gave."""

    def device(self, slice_class: SliceClass, devices: Mapping[DeviceName, Device]) -> Any:  # noqa: ANN401 - a kind of device
        """The device that a slice is cut from.

        Raises:
            CannotJudge: it has no descriptor, or is of a kind that this runtime does not run on.
        """

    def cut(self, device: Any) -> str:  # noqa: ANN401 - as above
        """Which kernels of an analysed graph run there, by the name that `cuts` gives them."""

    def runs(self, parts: Sequence[tuple[Workloads, SliceClass, Any]]) -> Sequence[Run | CannotJudge]:
        """A run, or why there is none, for each of (kernels, slice, device)."""

    def judge(self, question: Question, run_of: Callable[[Occupant], Any]) -> Answer:
        """The answer to a question.

        Raises:
            CannotJudge: no honest number exists; carries the reason.
        """

    def first_place(self) -> tuple[SliceClass, Device]:
        """Where a fresh server asks its first question, so that the first user does not wait."""


def judge_of(bundle: AnyBundle) -> Judge:
    """Who answers from a bundle."""
    return CpuJudge(bundle) if isinstance(bundle, Bundle) else bundle.judge
