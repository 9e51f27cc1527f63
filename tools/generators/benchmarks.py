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


def where(found: Row) -> str:
    """When and on what a part was run."""
    host = found["host"]
    machine = f"{host['cpu']}, {host['cores']} cores, Linux {host['kernel']}"
    return f"{found['date'][:10]}, {machine}, Python {found['python']}, load average {host['loadAverageAtStart']} at the start"


def spread(row: Row, suffix: str = "") -> str:
    """Median and range of several runs."""
    return f"{number(row['median'])}{suffix} ({number(row['least'])} to {number(row['most'])})"


def held(value: float, bound: float, *, least: bool = False) -> str:
    """A bar, and whether it holds."""
    return f"{'>=' if least else '<='} {number(bound)}: {'holds' if (value >= bound if least else value <= bound) else '**missed**'}"


FILTER_BARS = {(5_000, 20): 5.0, (5_000, 2_000): 25.0}
RATIO_BARS = {100: 0.6, 1_000: 0.7, 5_000: 0.8}
PEAK_BAR_MB = 300.0


def cluster_filter(found: Row) -> list[str]:
    """The filter over HTTP with the real decision."""
    rows = []
    for row in found["rows"]:
        bar = FILTER_BARS.get((row["nodes"], row["signatures"]))
        rows.append([
            f"{row['nodes']:,}", f"{row['signatures']:,}{', one changes at every bind' if row['changing'] else ''}",
            f"{number(row['medianMilliseconds'])} ({number(row['leastMilliseconds'])} to {number(row['mostMilliseconds'])})", number(row["p99Milliseconds"]),
            held(row["p99Milliseconds"], bar) if bar else "-", number(row["longestMilliseconds"]), number(row["cpuMillisecondsPerCall"]),
            f"{number(row['peakMegabytes'])} ({held(row['peakMegabytes'], PEAK_BAR_MB)})",
        ])  # fmt: skip
    first = found["rows"][0]
    return [
        "### Filter over HTTP",
        "",
        f"{where(found)}; bundle `{found['bundle'][:40]}`.",
        f"{first['runs']} runs of {first['callsPerRun']} calls, each with both processes started anew. The extender's process and a",
        "real predictor share one core, the client and an API server in memory (lists, watches and takes bindings) the other. Milliseconds.",
        "",
        *table(["nodes", "distinct signatures", "median (range)", "p99", "wanted", "longest", "processor time a call", "peak memory, MB"], rows),
    ]


def cluster_throughput(found: Row) -> list[str]:
    """Pods a second against the bare scheduler."""
    rows = [
        [
            f"{row['nodes']:,}", f"{row['pods']:,}", str(row["runs"]), spread(row["barePodsPerSecond"]), spread(row["podsPerSecond"]), spread(row["ratio"]),
            held(row["ratio"]["median"], RATIO_BARS[row["nodes"]], least=True) if row["nodes"] in RATIO_BARS else "-",
            f"{spread(row['extenderCpuMillisecondsPerPod'])}; {spread(row['predictorCpuMillisecondsPerPod'])}", spread(row["extenderPeakMegabytes"]),
        ]
        for row in found["rows"]
    ]  # fmt: skip
    return [
        "### Pods a second, with the extender and without",
        "",
        f"{where(found)}. One real control plane with kwok's nodes, everything on the same cores. The same scheduler binary and settings (every node",
        "sampled) with our extender and without it, in turns; a ratio is of the two of one run.",
        f"The extender answers {'the best ' + str(found['bestK']) + ' nodes' if found['bestK'] else 'every node that fits'} (`placement.best_k`).",
        "Pods are made before the scheduler starts; from the first bound to the last.",
        "",
        *table(
            [
                "nodes",
                "pods",
                "runs",
                "bare, pods/s",
                "with extender, pods/s",
                "ratio",
                "wanted",
                "processor ms a pod: extender; predictor",
                "extender's peak, MB",
            ],
            rows,
        ),
    ]


