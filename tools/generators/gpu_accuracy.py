"""Makes docs/gpu-accuracy.md from committed predictions: `python tools/generators/gpu_accuracy.py ROOT` writes below ROOT."""

import sys
from pathlib import Path

from stowplan_predictor.training.gpubundles.pages import sections
from stowplan_predictor.training.gpus import pages

if __name__ == "__main__":
    page = Path(sys.argv[1]) / "docs" / "gpu-accuracy.md"
    pages.write(Path("datasets"), page)
    # Behind the public kernels: GPUs that a campaign measured, where there are any.
    with page.open("a", encoding="utf-8") as lines:
        lines.writelines(f"\n{section}" for section in sections(Path("datasets")))
