"""Makes docs/benchmarks.md from bench/results: `python tools/generators/benchmarks.py ROOT` writes below ROOT."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[2] / "bench" / "results"
Row = Mapping[str, Any]

# Figures of the predictor in the order of the page, by the name under which the bench writes them.
FIGURES = {
    "cold_ms": "first model of a fresh process, 120 operators, 8 slices: file pushed to answers",
    "warm_ms": "another new model, 120 operators, 8 slices",
    "transformer_ms": "a transformer of 2,009 operators, 8 slices",
    "cached_p50_ms": "cached question, p50",
    "cached_p99_ms": "cached question, p99",
    "health_p50_ms": "health check beside it, p50 (what gRPC itself takes)",
    "cached_over_health": "cached question over health check",
    "batch_cached_questions_per_s": "cached questions a second, 100 a call, one client",
    "batch_cached_questions_per_core_s": "the same a second of the server's time",
    "batch_new_questions_per_s": "new request rates a second, 100 a call, one client",
    "batch_new_questions_per_core_s": "the same a second of the server's time",
    "start_s": "from nothing to serving",
    "idle_with_reader_mb": "memory when idle, with the process that reads files",
    "memory_mb": "memory after all of this",
    "memory_with_reader_mb": "the same with the process that reads files",
    "peak_with_reader_mb": "most that both held, each at its worst moment",
}
UNITS = {"ms": "ms", "s": "s", "mb": "MB"}


def number(value: float) -> str:
    """Three significant digits, thousands apart."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{float(f'{value:.3g}'):g}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Markdown."""
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]


def unit(figure: str) -> str:
    """By the name's end; ratios and rates have none."""
    return "" if figure.endswith(("per_s", "per_core_s")) else UNITS.get(figure.rpartition("_")[2], "")


def predictor(found: Row) -> list[str]:
    """The section of the predictor."""
    by_name = {row["figure"]: row for row in found["rows"]}
    host, versions = found["host"], found["versions"]

    def line(name: str) -> list[str]:
        row = by_name[name]
        suffix = f" {unit(name)}" if unit(name) else ""
        wanted = f"{row['wanted']}{suffix}: {'holds' if row['holds'] else '**missed**'}" if "wanted" in row else "-"
        return [FIGURES[name], f"{number(row['median'])}{suffix}", f"{number(row['least'])} to {number(row['most'])}{suffix}", wanted]

    return [
        "## Predictor (`bench/predictor.py`)",
        "",
        f"{found['date'][:10]}, {host['cpu']}, {host['cores']} cores, Linux {host['kernel']}, load average {host['loadAverageAtStart']} at the start,",
        f"{found['scheduling']} scheduling{' (others waited)' if found['scheduling'] == 'real-time' else ''};",
        ", ".join(f"{name} {text}" for name, text in versions.items()) + f"; bundle `{found['bundle'][:40]}`.",
        f"Each of {found['runs']} runs starts the process anew, pinned to one core with all that it starts; the client asks over gRPC on loopback from",
        f"another core, and its time is part of every duration. Slices: {', '.join(found['slices'])}.",
        "",
        *table(["what", "median", "range", "wanted"], [line(name) for name in FIGURES if name in by_name]),
        "",
        "### Hostile files",
        "",
        "Each is refused by the process that reads files, with the limits that the settings name by default (`analysis.*`). Time from sending the file",
        "to the refusal; peak memory of that process, which holds the file, started anew for each.",
        "",
        *table(["file", "size", "refused by", "time", "peak memory"], [refusal(row) for row in found["hostile"]]),
    ]


def refusal(row: Row) -> list[str]:
    """One hostile file."""
    size = f"{number(row['megabytes'])} MB" if row["megabytes"] >= 0.1 else f"{number(1000 * row['megabytes'])} kB"
    return [row["file"], size, f"`{row['refused']}`", f"{number(1000 * row['seconds'])} ms", f"{number(row['peakMegabytes'])} MB"]


def extender(found: Row) -> list[str]:
    """The section of the extender."""
    cells = {(row["where"], row["kind"], row["nodes"]): f"{number(row['medianMilliseconds'])} ({number(row['p99Milliseconds'])})" for row in found["rows"]}
    sizes = sorted({nodes for _, _, nodes in cells})
    head = ["where", "kind", *(f"{size:,} nodes" for size in sizes)]
    kinds = dict.fromkeys((where, kind) for where, kind, _ in cells)
    return [
        "## Extender: filter (`bench/extender_filter.py`, made-up latencies: no predictor is asked)",
        "",
        f"{found['date'][:10]}, {found['cores']} cores, Python {found['python']}, load average {found['loadAverageAtStart']:.2f} at the start,",
        f"{found['runs']} runs. Median (p99) in ms. Warm: the same kind of pod was judged before. Cold: nothing is remembered, a dozen distinct signatures.",
        "Uneven: every node differs from every other, nothing remembered.",
        "",
        *table(head, [[where, kind, *(cells[where, kind, size] for size in sizes)] for where, kind in kinds]),
    ]


def page() -> str:
    """The whole page."""
    found = {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}
    head = [
        "# Benchmarks",
        "",
        "`make bench` runs all of them; each prints its table and takes `--json FILE`. This page is made from `bench/results/` (`make generate`).",
        "A figure is the median of the runs, the range from the least of them to the most.",
        "",
    ]
    return "\n".join([*head, *predictor(found["predictor"]), "", *extender(found["extender_filter"])]) + "\n"


if __name__ == "__main__":
    target = Path(sys.argv[1]) / "docs" / "benchmarks.md"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page())
