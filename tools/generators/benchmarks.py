"""Makes docs/benchmarks.md from bench/results: `python tools/generators/benchmarks.py ROOT` writes below ROOT."""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

_ROOT: Final = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(_ROOT / "tools"))

from benchmark_sections import clusters, extenders, fuzzings, operators, predictors  # noqa: E402 -- found by the path above

# A file below bench/results by its name, and the section made of it, in the order of the page.
_SECTIONS: Final[Mapping[str, Callable[[Mapping[str, Any]], list[str]]]] = {
    "predictor": predictors.predictor,
    "extender_filter": extenders.extender,
    "cluster": clusters.cluster,
    "operator_services": operators.operator,
    "fuzzing": fuzzings.fuzzing,
}
_HEAD: Final = [
    "# Benchmarks",
    "",
    "`make bench` runs all of them; each prints its table and takes `--json FILE`. This page is made from `bench/results/` (`make generate`).",
    "A figure is the median of the runs, the range from the least of them to the most.",
    "",
]


def page() -> str:
    """The whole page: a section for every file of results."""
    found = {path.stem: json.loads(path.read_text()) for path in sorted((_ROOT / "bench" / "results").glob("*.json"))}
    if strangers := found.keys() - _SECTIONS.keys():
        raise SystemExit(f"bench/results: no section is made of {sorted(strangers)}: add one to _SECTIONS of {__file__}")
    sections = [section(found[name]) for name, section in _SECTIONS.items() if name in found]
    return "\n".join([*_HEAD, *(line for section in sections for line in (*section, ""))]).rstrip() + "\n"


if __name__ == "__main__":
    target = Path(sys.argv[1]) / "docs" / "benchmarks.md"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page())
