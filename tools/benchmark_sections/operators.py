"""The operator's section: many services from cold."""

from benchmark_sections.tables import Row, spread, table

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
