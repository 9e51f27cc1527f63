"""A bundle of GPUs of made-up numbers, for tests of what stands around its models: every kernel takes a known multiple of what physics says.

No accuracy may rest on it.
"""

from dataclasses import asdict
from pathlib import Path

import numpy as np
from stowplan_predictor.bundles.loading import FUSION
from stowplan_predictor.bundles.manifests import canonical
from stowplan_predictor.bundles.writing import write_bundle
from stowplan_predictor.fusion.tables import FusionTable
from stowplan_predictor.gpus.estimators import TABLE, FamilyTable, GpuTable
from stowplan_predictor.gpus.features import FEATURES
from stowplan_predictor.gpus.figures import Figures, MeasuredGpu
from stowplan_predictor.gpus.tasks import FAMILIES, KINDS, PRODUCTS
from stowplan_predictor.kernels.intervals import LogInterval
from support.synthetic_bundles import constant_model

RUNTIME = "torch-eager"
MEASURED = "NVIDIA-A100-80GB-PCIe"
SLOWNESS = 1.5
LAUNCH_MS = 0.01
FIGURES = Figures(dict.fromkeys(KINDS, LAUNCH_MS), 0.8, dict.fromkeys(PRODUCTS, 0.9), dict.fromkeys(PRODUCTS, (128, 64)))


def synthetic_table() -> GpuTable:
    """What such a bundle says about GPUs."""
    families = {
        family: FamilyTable(f"kernels/{family}.onnx", -3.0, 3.0, LogInterval(-0.1, 0.1), LogInterval(-0.3, 0.3)) for family in FAMILIES
    }  # fmt: skip
    return GpuTable(FEATURES, tuple(KINDS), (MeasuredGpu(MEASURED, FIGURES),), families, LogInterval(-0.7, 0.7), 0.9)


def synthetic_files() -> dict[str, bytes]:
    """The content of such a bundle."""
    model = constant_model(float(np.log(SLOWNESS)), len(FEATURES) + 1)
    files = {f"kernels/{family}.onnx": model for family in FAMILIES}
    return {TABLE: synthetic_table().encoded(), FUSION: canonical(asdict(FusionTable.operators())), **files}


def write_synthetic_gpu_bundle(folder: Path) -> Path:
    """Writes it."""
    write_bundle(folder, name="synthetic-gpu", runtime=RUNTIME, files=synthetic_files(), models={}, provenance={}, errors={})
    return folder
