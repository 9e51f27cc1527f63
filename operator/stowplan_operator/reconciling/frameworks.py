"""Frameworks: how kopf shall behave here. It lists and watches, writes nothing, never gives up, and its lines are of our form."""

import logging
from collections.abc import Iterator
from typing import Final

import kopf
from prometheus_client import Counter
from stowplan_fleet import keys

from stowplan_operator.reconciling.events import COMPONENT

# Of kopf's own loggers; all are below this one.
LOGGER: Final = "kopf"
# As kopf's own first pauses (`NetworkingSettings.error_backoffs`), and then for ever: a process that ends because the API server has been away for a
# minute comes back no sooner than one that waits.
_PAUSES_S: Final = (1.0, 1.0, 2.0, 3.0, 5.0)
_PAUSE_MAX_S: Final = 10.0


class Patiently:
    """Pauses between attempts, without end; each iteration begins anew."""

    def __iter__(self) -> Iterator[float]:
        yield from _PAUSES_S
        while True:
            yield _PAUSE_MAX_S


def settings_of(idle_s: float) -> kopf.OperatorSettings:
    """As kopf takes them; `idle_s`: silence after which a watch is begun anew."""
    settings = kopf.OperatorSettings()
    # None of these is ever written, because no handler needs them; should one appear, it is ours and not kopf's.
    settings.persistence.finalizer = f"{keys.GROUP}/operator"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=keys.GROUP)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=keys.GROUP)
    settings.posting.enabled = False
    settings.posting.reporting_component = COMPONENT
    settings.networking.error_backoffs = Patiently()
    settings.watching.inactivity_timeout = idle_s
    # Else kopf would kill the process ten minutes after its watches broke off, though they were started anew long before; a kubelet ends what does not end.
    settings.process.ultimate_exiting_timeout = None
    return settings


class _Teller(logging.Handler):
    """Counts warnings and errors, and takes kopf's own settings out of each record: they would be printed with every line."""

    def __init__(self, troubles: Counter) -> None:
        super().__init__(logging.DEBUG)
        self._troubles = troubles

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            self._troubles.labels(record.levelname.lower()).inc()
        for name in ("settings", "k8s_skip"):
            record.__dict__.pop(name, None)
        reference = record.__dict__.pop("k8s_ref", None)
        if isinstance(reference, dict):
            fields = {"kind": "kind", "ns": "namespace", "name": "name", "uid": "uid"}
            record.__dict__["object"] = {ours: str(reference[theirs]) for ours, theirs in fields.items() if reference.get(theirs)}


def hear(troubles: Counter, level: str) -> None:
    """Counts kopf's troubles from now on, and shows its lines from a level up."""
    logger = logging.getLogger(LOGGER)
    logger.setLevel(level.upper())
    # Before the root's handler, which writes the lines.
    logger.handlers[:] = [_Teller(troubles)]
