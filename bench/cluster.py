"""The cluster side in figures: `python bench/cluster.py [filter|throughput|pace|apply ...] [--json FILE] [--runs N]`. The machine should do nothing else.

- filter: the extender's filter over HTTP with the real decision, at 100, 1,000 and 5,000 nodes of 20 kinds; and of 2,000, one changing at every bind.
- throughput: pods a second of kube-scheduler with the extender against the same scheduler without it, both looking at every node; on kwok's nodes.
- pace: 100 nodes, 1,000 pods that are made while they are scheduled, as Koordinator published it (45.6 pods/s, P99 13 s, on other hardware).
- apply: from `kubectl apply` to a pod with a node.
Parts that were run join those already in the file; each says when, and how often.
"""

import argparse
import asyncio
import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve()
sys.path[:0] = [str(_HERE.parents[1]), str(_HERE.parents[1] / "tests"), str(_HERE.parents[1] / "tools")]

from stowplan_extender.settings import PlacementSettings  # noqa: E402
from stowplan_predictor.bundles.loading import shipped_bundle  # noqa: E402

from bench.parts import applications, filters, throughputs  # noqa: E402 -- the path comes first
from bench.parts.filters import Case  # noqa: E402

PARTS = ("filter", "throughput", "pace", "apply")
FILTERS = (Case(100, 20, changing=False), Case(1_000, 20, changing=False), Case(5_000, 20, changing=False), Case(5_000, 2_000, changing=True))
CALLS = 300
# Nodes and pods. At 5,000 nodes a bare scheduler places some 50 pods a second here: more pods would only take longer.
SIZES = ((100, 1_000), (1_000, 1_000), (5_000, 600))


def filtered(runs: int) -> list[dict[str, Any]]:
    """The rows of the filter."""
    rows = []
    for case in FILTERS:
        rows.append(filters.measured(case, CALLS, runs))
        print(rows[-1], flush=True)
    return rows


def main() -> int:
    """Runs the parts that are named."""
    parser = argparse.ArgumentParser(description="The cluster side in figures")
    parser.add_argument("parts", nargs="*", metavar="|".join(PARTS), help="all of them where none is named")
    parser.add_argument("--json", type=Path, help="write the figures there; parts that were not run stay as they are")
    parser.add_argument("--runs", type=int, default=5)
    shipped = PlacementSettings().best_k
    parser.add_argument(
        "--best-k", type=int, default=shipped, help="setting placement.best_k of the extender where pods are counted; 0: every node is returned"
    )
    parser.add_argument("--sizes", default="", help="NODES:PODS,... in place of 100:1000,1000:1000,5000:600")
    parser.add_argument("--services", type=int, default=30, help="services applied, cold and warm each")
    given = parser.parse_args()
    unknown = set(given.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    sizes = [(int(nodes), int(pods)) for nodes, _, pods in (item.partition(":") for item in given.sizes.split(",") if item)] or list(SIZES)
    for part in given.parts or PARTS:
        load = os.getloadavg()[0]
        match part:
            case "filter":
                found: dict[str, Any] = {"rows": filtered(given.runs)}
            case "throughput":
                # The pods counted state no preference.
                found = {"bestK": given.best_k, "answered": min(given.best_k, 1), "rows": []}
                for size in sizes:
                    load = os.getloadavg()[0]
                    rows = asyncio.run(throughputs.compared([size], given.runs, given.best_k))
                    found["rows"] += [{**row, "date": _facts(load)["date"], "loadAverageAtStart": round(load, 2)} for row in rows]
                    if given.json:
                        _keep(given.json, part, {**_facts(load), **found})
            case "pace":
                found = {"bestK": given.best_k, "nodes": 100, "pods": 1_000, "runs": asyncio.run(throughputs.paced(100, 1_000, given.runs, given.best_k))}
            case _:
                found = {"nodes": 100, "runs": [asyncio.run(applications.applied(100, given.services)) for _ in range(given.runs)]}
        if given.json:
            _keep(given.json, part, {**_facts(load), **found})
    return 0


def _facts(load: float) -> dict[str, Any]:
    names = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": {"cpu": names[0] if names else platform.machine(), "cores": os.cpu_count(), "kernel": platform.release(), "loadAverageAtStart": round(load, 2)},
        "python": platform.python_version(),
        "bundle": shipped_bundle("onnxruntime-cpu").label,
    }


def _keep(file: Path, part: str, found: dict[str, Any]) -> None:
    before = json.loads(file.read_text()) if file.exists() else {}
    if part == "throughput" and all(before.get(part, {}).get(name) == found[name] for name in ("bestK", "answered")):
        # Sizes may be run one by one: a window of nobody else's work is short.
        sizes = {row["nodes"] for row in found["rows"]}
        kept = [row for row in before[part]["rows"] if row["nodes"] not in sizes]
        found = {**found, "rows": sorted([*kept, *found["rows"]], key=lambda row: int(row["nodes"]))}
    file.write_text(json.dumps({**before, part: found}, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
