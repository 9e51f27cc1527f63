"""Unknowns: why a constant has no value, and what to tell the user when a shape depends on it."""

from collections.abc import Sequence

from stowplan_fleet.errors import GraphRefused

from stowplan_predictor.errors import ExternalDataMissing, ShapeRefused
from stowplan_predictor.graphs.facts import ELEMENT_TYPES, Fact, Lack


def lack(inputs: Sequence[Fact | None]) -> Lack:
    """Why a constant that is computed from these has no value."""
    lacks = [fact.lack for fact in inputs if fact is not None and fact.lack is not None]
    return next((lack for lack in lacks if lack.external), lacks[0] if lacks else Lack("it is computed by an operator that is not folded"))


def unshaped(name: str, inputs: Sequence[Fact | None], where: str) -> GraphRefused:
    """What to say of an output whose shape does not follow from the shapes of the inputs."""
    lacking = [fact for fact in inputs if fact is not None and fact.lack is not None]
    for fact in lacking:
        if fact.lack is not None and fact.lack.external:
            return ExternalDataMissing(
                f"{where}: the shape of its output {name!r} depends on {fact.name!r}, and {fact.lack.reason}; store small tensors in the model file itself"
            )
    # Shapes hang on integers and truth values (targets, axes, masks), not on weights.
    for fact in lacking:
        if fact.lack is None or not ELEMENT_TYPES[fact.element_type][0].startswith(("int", "uint", "bool")):
            continue
        return ShapeRefused(f"{where}: the shape of its output {name!r} depends on the value of {fact.name!r}, which is not known: {fact.lack.reason}")
    return ShapeRefused(f"{where}: the shape of its output {name!r} depends on values computed at run time; export the model without such operators")
