"""Dashboards as data: rows of panels, each with what it asks."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel; `queries` are pairs of an expression and its legend."""

    title: str
    description: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    kind: str = "timeseries"
    width: int = 8


@dataclass(frozen=True, slots=True)
class Row:
    """Panels below one heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One dashboard; `variables` are pairs of a name and the query of its values."""

    uid: str
    title: str
    description: str
    variables: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...] = field(default=())
