"""The extender's section: its filter without a predictor."""

from benchmark_sections.tables import Row, number, table


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
