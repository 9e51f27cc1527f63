"""Errors of the fleet language.

* FleetError
  x ValueRefused          a value that people or an API server wrote is not acceptable: what, where, what to do
    - QuantityRefused     not a Kubernetes quantity
    - SliceNameRefused    not a slice or slice class
    - ManifestRefused     an object lacks a field or holds a wrong one
    - DescriptorRefused   a device descriptor is incomplete or absurd
    - GraphRefused        a model file is broken, or holds what nobody can judge
  x PredictorUnavailable  retryable: nobody answered, or not in time
"""


class FleetError(Exception):
    """Root of everything this package raises."""


class ValueRefused(FleetError, ValueError):
    """Somebody's input is not acceptable; the message says what, where and what next."""


class QuantityRefused(ValueRefused):
    """Not a Kubernetes quantity."""


class SliceNameRefused(ValueRefused):
    """Not the name of a slice or slice class."""


class ManifestRefused(ValueRefused):
    """A Kubernetes object lacks a field or holds a wrong one."""


class DescriptorRefused(ValueRefused):
    """A device descriptor is incomplete or absurd."""


class GraphRefused(ValueRefused):
    """A model file is broken, or holds what nobody can judge. Asking again does not help."""


class PredictorUnavailable(FleetError):
    """Nobody answered, or not in time. Asking again may help."""
