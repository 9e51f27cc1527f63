"""Admissions: which of those whose certificates are good are answered. An authority may sign for a whole company; two of its certificates are ours."""

from collections.abc import Sequence
from typing import Any, Final

from stowplan_predictor.errors import PredictorError

# What gRPC takes for a caller's identity where his certificate has such names; it takes the common name where it has none, which we do not.
_NAMES: Final = "x509_subject_alternative_name"
# Names of a stranger's certificate that are told to him; it may hold thousands.
_TOLD_MAX: Final = 5


class NotAdmitted(PredictorError):
    """The caller's certificate holds none of the names that are answered."""


class Admissions:
    """Knows the names."""

    def __init__(self, names: Sequence[str]) -> None:
        """`names`: a caller's certificate must hold one of them; none: nobody is asked."""
        self._names = frozenset(name.encode() for name in names)

    def check(self, context: Any) -> None:  # noqa: ANN401 - gRPC's context
        """Lets a caller pass.

        Raises:
            NotAdmitted: says which names he has, and which are needed.
        """
        if not self._names:
            return
        # Not `auth_context()`, which copies the whole certificate each time (43 us here, against half a microsecond).
        shown = tuple(context.peer_identities() or ()) if context.peer_identity_key() == _NAMES else ()
        if self._names.isdisjoint(shown):
            has = ", ".join(name.decode(errors="replace")[:253] for name in shown[:_TOLD_MAX]) or "no name at all"
            wanted = ", ".join(sorted(name.decode() for name in self._names))
            raise NotAdmitted(f"your certificate holds {has}; answered are {wanted} (tls.client_names of the predictor)")
