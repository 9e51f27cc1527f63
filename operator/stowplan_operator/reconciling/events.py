"""Events: one for each transition of a condition, for `kubectl describe`."""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from stowplan_fleet import keys

from stowplan_operator.conditions import merges
from stowplan_operator.conditions.verdicts import Holds, Verdict

COMPONENT: Final = "stowplan-operator"
# The API server's bound (k8s.io/kubernetes/pkg/apis/core/validation/events.go, NoteLengthLimit).
_MESSAGE_MAX: Final = 1024


def event_for(service: Mapping[str, Any], verdict: Verdict, now: datetime) -> dict[str, Any]:
    """The event that tells a transition; a warning where the condition does not hold."""
    metadata = service["metadata"]
    moment = merges.stamp(now)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata['name'][:200]}.{uuid.uuid4().hex[:16]}", "namespace": metadata["namespace"]},
        "involvedObject": {
            "apiVersion": f"{keys.GROUP}/{keys.VERSION}",
            "kind": keys.KIND,
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
        },
        "type": "Warning" if verdict.holds is Holds.FALSE else "Normal",
        "reason": str(verdict.reason),
        "message": f"{verdict.type}={verdict.holds}: {verdict.message}"[:_MESSAGE_MAX],
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }
