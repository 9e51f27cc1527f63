"""Errors of the predictor.

* PredictorError
  x stowplan_fleet.errors.GraphRefused      (a model file; final)
    - ModelUnreadable        not ONNX, or truncated
    - ExternalDataMissing    weights that the structure depends on lie in a file that is not there
    - DimensionUnbound       a dynamic dimension has no value: bind it with an input shape
    - OperatorUnknown        an operator we have no counting rule for
    - ShapeRefused           shapes that contradict each other, or are absurdly large
    - GraphTooLarge          more operators or bytes than we accept
  x BundleError
    - BundleRefused          a bundle directory is incomplete or was altered
    - BundleNotFound         no bundle for that runtime
  x CannotJudge              (never leaves `pipelines.Pipeline.predict`: it becomes an unknown answer) no honest number exists for that question
  x MeasurementError
    - CgroupUnavailable      a fractional slice needs a cgroup quota that cannot be written here
    - MachineBusy            somebody else holds the machine lock, or foreign load never went away
    - RuntimeRefused         the runtime cannot run that model
    - DeviceUnavailable      the GPU that a campaign asks for is not there, or not in a state to be measured
  x DatasetRefused           a measured data set is missing, malformed, or holds what cannot be a measurement
"""

from stowplan_fleet.answers import UnknownReason
from stowplan_fleet.errors import GraphRefused


class PredictorError(Exception):
    """Root of what this package raises beside refused graphs."""


class ModelUnreadable(GraphRefused, PredictorError):
    """Not an ONNX file, or a truncated one."""


class ExternalDataMissing(GraphRefused, PredictorError):
    """Data that the structure depends on lies in a file that is not there."""


class DimensionUnbound(GraphRefused, PredictorError):
    """A dynamic dimension has no value."""


class OperatorUnknown(GraphRefused, PredictorError):
    """An operator there is no counting rule for."""


class ShapeRefused(GraphRefused, PredictorError):
    """Shapes that contradict each other, or are absurdly large."""


class GraphTooLarge(GraphRefused, PredictorError):
    """More operators or bytes than we accept."""


class BundleError(PredictorError):
    """Something is wrong with a bundle."""


class BundleRefused(BundleError):
    """A bundle directory is incomplete or was altered."""


class BundleNotFound(BundleError):
    """No bundle for that runtime."""


class CannotJudge(PredictorError):
    """No honest number exists for that question; carries the reason an answer shall name."""

    def __init__(self, reason: UnknownReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class MeasurementError(PredictorError):
    """A measurement could not be taken."""


class CgroupUnavailable(MeasurementError):
    """A fractional slice needs a cgroup quota that cannot be written here."""


class MachineBusy(MeasurementError):
    """Somebody else holds the machine lock."""


class RuntimeRefused(MeasurementError):
    """The runtime cannot run that model."""


class DeviceUnavailable(MeasurementError):
    """The GPU that a campaign asks for is not there, or not in a state to be measured."""


class DatasetRefused(PredictorError):
    """A measured data set is missing, malformed, or holds what cannot be a measurement."""
