"""Makes docs/accuracy.md from committed predictions, measured data and the shipped bundle: `python tools/generators/accuracy.py ROOT` writes below ROOT."""

import sys
from pathlib import Path

from stowplan_predictor.training.pages import evaluations
from stowplan_predictor.training.pages import sources as accuracy_sources

if __name__ == "__main__":
    found = evaluations.evaluate(accuracy_sources.dataset_folder(Path("datasets")), accuracy_sources.shipped_folder())
    evaluations.write_page(found.page, Path(sys.argv[1]) / "docs" / "accuracy.md")
