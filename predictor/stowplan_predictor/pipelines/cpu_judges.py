"""The judge of CPUs."""

from collections.abc import Callable, Mapping, Sequence

from stowplan_fleet import slices
from stowplan_fleet.answers import Answer, UnknownReason
from stowplan_fleet.devices import CpuDevice, Device
from stowplan_fleet.questions import Occupant, Question
from stowplan_fleet.slices import DeviceName, SliceClass

from stowplan_predictor.bundles.loading import Bundle
from stowplan_predictor.errors import CannotJudge
from stowplan_predictor.fusion import layouts
from stowplan_predictor.kernels.workloads import Workloads
from stowplan_predictor.pipelines import cpu_runs
from stowplan_predictor.pipelines.cpu_runs import Run
from stowplan_predictor.pipelines.cuts import cut_name
from stowplan_predictor.pipelines.judgements import judge


class CpuJudge:
    """See `judges.Judge`."""

    def __init__(self, bundle: Bundle) -> None:
        """Judges from a bundle of CPUs."""
        self._bundle = bundle

    def device(self, slice_class: SliceClass, devices: Mapping[DeviceName, Device]) -> CpuDevice:
        """The CPU a slice is cut from."""
        device = devices.get(slice_class.device)
        if device is None:
            raise CannotJudge(UnknownReason.DEVICE_NOT_DESCRIBED, f"device {slice_class.device} has no descriptor; run `stowplan device` there and publish it")
        if not isinstance(device, CpuDevice):
            runtime = self._bundle.manifest.runtime
            raise CannotJudge(
                UnknownReason.DEVICE_NOT_SUPPORTED,
                f"device {slice_class.device} is a GPU, and runtime {runtime} runs on CPUs only; name a runtime of GPUs, such as torch-eager",
            )
        return device

    def cut(self, device: CpuDevice) -> str:
        """As the runtime fuses with that machine's layout."""
        return cut_name(self._bundle.fusion, layouts.channel_block(device.isa))

    def runs(self, parts: Sequence[tuple[Workloads, SliceClass, CpuDevice]]) -> list[Run | CannotJudge]:
        """See `cpu_runs.runs`."""
        return cpu_runs.runs(parts, self._bundle)

    def judge(self, question: Question, run_of: Callable[[Occupant], Run]) -> Answer:
        """See `judgements.judge`."""
        return judge(question, run_of, self._bundle)

    def first_place(self) -> tuple[SliceClass, CpuDevice]:
        """One core of a measured machine."""
        device = self._bundle.devices[0]
        return SliceClass(device.name, slices.cpu_slice(1000)), device
