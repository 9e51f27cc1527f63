"""The dashboard of services: objectives, predictions and what servers observe; slices that are left."""

from typing import Final

from panels.queries import HERE, OBJECTIVE, OBSERVED, OF, PREDICTED, WHERE
from panels.shapes import Dashboard, Panel, Row

_OBJECTIVES: Final = Row(
    "Objectives",
    (
        Panel(
            "Ready",
            "Services all of whose replicas serve.",
            "short",
            ((f'sum(stowplan_service_condition{{condition="Ready", status="True", {WHERE}}}) or vector(0)', "ready"),),
            "stat",
            6,
        ),
        Panel(
            "Not ready",
            "Services with a replica that does not serve, or of which that is not known.",
            "short",
            ((f'sum(stowplan_service_condition{{condition="Ready", status!="True", {WHERE}}}) or vector(0)', "not ready"),),
            "stat",
            6,
        ),
        Panel(
            "Over the objective",
            "Services whose observed 95th percentile is above their objective; only those that something observes count.",
            "short",
            (
                (
                    f"count({OBSERVED} > on (namespace, service) group_left () {OBJECTIVE}) or vector(0)",
                    "over",
                ),
            ),
            "stat",
            6,
        ),
        Panel(
            "Without a spare slice",
            "Services with a pod that finds no slice.",
            "short",
            ((f'count(stowplan_service_condition{{condition="Scheduled", reason="NoSpareSlice", {WHERE}}}) or vector(0)', "no spare slice"),),
            "stat",
            6,
        ),
        Panel(
            "What does not hold",
            "Conditions that are not true, with their reason; kubectl describe has the words.",
            "short",
            ((f'max by (namespace, service, condition, reason) (stowplan_service_condition{{status!="True", {WHERE}}})', ""),),
            "table",
            24,
        ),
    ),
)

_LATENCY: Final = Row(
    "Latency",
    (
        Panel(
            "Predicted against observed",
            "Upper end of the predicted percentile on the present rung, the 95th percentile as servers tell it, and the objective.",
            "s",
            (
                (f"{PREDICTED}", "{{service}} predicted"),
                (OBSERVED, "{{service}} observed ({{source}})"),
                (f"{OBJECTIVE}", "{{service}} objective"),
            ),
            width=24,
        ),
        Panel(
            "Headroom to the objective",
            "Share of the objective that the prediction leaves; below zero it is predicted to miss.",
            "percentunit",
            (
                (
                    f"1 - {PREDICTED} / {OBJECTIVE}",
                    "{{service}}",
                ),
            ),
            width=12,
        ),
        Panel(
            "Error of the prediction",
            "Observed 95th percentile over the upper end of the prediction, less one: above zero the prediction was too low.",
            "percentunit",
            (
                (
                    f"{OBSERVED} / on (namespace, service) group_left () {PREDICTED} - 1",
                    "{{service}} ({{source}})",
                ),
            ),
            width=12,
        ),
    ),
)

_SLICES: Final = Row(
    "Slices",
    (
        Panel(
            "Cores",
            "Allocatable cores of ready nodes by device, and those that our servers have; pods of others are not subtracted.",
            "short",
            (("sum by (device) (stowplan_cluster_cores)", "{{device}} there"), ("sum by (device) (stowplan_cluster_cores_used)", "{{device}} used")),
        ),
        Panel(
            "GPU slices",
            "Slices that ready nodes offer by class, and those that our servers have.",
            "short",
            (
                ("sum by (slice_class) (stowplan_cluster_slices)", "{{slice_class}} there"),
                ("sum by (slice_class) (stowplan_cluster_slices_used)", "{{slice_class}} used"),
            ),
        ),
        Panel(
            "Replicas",
            "Replicas that services want, by slice class.",
            "short",
            ((f"sum by (slice_class) (stowplan_service_replicas{OF})", "{{slice_class}}"),),
        ),
    ),
)

SERVICES: Final = Dashboard(
    "stowplan-services",
    "Stowplan / Services",
    "Objectives, predictions and what servers observe; slices that are left.",
    (
        ("namespace", "label_values(stowplan_service_objective_seconds, namespace)"),
        ("service", f"label_values(stowplan_service_objective_seconds{{{HERE}}}, service)"),
    ),
    (_OBJECTIVES, _LATENCY, _SLICES),
)
