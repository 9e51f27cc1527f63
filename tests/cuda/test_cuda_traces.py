"""The profiler's record of runs, read. What holds CUDA kernels is made up in Kineto's format, since no GPU was there to write it.

`profiler_on_cpu.json` is a real record: two runs of a convolution and an activation by torch 2.13 on a CPU.
"""

import json
from pathlib import Path
from typing import Any

from stowplan_predictor.training.cuda import traces
from stowplan_predictor.training.cuda.provenances import KernelTruth

Event = dict[str, Any]


def span(category: str, name: str, at: float, took: float, **arguments: Any) -> Event:
    return {"ph": "X", "cat": category, "name": name, "ts": at, "dur": took, "pid": 1, "tid": 1, "args": arguments}


class Recorder:
    """Events of one stream: the host launches, the device runs later."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.host, self.device, self.correlation = 0.0, 1000.0, 0

    def launch(self, name: str, took: float) -> None:
        """A CUDA kernel."""
        self.correlation += 1
        self.events.append(span("cuda_runtime", "cudaLaunchKernel", self.host, 2, correlation=self.correlation))
        self.events.append(span("kernel", name, self.device, took, correlation=self.correlation))
        self.host, self.device = self.host + 3, self.device + took + 1

    def operator(self, name: str, *kernels: tuple[str, float], inner: str = "", dims: list[list[int]] | None = None) -> None:
        """An ATen operator that launches kernels, inside of another one where `inner` names it."""
        began = self.host
        self.host += 1
        inside = self.host
        for kernel, took in kernels:
            self.launch(kernel, took)
        if inner:
            self.events.append(span("cpu_op", inner, inside, self.host - inside))
        self.host += 1
        self.events.append(span("cpu_op", name, began, self.host - began, **({"Input Dims": dims} if dims else {})))
        self.host += 1

    def mark(self, began: float) -> None:
        """A run, from then until now."""
        self.events.append(span("user_annotation", traces.RUN_MARK, began, self.host - began))
        self.host += 50


CALLED = (
    KernelTruth(1, "extern_kernels.convolution", is_library=True, nodes=("convolution",)),
    KernelTruth(2, "triton_poi_fused_relu_0", is_library=False, nodes=("relu",)),
    KernelTruth(3, "extern_kernels.addmm", is_library=True, nodes=("addmm",)),
    KernelTruth(4, "extern_kernels.addmm", is_library=True, nodes=("addmm_1",)),
    KernelTruth(5, "triton_poi_fused_relu_0", is_library=False, nodes=("relu_1",)),
)


def compiled_run(recorder: Recorder, *, products: int = 2) -> None:
    began = recorder.host
    recorder.operator("aten::convolution", ("nchwToNhwcKernel", 3.0), ("implicit_gemm", 20.0), inner="aten::cudnn_convolution")
    recorder.launch("triton_poi_fused_relu_0", 5.0)
    for index in range(products):
        recorder.operator("aten::addmm", ("sgemm", 10.0 + index))
    recorder.launch("triton_poi_fused_relu_0", 6.0)
    recorder.mark(began)


def test_each_call_of_the_compiler_gets_its_own_time() -> None:
    """Generated kernels by name and order, though one name is called twice; libraries by the operator that launched them, all its CUDA kernels together."""
    recorder = Recorder()
    compiled_run(recorder)
    compiled_run(recorder)
    runs = traces.profiled_runs(recorder.events)

    assert len(runs) == 2
    for run in runs:
        joined = [item for item in traces.join(CALLED, run) if item is not None]
        assert [item.duration_us for item in joined] == [23.0, 5.0, 10.0, 11.0, 6.0]
        assert joined[0].launches == ("nchwToNhwcKernel", "implicit_gemm")


def test_library_calls_that_cannot_be_told_apart_are_left_open() -> None:
    """Three products where the compiler called two: their times stay unknown, and the generated kernels keep theirs."""
    recorder = Recorder()
    compiled_run(recorder, products=3)
    (run,) = traces.profiled_runs(recorder.events)

    assert [item.duration_us if item else None for item in traces.join(CALLED, run)] == [23.0, 5.0, None, None, 6.0]


def test_a_record_that_ends_early_or_is_of_something_else_gives_no_time() -> None:
    """No generated kernel is taken for another one."""
    recorder = Recorder()
    recorder.launch("triton_red_fused_mean_3", 4.0)
    recorder.mark(0.0)
    (run,) = traces.profiled_runs(recorder.events)

    assert traces.join(CALLED, run)[1] is None
    assert traces.join(CALLED, run)[4] is None


def test_an_eager_run_is_operators_with_their_shapes() -> None:
    """What launched nothing (a view) is no kernel; what an operator called inside belongs to it."""
    recorder = Recorder()
    recorder.operator("aten::view")
    recorder.operator("aten::conv2d", ("implicit_gemm", 20.0), inner="aten::convolution", dims=[[1, 3, 8, 8], [4, 3, 3, 3]])
    recorder.operator("aten::relu", ("vectorized_elementwise_kernel", 2.0))
    recorder.mark(0.0)
    (run,) = traces.profiled_runs(recorder.events)

    found = [(caller.name, caller.shapes, timed.duration_us, timed.launches) for caller, timed in traces.eager_kernels(run)]
    assert found == [
        ("aten::conv2d", '{"dims": [[1, 3, 8, 8], [4, 3, 3, 3]], "values": null}', 20.0, ("implicit_gemm",)),
        ("aten::relu", "", 2.0, ("vectorized_elementwise_kernel",)),
    ]


def test_kernels_launched_outside_of_runs_count_nowhere() -> None:
    """Warm-up before the first mark is not part of any run."""
    recorder = Recorder()
    recorder.operator("aten::relu", ("vectorized_elementwise_kernel", 2.0))
    began = recorder.host
    recorder.operator("aten::mul", ("vectorized_elementwise_kernel", 3.0))
    recorder.mark(began)

    assert [launch.duration_us for run in traces.profiled_runs(recorder.events) for launch in run.launches] == [3.0]


def test_a_real_record_has_its_runs_and_their_operators_with_all_that_they_were_given() -> None:
    """Two runs, each a convolution and an activation called from outside of any other operator; strides, padding and groups beside the shapes."""
    events = json.loads((Path(__file__).parent / "profiler_on_cpu.json").read_text())["traceEvents"]
    runs = traces.profiled_runs(events)

    assert [[caller.name for caller in run.callers] for run in runs] == [["aten::conv2d", "aten::relu"]] * 2
    given = json.loads(runs[1].callers[0].shapes)
    assert given["dims"][:3] == [[1, 3, 8, 8], [4, 3, 3, 3], [4]]
    assert given["values"][3:] == ["[2, 2]", "[1, 1]", "[1, 1]", "1"]
    assert all(run.launches == () for run in runs)
