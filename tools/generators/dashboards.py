"""Makes the Grafana dashboards of the chart from a few dataclasses: `python tools/generators/dashboards.py ROOT` writes below ROOT.

What every panel has: a title, a description, a unit, the datasource variable, and rates over `$__rate_interval`.
"""

import json
import sys
from pathlib import Path
from typing import Final

from panels.components import COMPONENTS
from panels.renderings import rendered
from panels.services import SERVICES

_FOLDER: Final = Path("charts/stowplan/files/dashboards")


def main(root: Path) -> None:
    """Writes every dashboard."""
    (root / _FOLDER).mkdir(parents=True, exist_ok=True)
    for dashboard in (SERVICES, COMPONENTS):
        (root / _FOLDER / f"{dashboard.uid}.json").write_text(json.dumps(rendered(dashboard), indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
