"""The row of the operator on the dashboard of components."""

from typing import Final

from panels.queries import HERE, rate
from panels.shapes import Panel, Row

OPERATOR: Final = Row(
    "Operator",
    (
        Panel(
            "Looks",
            "Looks at services by outcome.",
            "ops",
            ((f"sum by (outcome) ({rate('stowplan_operator_reconciliations_total')})", "{{outcome}}"),),
        ),
        Panel(
            "Time of a look",
            "Median and 99th percentile.",
            "s",
            (
                (f"histogram_quantile(0.5, sum by (le) ({rate('stowplan_operator_reconcile_seconds_bucket')}))", "p50"),
                (f"histogram_quantile(0.99, sum by (le) ({rate('stowplan_operator_reconcile_seconds_bucket')}))", "p99"),
            ),
        ),
        Panel("Waiting services", "Services that wait to be looked at.", "short", ((f"max(stowplan_operator_queue_length{{{HERE}}})", "waiting"),)),
        Panel("Moves", "Moves between rungs, by kind.", "ops", ((f"sum by (move) ({rate('stowplan_operator_moves_total')})", "{{move}}"),)),
        Panel(
            "Writes",
            "Writes to the API server by kind, and Deployments put right after somebody else had changed them.",
            "ops",
            (
                (f"sum by (kind) ({rate('stowplan_operator_writes_total')})", "{{kind}}"),
                (f"sum({rate('stowplan_operator_reverts_total')})", "put right"),
            ),
        ),
        Panel(
            "Trouble with the API server",
            "Requests that failed by status, warnings of the watches, and deletions that no watch told.",
            "ops",
            (
                (f"sum by (status) ({rate('stowplan_operator_api_failures_total')})", "{{status}}"),
                (f"sum by (level) ({rate('stowplan_operator_watch_troubles_total')})", "watch {{level}}"),
                (f"sum by (kind) ({rate('stowplan_operator_missed_deletes_total')})", "missed {{kind}}"),
            ),
        ),
    ),
)
