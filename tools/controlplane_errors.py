"""What can go wrong around the control plane.

* ControlPlaneError
  x GoMissing        there is no Go, and none could be fetched
  x BuildFailed      Go ran and failed
  x StartFailed      a program ended, or did not answer in time
  x CommandFailed    kubectl refused
"""


class ControlPlaneError(Exception):
    """Something about the control plane went wrong; the message says what, where and what next."""


class GoMissing(ControlPlaneError):
    """The programs are not in the cache, and there is no Go to build them."""


class BuildFailed(ControlPlaneError):
    """`go build` failed; the message holds its last words."""


class StartFailed(ControlPlaneError):
    """A program ended, or did not answer in time; the message holds the end of its log."""


class CommandFailed(ControlPlaneError):
    """kubectl refused; the message holds its answer."""
