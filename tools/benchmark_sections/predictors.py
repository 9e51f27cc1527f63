"""The predictor's section: what a question costs, what memory is held, how hostile files are refused."""

from benchmark_sections.tables import Row, number, table

# Figures of the predictor in the order of the page, by the name under which the bench writes them.
FIGURES = {
    "cold_ms": "first model of a fresh process, 120 operators, 8 slices: file pushed to answers",
    "warm_ms": "another new model, 120 operators, 8 slices",
    "transformer_ms": "a transformer of 2,009 operators, 8 slices",
    "cached_p50_ms": "cached question, p50",
    "cached_p99_ms": "cached question, p99",
    "health_p50_ms": "health check beside it, p50 (what gRPC itself takes)",
    "cached_over_health": "cached question over health check",
    "encrypted_p50_ms": "cached question with TLS, p50 (in turns with one in the clear)",
    "encrypted_p99_ms": "the same, p99",
    "encrypted_over_plain": "cached question with TLS over one in the clear, p50",
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
