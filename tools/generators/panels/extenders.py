"""The row of the extender on the dashboard of components."""

from typing import Final

from panels.queries import HERE, quantile, rate
from panels.shapes import Panel, Row

EXTENDER: Final = Row(
    "Extender",
    (
        Panel(
            "Time to answer",
            "Median and 99th percentile of the answers to the scheduler, by verb; the scheduler waits two seconds.",
            "s",
            (
                (quantile(0.5, "stowplan_extender_request_seconds", "verb"), "{{verb}} p50"),
                (quantile(0.99, "stowplan_extender_request_seconds", "verb"), "{{verb}} p99"),
            ),
        ),
        Panel(
            "Requests",
            "Requests of the scheduler by verb and outcome.",
            "reqps",
            ((f"sum by (verb, outcome) ({rate('stowplan_extender_request_seconds_count')})", "{{verb}} {{outcome}}"),),
        ),
        Panel(
            "Filter",
            "How long filters took.",
            "s",
            ((f'sum by (le) (increase(stowplan_extender_request_seconds_bucket{{{HERE}, verb="filter"}}[$__rate_interval]))', "{{le}}"),),
            "heatmap",
        ),
        Panel(
            "Refusals by reason",
            "Nodes judged by filters, by kind of verdict.",
            "ops",
            ((f"sum by (verdict) ({rate('stowplan_extender_nodes_judged_total')})", "{{verdict}}"),),
        ),
        Panel("Bindings", "Bindings by how they ended.", "ops", ((f"sum by (outcome) ({rate('stowplan_extender_bindings_total')})", "{{outcome}}"),)),
        Panel(
            "Wake-ups",
            "Pods that were refused and woken because a node would take them now.",
            "ops",
            ((f"sum by (outcome) ({rate('stowplan_extender_wake_ups_total')})", "{{outcome}}"),),
        ),
        Panel(
            "Answers without a fresh prediction",
            "Questions nobody answered, by what stood in.",
            "ops",
            ((f"sum by (used) ({rate('stowplan_extender_degraded_answers_total')})", "{{used}}"),),
        ),
        Panel(
            "Age of the view",
            "Time since each watch was last in touch; decisions rest on it.",
            "s",
            ((f"max by (resource) (stowplan_extender_view_staleness_seconds{{{HERE}}})", "{{resource}}"),),
        ),
        Panel(
            "The predictor, seen from here",
            "Median and 99th percentile of its answers by outcome.",
            "s",
            (
                (quantile(0.5, "stowplan_extender_predictor_rpc_seconds", "outcome"), "{{outcome}} p50"),
                (quantile(0.99, "stowplan_extender_predictor_rpc_seconds", "outcome"), "{{outcome}} p99"),
            ),
        ),
    ),
)
