"""What `predict` and `explain` have in common: model, bundle, device and slices, made ready to ask."""
# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help starts at once

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stowplan_cli.inputs import gpus, hosts, models
from stowplan_cli.terminal import progresses

if TYPE_CHECKING:
    from stowplan_fleet.devices import Device
    from stowplan_fleet.predictors import GraphSummary
    from stowplan_fleet.slices import Slice
    from stowplan_predictor.bundles.loading import Bundle
    from stowplan_predictor.pipelines import Pipeline
    from stowplan_predictor.pipelines.judges import AnyBundle
    from stowplan_predictor.serving.local import LocalPredictor

BundleOption = Annotated[Path | None, typer.Option("--bundle", metavar="DIR", help="Bundle directory; the shipped one where not given.", show_default=False)]
RuntimeOption = Annotated[str, typer.Option("--runtime", help="Whose latency is predicted.")]
RUNTIME = "onnxruntime-cpu"
DeviceRuntimeOption = Annotated[
    str | None, typer.Option("--runtime", help="Whose latency is predicted; onnxruntime-cpu on CPUs, torch-eager on GPUs where not given.", show_default=False)
]


@dataclass(frozen=True, slots=True)
class Desk:
    """An analysed model before an opened bundle."""

    pipeline: "Pipeline"
    summary: "GraphSummary"
    device: "Device"

    @property
    def document(self) -> dict[str, Any]:
        """The parts that every result begins with: model, bundle, device."""
        import msgspec
        from stowplan_fleet.descriptors import write_device
        from stowplan_fleet.devices import CpuDevice

        summary, manifest = self.summary, self.pipeline.bundle.manifest
        return {
            "model": {
                "digest": summary.model_digest,
                "operators": summary.operators,
                "kernels": summary.kernels,
                "flops": summary.flops,
                "parameters": summary.parameters,
            },
            "bundle": {"name": manifest.name, "version": manifest.version},
            "device": msgspec.json.decode(write_device(self.device)) if isinstance(self.device, CpuDevice) else gpus.described(self.device),
        }


def opened_bundle(path: Path | None, runtime: str) -> "Bundle":
    """The bundle of CPUs in a directory, or the one shipped for a runtime.

    Raises:
        BundleError: there is none, or it was altered.
    """
    from stowplan_predictor.bundles.loading import load_bundle, shipped_bundle

    return shipped_bundle(runtime) if path is None else load_bundle(path)


def any_bundle(path: Path | None, runtime: str) -> "AnyBundle":
    """The bundle in a directory, or the one shipped for a runtime; of CPUs or of GPUs.

    Raises:
        BundleError: there is none, or it was altered.
    """
    from stowplan_predictor.bundles import loading

    return loading.open_bundle(loading.shipped_folder(runtime) if path is None else path)


def opened_predictor(path: Path | None, runtime: str) -> "LocalPredictor":
    """A predictor of every runtime that is shipped, and of the bundle in a directory in place of the one shipped for its runtime.

    Raises:
        BundleError: one is missing, or was altered; or none is shipped for that runtime.
    """
    from stowplan_predictor.bundles import loading
    from stowplan_predictor.serving.local import LocalPredictor, pipelines_of

    named = any_bundle(path, runtime)
    others = [any_bundle(None, name) for name in loading.shipped_runtimes() if name != named.manifest.runtime]
    return LocalPredictor(pipelines_of([named, *others]))


def prepared(model: Path, shapes: list[str] | None, device: str, bundle: Path | None, runtime: str | None) -> Desk:
    """Reads, checks and analyses everything that a question needs, cheap refusals first.

    Raises:
        Refused: a path or a shape is not acceptable.
        GraphRefused: the model is.
        BundleError: the bundle is.
        DescriptorRefused: the device is.
    """
    bound = models.parse_shapes(shapes)
    content = models.read_model(model)
    from stowplan_predictor.pipelines import Pipeline

    gpu = gpus.device_named(device) if device != hosts.HOST and not Path(device).exists() else None
    pipeline = Pipeline(_bundle_for(bundle, runtime, on_gpu=gpu is not None))
    with progresses.waiting("analysing the model"):
        summary = pipeline.analyze(content, bound)
    return Desk(pipeline, summary, gpu or hosts.device_named(device))


def _bundle_for(path: Path | None, runtime: str | None, *, on_gpu: bool) -> "AnyBundle":
    from stowplan_predictor.bundles import loading

    if path is not None:
        return loading.open_bundle(path)
    usual = gpus.RUNTIME if on_gpu and gpus.RUNTIME in loading.shipped_runtimes() else RUNTIME
    return loading.open_bundle(loading.shipped_folder(runtime or usual))


def parsed_slices(texts: Sequence[str] | None, device: "Device") -> list["Slice"]:
    """The slices that were named, each once; where none was, one for every number of cores that the descriptor measured, or the usual ones of a GPU.

    Raises:
        SliceNameRefused: one is not a slice.
        Refused: the GPU has no such slice.
    """
    from stowplan_fleet.devices import CpuDevice
    from stowplan_fleet.slices import cpu_slice, parse_slice

    named = list(dict.fromkeys(parse_slice(text) for text in texts or ()))
    if isinstance(device, CpuDevice):
        return named or [cpu_slice(item.cores * 1000) for item in device.throughputs]
    for note in gpus.check_slices(device, named):
        sys.stderr.write(f"stowplan: {note}\n")
    return named or gpus.usual_slices(device)
