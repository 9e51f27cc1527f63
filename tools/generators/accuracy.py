"""Makes docs/accuracy.md from the manifest of the shipped bundle: `python tools/generators/accuracy.py ROOT` writes below ROOT."""

import sys
from pathlib import Path

from stowplan_predictor.training import evaluations

if __name__ == "__main__":
    sys.exit(evaluations.main(["--output", str(Path(sys.argv[1]) / "docs" / "accuracy.md")]))
