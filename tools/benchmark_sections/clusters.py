"""The cluster's section: filter over HTTP, pods a second, the pace of others, from apply to a node. Each part stands if it was run."""

import statistics

from benchmark_sections.tables import Row, held, machine, number, spread, table, where

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
            f"{row['nodes']:,}", f"{row['pods']:,}",
            f"{row['runs']} ({row.get('loadAverageAtStart', found['host']['loadAverageAtStart'])})",
            spread(row["barePodsPerSecond"]), spread(row["podsPerSecond"]), spread(row["ratio"]),
            held(row["ratio"]["median"], RATIO_BARS[row["nodes"]], least=True) if row["nodes"] in RATIO_BARS else "-",
            _until_running(row),
            f"{spread(row['extenderCpuMillisecondsPerPod'])}; {spread(row['predictorCpuMillisecondsPerPod'])}", spread(row["extenderPeakMegabytes"]),
        ]
        for row in found["rows"]
    ]  # fmt: skip
    return [
        "### Pods a second, with the extender and without",
        "",
        f"{machine(found)}. One real control plane with kwok's nodes, everything on the same cores. The same scheduler binary and settings (every node",
        "sampled) with our extender and without it, in turns; a ratio is of the two of one run.",
        f"The extender answers {_answered(found.get('answered', found['bestK']))} (`placement.best_k` is {found['bestK']}; these pods state no preference).",
        "Pods are made before the scheduler starts; from the first bound to the last. A bare scheduler is done before kwok, in the kubelets' place, has set",
        "its pods running, and before all of that is told and watched: work of the same cores that a slower one has in its own time. Hence the second ratio:",
        "until the last pod runs.",
        "",
        *table(
            [
                "nodes",
                "pods",
                "runs (load average before)",
                "bare, pods/s",
                "with extender, pods/s",
                "ratio",
                "wanted",
                "until all run: bare; with extender; ratio",
                "processor ms a pod: extender; predictor",
                "extender's peak, MB",
            ],
            rows,
        ),
        *_where_time_goes(found["rows"]),
    ]


def _where_time_goes(found: list[Row]) -> list[str]:
    """What a pod costs on all cores together, part by part."""
    names = {"bare": "bare", "stowplan": "with extender"}
    told = [(row, row["untilBoundCpuMillisecondsPerPod"]) for row in found if "untilBoundCpuMillisecondsPerPod" in row]
    rows = [
        [f"{row['nodes']:,}", names[name], *(spread(parts[name][part]) for part in ("scheduler", "extender", "apiServer", "rest"))]
        for row, parts in told
        for name in names
    ]
    if not rows:
        return []
    return [
        "",
        "Where the time of both cores goes until the last pod is bound: processor milliseconds a pod. What goes on anyway (heartbeats of nodes, pods that are",
        "set running) is in it, and there is more of that in a longer time; so is the scheduler's start.",
        "",
        *table(["nodes", "", "scheduler", "extender and predictor", "API server and etcd", "controllers, kwok, this bench"], rows),
    ]


def _until_running(row: Row) -> str:
    if "runningRatio" not in row:
        return "not measured"
    return f"{spread(row['bareRunningPodsPerSecond'])}; {spread(row['runningPodsPerSecond'])}; {spread(row['runningRatio'])}"


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
    return [
        "### From `kubectl apply` to a pod with a node",
        "",
        f"{where(found)}; {found['nodes']} nodes.",
        "kubectl's own start, operator, predictor, controllers, scheduler and extender; milliseconds. Cold: a model that nobody has seen;",
        "warm: another service of a model that is known. p50 and p99 are each run's, as median and range over the runs; every run starts a cluster anew.",
        "With so few services a run's p99 is its longest or next to it.",
        "",
        *table(["", "runs", "services a run", "p50", "p99", "least of all", "most of all"], [_applied(kind, found["runs"]) for kind in ("cold", "warm")]),
    ]


def _applied(kind: str, runs: list[Row]) -> list[str]:
    of = [run[kind] for run in runs]
    p50, p99 = (_over([row[name] for row in of]) for name in ("p50Milliseconds", "p99Milliseconds"))
    least, most = min(row["leastMilliseconds"] for row in of), max(row["mostMilliseconds"] for row in of)
    return [kind, str(len(of)), str(of[0]["services"]), p50, p99, number(least), number(most)]


def _over(values: list[float]) -> str:
    return f"{number(statistics.median(values))} ({number(min(values))} to {number(max(values))})"


def _answered(count: int) -> str:
    return "every node that fits" if not count else "the best node" if count == 1 else f"the best {count} nodes"


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
