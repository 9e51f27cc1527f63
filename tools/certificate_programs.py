"""What certificates are tried with: cert-manager's own controllers and issuers as a process, built of its Go module, pinned in `controlplane/certificates/`.

`python tools/certificate_programs.py` builds it into the cache now and says where it lies.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from controlplane_errors import ControlPlaneError
from definitions import CERT_MANAGER
from go_modules import GoModule

_ISSUING: Final = GoModule(CERT_MANAGER.pins, ("issuing",), ".")


def issuing() -> Path:
    """The controller, from the cache or built now with Go; its one argument is a kubeconfig.

    Raises:
        GoMissing: no Go is there to build it, and none could be fetched.
        BuildFailed: Go could not build it.
    """
    return _ISSUING.ensure(CERT_MANAGER.kind) / "issuing"


def main(arguments: Sequence[str]) -> int:
    """Builds it; answers the exit status: 0 done, 1 failed with the reason on standard error, 2 usage."""
    if arguments:
        sys.stderr.write("usage: python tools/certificate_programs.py\n")
        return 2
    try:
        sys.stdout.write(f"{issuing()}\n")
    except ControlPlaneError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
