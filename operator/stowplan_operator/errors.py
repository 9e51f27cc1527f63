"""Errors of the operator.

* OperatorError
  x ModelRejected     final until somebody changes something: the model's source or content; carries the condition's reason
  x ApiFailed         retryable: the API server did not do what was asked
  x NameTaken         final: a Deployment of the service's name belongs to somebody else
  x ForeignEdits      later again: somebody else keeps changing the Deployment
  x StartRefused      no credentials, or settings that contradict each other
"""

from stowplan_fleet.reasons import ConditionReason


class OperatorError(Exception):
    """Root of everything this package raises."""


class ModelRejected(OperatorError):
    """The model cannot be had, or is not the one that was named. The message says what, where and what next."""

    def __init__(self, reason: ConditionReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ApiFailed(OperatorError):
    """The API server refused, failed or did not answer."""

    def __init__(self, message: str, status: int = 0, said: str = "") -> None:
        super().__init__(message)
        self.status = status
        """HTTP status; 0 where there was no answer."""
        self.said = said or message
        """The server's own words, without the request that they answer."""


class NameTaken(OperatorError):
    """A Deployment of that name exists and belongs to somebody else."""


class ForeignEdits(OperatorError):
    """Somebody else keeps changing a Deployment of ours; it is left alone for a while. The message names whom the API server names."""


class StartRefused(OperatorError):
    """The operator cannot start; the message says what to set."""
