"""Zoo entries to ONNX files, in a cache outside the tree, keyed by the versions that shape a graph. Nothing is downloaded: weights are random."""

import importlib
import importlib.metadata
import os
import warnings
from pathlib import Path
from typing import Any, Final

import onnx
import onnx.backend.test
import torch

from stowplan_predictor.training.generated import networks as random_networks
from stowplan_predictor.training.zoo import sequence_models
from stowplan_predictor.training.zoo.entries import Entry
from stowplan_predictor.training.zoo.torchvisions import torchvision

# Opset 17 is the newest that the TorchScript exporter writes completely, and old enough for every runtime that people still serve with.
OPSET: Final = 17
_KEYED: Final = ("torch", "torchvision", "timm", "transformers")


# It imports torchvision itself, which must be made importable first.
torchvision()
timm: Any = importlib.import_module("timm")


class ExportFailed(Exception):
    """A library could not build or export one of its networks; the others go on."""


def cache_folder() -> Path:
    """Where exports are kept: `$STOWPLAN_CACHE` or the user's cache folder, by opset and library versions."""
    root = Path(os.environ.get("STOWPLAN_CACHE") or Path.home() / ".cache" / "stowplan")
    key = "_".join([f"opset{OPSET}", *(f"{name}{importlib.metadata.version(name)}" for name in _KEYED)])
    return root / "zoo" / key


def source_of(entry: Entry) -> str:
    """Library and version, as data sets write it."""
    if entry.library == "random":
        return f"stowplan {importlib.metadata.version('stowplan')}"
    return f"{entry.library} {importlib.metadata.version(entry.library)}"


def export(entry: Entry, folder: Path | None = None) -> Path:
    """The entry's ONNX file, exported unless it is there already.

    Raises:
        ExportFailed: with the library's own words.
    """
    path = (folder or cache_folder()) / f"{entry.name}.onnx"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    try:
        match entry.library:
            case "onnx":
                light = Path(onnx.backend.test.__file__).parent / "data" / "light" / f"{entry.model}.onnx"
                temporary.write_bytes(light.read_bytes())
            case "random":
                temporary.write_bytes(random_networks.network(int(entry.model)))
            case _:
                _export_torch(entry, temporary)
    except Exception as error:
        temporary.unlink(missing_ok=True)
        raise ExportFailed(f"{entry.name}: {type(error).__name__}: {str(error)[:300]}") from error
    temporary.replace(path)
    return path


def build(entry: Entry) -> tuple[Any, tuple[Any, ...], list[str]]:
    """The torch module of an entry, inputs to call it with, and their names; weights are torch's random ones, from whatever seed is set.

    Raises:
        KeyError: it is no entry of a torch library.
    """
    found: tuple[Any, tuple[Any, ...], list[str]] = _BUILDERS[entry.library](entry)
    return found


def _export_torch(entry: Entry, path: Path) -> None:
    torch.manual_seed(0)
    module, inputs, names = build(entry)
    module.eval()
    with warnings.catch_warnings(), torch.inference_mode():
        # The TorchScript exporter is deprecated in favour of one whose graphs fewer runtimes and tools have seen; it warns on each use.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        # A trace warns where Python looks at a tensor; shapes are bound here, so what is looked at is constant.
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
        warnings.filterwarnings("ignore", category=UserWarning)
        torch.onnx.export(module, inputs, str(path), dynamo=False, opset_version=OPSET, input_names=names, output_names=["output"])


def _torchvision(entry: Entry) -> tuple[Any, tuple[Any, ...], list[str]]:
    options: dict[str, Any] = {"weights": None}
    if entry.model in ("googlenet", "inception_v3"):
        options |= {"init_weights": False, "aux_logits": False}
    if entry.family == "segmentation":
        options |= {"weights_backbone": None}
    module = torchvision().models.get_model(entry.model, **options)
    image = torch.randn(entry.batch, 3, entry.size, entry.size)
    by_library_name = {"lraspp_mobilenet_v3_large": "input"}.get(entry.model, "x")
    wrapped = sequence_models.FirstOutput(module, [by_library_name], {}) if entry.family == "segmentation" else module
    return wrapped, (image,), ["image"]


def _timm(entry: Entry) -> tuple[Any, tuple[Any, ...], list[str]]:
    # Fused attention traces to an operator whose decomposition hides the matrix products; the plain form exports them.
    timm.layers.set_fused_attn(enable=False)
    try:
        module = timm.create_model(entry.model, pretrained=False, img_size=entry.size, exportable=True)
    except TypeError:
        module = timm.create_model(entry.model, pretrained=False, exportable=True)
    return module, (torch.randn(entry.batch, 3, entry.size, entry.size),), ["image"]


_BUILDERS: Final = {"torchvision": _torchvision, "timm": _timm, "transformers": sequence_models.build}
