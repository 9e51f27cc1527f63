"""What `predict` and `explain` have in common: model, bundle, device and slices, made ready to ask."""
# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help starts at once

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stowplan_cli import hosts, models, progresses

if TYPE_CHECKING:
    from stowplan_fleet.devices import CpuDevice
    from stowplan_fleet.predictors import GraphSummary
    from stowplan_fleet.slices import Slice
    from stowplan_predictor.bundles.loading import Bundle
    from stowplan_predictor.pipelines import Pipeline

BundleOption = Annotated[Path | None, typer.Option("--bundle", metavar="DIR", help="Bundle directory; the shipped one where not given.", show_default=False)]
RuntimeOption = Annotated[str, typer.Option("--runtime", help="Whose latency is predicted.")]
RUNTIME = "onnxruntime-cpu"


@dataclass(frozen=True, slots=True)
class Desk:
    """An analysed model before an opened bundle."""

    pipeline: "Pipeline"
    summary: "GraphSummary"
    device: "CpuDevice"

    @property
    def document(self) -> dict[str, Any]:
        """The parts that every result begins with: model, bundle, device."""
        import msgspec
        from stowplan_fleet.descriptors import write_device

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
            "device": msgspec.json.decode(write_device(self.device)),
        }


def opened_bundle(path: Path | None, runtime: str) -> "Bundle":
    """The bundle in a directory, or the one shipped for a runtime.

    Raises:
        BundleError: there is none, or it was altered.
    """
    from stowplan_predictor.bundles.loading import load_bundle, shipped_bundle

    return shipped_bundle(runtime) if path is None else load_bundle(path)


def prepared(model: Path, shapes: list[str] | None, device: str, bundle: Path | None, runtime: str) -> Desk:
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

    pipeline = Pipeline(opened_bundle(bundle, runtime))
    with progresses.waiting("analysing the model"):
        summary = pipeline.analyze(content, bound)
    return Desk(pipeline, summary, hosts.device_named(device))


def parsed_slices(texts: Sequence[str] | None, device: "CpuDevice") -> list["Slice"]:
    """The slices that were named, each once; where none was, a slice for every number of cores that the descriptor measured.

    Raises:
        SliceNameRefused: one is not a slice.
    """
    from stowplan_fleet.slices import cpu_slice, parse_slice

    named = [parse_slice(text) for text in texts] if texts else [cpu_slice(item.cores * 1000) for item in device.throughputs]
    return list(dict.fromkeys(named))
