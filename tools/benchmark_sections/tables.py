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


def machine(found: Row) -> str:
    """When a part was run last, and on what."""
    host = found["host"]
    return f"{found['date'][:10]}, {host['cpu']}, {host['cores']} cores, Linux {host['kernel']}, Python {found['python']}"


def where(found: Row) -> str:
    """The same for a part of one start, with what was going on then."""
    return f"{machine(found)}, load average {found['host']['loadAverageAtStart']} at the start"


def spread(row: Row, suffix: str = "") -> str:
    """Median and range of several runs."""
    return f"{number(row['median'])}{suffix} ({number(row['least'])} to {number(row['most'])})"


def held(value: float, bound: float, *, least: bool = False) -> str:
    """A bar, and whether it holds."""
    return f"{'>=' if least else '<='} {number(bound)}: {'holds' if (value >= bound if least else value <= bound) else '**missed**'}"
