"""torchvision, importable beside a CPU build of torch."""

import importlib
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import torch

# Libraries of registered operators live as long as the object that registered them.
_KEPT: list[Any] = []


@cache
def torchvision() -> Any:  # noqa: ANN401 - a module whose types are not read
    """The module.

    PyPI's torchvision is built against CUDA; beside a CPU build of torch its extension does not load, and its import then fails over a shape rule for an
    operator (`nms`, `qnms`) that nobody declared. No network here uses those: declaring them, without an implementation, lets the import go on.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        raise ImportError("torchvision is not installed: install the extra `train`")
    for extension in Path(spec.origin).parent.glob("_C*.so"):
        try:
            torch.ops.load_library(extension)
        except OSError:
            library = torch.library.Library("torchvision", "DEF")
            for operator in ("nms", "qnms"):
                library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            _KEPT.append(library)
    return importlib.import_module("torchvision")
