"""The row of the predictor on the dashboard of components."""

from typing import Final

from panels.queries import HERE, quantile, rate
from panels.shapes import Panel, Row

PREDICTOR: Final = Row(
    "Predictor",
    (
        Panel(
            "Time to answer",
            "Median and 99th percentile by method.",
            "s",
            (
                (quantile(0.5, "stowplan_predictor_rpc_seconds", "method"), "{{method}} p50"),
                (quantile(0.99, "stowplan_predictor_rpc_seconds", "method"), "{{method}} p99"),
            ),
        ),
        Panel(
            "Calls and errors",
            "Calls by method and status code.",
            "reqps",
            ((f"sum by (method, code) ({rate('stowplan_predictor_rpc_seconds_count')})", "{{method}} {{code}}"),),
        ),
        Panel(
            "Answers by basis",
            "What answers rest on; unknown ones with their reason.",
            "ops",
            ((f"sum by (basis, unknown_reason) ({rate('stowplan_predictor_answers_total')})", "{{basis}} {{unknown_reason}}"),),
        ),
        Panel(
            "Caches",
            "Memory of the caches by content.",
            "bytes",
            ((f"sum by (runtime, cache) (stowplan_predictor_cache_bytes{{{HERE}}})", "{{runtime}} {{cache}}"),),
        ),
        Panel(
            "Waiting",
            "Calls accepted and not begun; beyond the queue's bound callers are told to come back.",
            "short",
            ((f"sum by (pool) (stowplan_predictor_queue_length{{{HERE}}})", "{{pool}}"),),
        ),
        Panel(
            "Bundles",
            "Which bundle answers for which runtime.",
            "short",
            ((f"max by (runtime, name, version) (stowplan_predictor_bundle_info{{{HERE}}})", ""),),
            "table",
        ),
    ),
)
