"""Makes docs/data.md from the committed data set: `python tools/generators/data.py ROOT` writes below ROOT."""

import sys
from pathlib import Path

from stowplan_predictor.training.data import datasets
from stowplan_predictor.training.pages import data_cards, evaluations

if __name__ == "__main__":
    root = Path("datasets")
    folds = datasets.read_splits(root / "splits.json")
    # Measured data sets say where they come from; other folders hold judgements only.
    folders = sorted(path.parent for path in root.glob("*/provenance.json"))
    pages = [data_cards.card(datasets.read_dataset(folder), folds, folder) for folder in folders]
    evaluations.write_page("\n".join(pages), Path(sys.argv[1]) / "docs" / "data.md")
