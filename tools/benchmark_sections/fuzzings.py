"""The section of fuzzing: what was tried, and what was found."""

from benchmark_sections.tables import Row, number, table


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
