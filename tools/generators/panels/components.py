"""The dashboard of components: rates, errors, durations, and what they work with."""

from typing import Final

from panels.certificates import CERTIFICATES
from panels.extenders import EXTENDER
from panels.operators import OPERATOR
from panels.predictors import PREDICTOR
from panels.shapes import Dashboard

COMPONENTS: Final = Dashboard(
    "stowplan-components",
    "Stowplan / Components",
    "Extender, predictor and operator: rates, errors, durations, and what they work with.",
    (("namespace", "label_values(stowplan_extender_view_synced, namespace)"),),
    (EXTENDER, PREDICTOR, OPERATOR, CERTIFICATES),
)
