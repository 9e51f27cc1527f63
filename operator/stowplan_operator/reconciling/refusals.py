"""Refusals: whether the API server's no to a Deployment concerns its author, or passes by itself."""

from typing import Final

from stowplan_fleet.reasons import ConditionReason

from stowplan_operator.errors import ApiFailed

# Credentials that ended, a namespace that is gone, somebody else who was faster, too many requests.
_PASSING: Final = frozenset({401, 404, 409, 429})
# A field that does not exist, a value of another type, an entry twice: server-side apply fails with 500 and these words (k8s.io/apimachinery, managedfields).
_UNTYPED: Final = "typed patch object"


def reason_of(error: ApiFailed, *, made: bool) -> ConditionReason | None:
    """What to tell the author of a service; None where there is nothing to tell.

    Args:
        error: what the API server answered to its Deployment.
        made: there is one already, so that its pods serve on.
    """
    if _UNTYPED in error.said or (400 <= error.status < 500 and error.status not in _PASSING):
        return ConditionReason.SPEC_REFUSED
    # A webhook that does not answer, for one.
    return ConditionReason.DEPLOYMENT_NOT_MADE if error.status >= 500 and not made else None
