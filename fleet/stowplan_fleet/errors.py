"""Errors of the fleet language.

* FleetError
  x ValueRefused          a value that people or an API server wrote is not acceptable: what, where, what to do
    - QuantityRefused     not a Kubernetes quantity
    - SliceNameRefused    not a slice or slice class
    - ManifestRefused     an object lacks a field or holds a wrong one
    - DescriptorRefused   a device descriptor is incomplete or absurd
    - ShareRefused        a GPU or a slice of it whose resources are known to nobody
    - GraphRefused        a model file is broken, or holds what nobody can judge
    - MessageRefused      a message of the contract holds what this version cannot read
    - SettingsRefused     a settings file or variable has an unknown name or a value of the wrong type
    - CredentialsRefused  no usable credentials for an API server
    - CertificateRefused  a file of TLS is missing, no PEM, or does not fit the other ones
  x PredictorUnavailable  retryable: nobody answered, or not in time
    - PredictorBusy       retryable: more is asked than it works off
    - PredictorLate       retryable: it was asked, and did not answer in time
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


class ShareRefused(ValueRefused):
    """A GPU that the catalogue does not hold, or a slice of it whose resources are known to nobody."""


class GraphRefused(ValueRefused):
    """A model file is broken, or holds what nobody can judge. Asking again does not help."""


class MessageRefused(ValueRefused):
    """A message of the contract holds what this version cannot read."""


class SettingsRefused(ValueRefused):
    """A settings file or an environment variable has an unknown name or a value of the wrong type."""


class CredentialsRefused(ValueRefused):
    """No usable credentials for an API server: which file or variable is missing."""


class CertificateRefused(ValueRefused):
    """A certificate, a key or a list of authorities cannot be used: which file, why, what to do."""


class PredictorUnavailable(FleetError):
    """Nobody answered, or not in time. Asking again may help."""


class PredictorBusy(PredictorUnavailable):
    """More is asked of the predictor than it works off. Asking later helps."""


class PredictorLate(PredictorUnavailable):
    """Somebody was asked and did not answer in time: slow, or hanging. Asking again may help."""
