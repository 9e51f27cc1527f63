"""Errors of the extender.

* ExtenderError
  x NotYet              retryable: the scheduler shall ask again
    - ViewNotReady      the cluster view is not synced, or too old to decide on
    - ServiceNotReady   the pod's InferenceService is not known, or its model not analysed, yet
    - NotLeading        the scheduler's Lease names another pod
    - PlaceLost         the node can no longer take the pod: somebody else came first
  x PodRefused          final for this pod as it is written
  x RequestRefused      the scheduler is configured in a way we cannot serve
  x ApiError            the API server
    - ApiRefused        it answered, and said no
    - ApiUnreachable    nobody answered, or not in time; what was asked may have happened
  x ConfigurationRefused  our own settings or credentials
"""


class ExtenderError(Exception):
    """Root of what this package raises."""


class NotYet(ExtenderError):
    """Something is missing that may be there when the scheduler asks again."""


class ViewNotReady(NotYet):
    """The cluster view is not synced, or too old to decide on."""


class ServiceNotReady(NotYet):
    """The pod's InferenceService is not known, or its model not analysed, yet."""


class NotLeading(NotYet):
    """The scheduler's Lease names another pod, so this one must not bind."""


class PlaceLost(NotYet):
    """The node can no longer take the pod."""


class PodRefused(ExtenderError):
    """The pod cannot be placed as it is written, anywhere."""


class RequestRefused(ExtenderError):
    """A request that this extender cannot serve."""


class ApiError(ExtenderError):
    """Talking to the API server failed."""


class ApiRefused(ApiError):
    """The API server answered with an error status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"the API server answered {status}: {message}")
        self.status = status


class ApiUnreachable(ApiError):
    """Nobody answered, or not in time. What was asked may have happened all the same."""


class ConfigurationRefused(ExtenderError):
    """Settings or credentials that cannot be used: what, where, what next."""
