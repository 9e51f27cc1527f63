"""Makes docs/gpu-accuracy.md from committed predictions: `python tools/generators/gpu_accuracy.py ROOT` writes below ROOT."""

import sys
from pathlib import Path

from stowplan_predictor.training.gpus import pages

if __name__ == "__main__":
    pages.write(Path("datasets"), Path(sys.argv[1]) / "docs" / "gpu-accuracy.md")