def cluster_pace(found: Row) -> list[str]:
    """Koordinator's setting."""
    runs = found["runs"]

    def cell(name: str) -> str:
        values = sorted(run[name] for run in runs)
        return spread({"median": values[len(values) // 2], "least": values[0], "most": values[-1]})

    rows = [
        ["pods a second, from the first made to the last bound", cell("podsPerSecond")],
        ["a pod from made to bound, p50, s", cell("p50Seconds")],
        ["p99, s", cell("p99Seconds")],
        ["processor milliseconds a pod: extender", cell("extenderCpuMillisecondsPerPod")],
        ["predictor", cell("predictorCpuMillisecondsPerPod")],
    ]
    return [
        f"### {found['nodes']} nodes, {found['pods']:,} pods made while they are scheduled",
        "",
        f"{where(found)}; {len(runs)} runs. The setting for which Koordinator published 45.6 pods/s and P99 13 s, on other hardware: no comparison.",
        "",
        *table(["what", "median (range)"], rows),
    ]


def cluster_apply(found: Row) -> list[str]:
    """From kubectl apply to a node."""
    rows = [
        [
            kind,
            str(found[kind]["services"]),
            *(number(found[kind][name]) for name in ("p50Milliseconds", "p99Milliseconds", "leastMilliseconds", "mostMilliseconds")),
        ]
        for kind in ("cold", "warm")
    ]
    return [
        "### From `kubectl apply` to a pod with a node",
        "",
        f"{where(found)}; {found['nodes']} nodes.",
        "kubectl's own start, operator, predictor, controllers, scheduler and extender; milliseconds. Cold: a model that nobody has seen;",
        "warm: another service of a model that is known. With so few services the p99 is the longest or next to it.",
        "",
        *table(["", "services", "p50", "p99", "least", "most"], rows),
    ]


def fuzzing(found: Row) -> list[str]:
    """What was fuzzed."""
    rows = [
        [
            row["target"],
            row["engine"],
            f"{row['inputs']:,}",
            number(row["seconds"]),
            f"{number(row['grownMegabytes'])}",
            "none" if not row["finding"] else "**yes**",
        ]
        for row in found["targets"]
    ]
    return [
        "## Fuzzing (`make fuzz`)",
        "",
        f"{found['date'][:10]}. Mutated requests of the scheduler, objects of the API server (nodes, pods, services, ConfigMaps), and model files;",
        "`atheris` is guided by coverage, `mutations` is not. A finding is an error that is not of our own, an input that takes longer",
        "than ten seconds, or memory that grows.",
        "",
        *table(["what", "engine", "inputs", "seconds", "memory grown, MB", "findings"], rows),
    ]


CLUSTER_PARTS = {"filter": cluster_filter, "throughput": cluster_throughput, "pace": cluster_pace, "apply": cluster_apply}


def cluster(found: Row) -> list[str]:
    """The parts of the cluster's bench that were run."""
    lines = ["## Cluster (`bench/cluster.py`)"]
    for name, section in CLUSTER_PARTS.items():
        if name in found:
            lines += ["", *section(found[name])]
            if found[name].get("note"):
                lines += ["", found[name]["note"]]
    return lines


# Figures of the operator in the order of the page.
OPERATOR_FIGURES = {
    "reconciled_s": ("from the operator's start until the last service is looked after", " s"),
    "services_per_s": ("services a second", ""),
    "cpu_ms_per_service": ("the operator's processor time a service, its start included", " ms"),
    "chosen": ("services that were given a rung and a Deployment", ""),
    "writes_per_service": ("writes to the API server a service", ""),
    "peak_mb": ("most memory the operator held", " MB"),
    "idle_cores": ("cores it takes when nothing happens", ""),
    "idle_growth_mb": ("memory grown meanwhile", " MB"),
}


def operator(found: Row) -> list[str]:
    """The section of the operator."""
    by_name, host = {row["figure"]: row for row in found["rows"]}, found["host"]

    def line(name: str) -> list[str]:
        row, (what, suffix) = by_name[name], OPERATOR_FIGURES[name]
        wanted = f"{row['wanted']}{suffix}: {'holds' if row['holds'] else '**missed**'}" if "wanted" in row else "-"
        return [what, spread(row, suffix), wanted]

    return [
        f"## Operator: {found['services']:,} services from cold (`bench/operator_services.py`)",
        "",
        f"{found['date'][:10]}, {host['cpu']}, {host['cores']} cores, Linux {host['kernel']}, load average {host['loadAverageAtStart']} at the start,",
        f"{found['runs']} {'run' if found['runs'] == 1 else 'runs'}. Real etcd, API server and predictor on the same cores; no controllers,",
        f"hence no pods; two graphs among all services; {found['nodes']} nodes. Idle for {found['idleSeconds']:g} s at the end.",
        "",
        *table(["what", "median (range)", "wanted"], [line(name) for name in OPERATOR_FIGURES if name in by_name]),
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
    sections = [predictor(found["predictor"]), extender(found["extender_filter"])]
    sections += [cluster(found["cluster"])] if "cluster" in found else []
    sections += [operator(found["operator_services"])] if "operator_services" in found else []
    sections += [fuzzing(found["fuzzing"])] if "fuzzing" in found else []
    return "\n".join([*head, *(line for section in sections for line in (*section, ""))]).rstrip() + "\n"


if __name__ == "__main__":
    target = Path(sys.argv[1]) / "docs" / "benchmarks.md"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page())
