"""The section of fuzzing: what was tried, what was found, and what memory did meanwhile."""

from collections.abc import Sequence

from benchmark_sections.tables import Row, number, table

# Targets in the order of the page.
TARGETS = {
    "requests": "requests of the scheduler (`/filter`, `/prioritize`, `/bind`)",
    "services": "InferenceServices: two looks of the operator, read by the extender",
    "models": "ONNX files: read, cut into kernels, packed up",
    "objects": "nodes, pods, services, ConfigMaps on a watch and in a list",
}
ENGINES = ("atheris", "mutations")
HEAD = [
    "what", "engine", "inputs", "runs", "hours", "edges, first to last", "crashes", "hangs", "memory at 10 %, 50 %, end of the longest run; peak, MB",
    "slowest input, ms",
]  # fmt: skip


def fuzzing(found: Row) -> list[str]:
    """What was fuzzed."""
    runs: Sequence[Row] = found["runs"]
    dates = sorted(run["date"][:10] for run in runs)
    host, versions = runs[-1]["host"], runs[-1]["versions"]
    lines = [
        "## Fuzzing (`make fuzz`)",
        "",
        f"{dates[0]} to {dates[-1]}, {host['cpu']}, {host['cores']} cores; " + ", ".join(f"{name} {text}" for name, text in versions.items()) + ".",
        "Each run is a process of its own with one thread; the corpus is kept from run to run. `atheris` is guided by coverage (edges of our own modules),",
        "`mutations` starts from the corpus that it left, unguided and several times as fast. A crash is an error that is not of our own tree, a hang an",
        "input that takes longer than ten seconds; growth of more than 100 MB between a tenth of the inputs and the last is a finding, too. Runs that ended",
        "at a finding count no inputs here. The slowest input is in processor time, with coverage watched where the run was guided.",
        "",
        *table(HEAD, [_row(target, engine, kept) for target in TARGETS for engine in ENGINES if (kept := _of(runs, target, engine))]),
    ]
    findings = [run for run in runs if run["finding"]]
    if findings:
        told = [[run["date"][:10], run["target"], f"`{run['finding'].splitlines()[-1][:120]}`"] for run in findings]
        lines += [
            "",
            "Findings, each mended with a test of its own (`tests/fuzzing/test_what_fuzzing_found.py`):",
            "",
            *table(["date", "target", "error"], told),
        ]
    return lines


def _of(runs: Sequence[Row], target: str, engine: str) -> list[Row]:
    return [run for run in runs if (run["target"], run["engine"]) == (target, engine)]


def _row(target: str, engine: str, runs: Sequence[Row]) -> list[str]:
    clean = [run for run in runs if not run["finding"]]
    edges = [run["edges"] for run in runs if run["edges"]]
    longest = max(runs, key=lambda run: run["inputs"])["memoryMegabytes"]
    return [
        TARGETS[target],
        engine,
        f"{sum(run['inputs'] for run in clean):,}",
        str(len(clean)),
        number(sum(run["seconds"] for run in clean) / 3600),
        f"{edges[0]['start']} to {edges[-1]['end']}" if edges else "-",
        str(sum(run["crashes"] for run in runs)),
        str(sum(run["hangs"] for run in runs)),
        f"{number(longest['tenth'])}, {number(longest['half'])}, {number(longest['end'])}; {number(max(run['memoryMegabytes']['peak'] for run in runs))}",
        number(max(run["slowestMilliseconds"] for run in runs)),
    ]
