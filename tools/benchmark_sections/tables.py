"""What every section of the page is made of: numbers as they are read, ranges, bars and whether they hold, tables."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def number(value: float) -> str:
    """Three significant digits, thousands apart."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{float(f'{value:.3g}'):g}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Markdown."""
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]


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
