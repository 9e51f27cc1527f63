"""Parts of a prediction: what a response time is made of, for programs and in columns."""

from typing import TYPE_CHECKING, Any, Final

from stowplan_cli.terminal import outputs

if TYPE_CHECKING:
    from stowplan_fleet.answers import Answer

HEADINGS: Final = ("ALONE MS", "+ NEIGHBOURS", "+ QUEUEING", "RESPONSE MS", "UPPER MS", "BUSY")


def parts_of(alone: "Answer | None", beside: "Answer | None") -> dict[str, Any]:
    """What a response is made of, medians: the model alone, what neighbours add, what queueing adds; and the upper end that is held against the objective."""
    isolated = _median(alone.isolated) if alone else None
    shared = _median(beside.colocated or beside.isolated) if beside else None
    response = _median(beside.response) if beside else None
    return {
        "isolatedMilliseconds": isolated,
        "besideMilliseconds": shared,
        "responseMilliseconds": response,
        "colocationMilliseconds": shared - isolated if shared is not None and isolated is not None else None,
        "queueingMilliseconds": response - shared if response is not None and shared is not None else None,
        "predictedMilliseconds": beside.response.upper_ms if beside and beside.response else None,
        "utilization": beside.utilization if beside else None,
        "bundle": beside.bundle if beside else None,
    }


def _median(interval: Any) -> float | None:  # noqa: ANN401 - an interval or nothing
    return interval.median_ms if interval is not None else None


def cells(parts: dict[str, Any]) -> list[str]:
    """One row under `HEADINGS`."""
    columns = ("isolatedMilliseconds", "colocationMilliseconds", "queueingMilliseconds", "responseMilliseconds", "predictedMilliseconds")
    return [*(shown(parts[key]) for key in columns), "unknown" if parts["utilization"] is None else f"{parts['utilization']:.0%}"]


def shown(value: float | None) -> str:
    """Milliseconds, or that they are not known."""
    return "unknown" if value is None else outputs.milliseconds(value)
