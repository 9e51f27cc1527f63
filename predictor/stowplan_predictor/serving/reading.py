"""`python -m stowplan_predictor.serving.reading FD`: a process that reads model files for the server, one after the other.

A tenant's file meets ONNX and protocol buffers here, where a hard limit of memory holds and from where nothing but frames comes out. Whoever asks ends it
where it takes too long.
"""

import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stowplan_fleet import heaps
from stowplan_fleet.errors import GraphRefused

from stowplan_predictor import errors
from stowplan_predictor.fusion.serving import FusionSource
from stowplan_predictor.graphs.limits import Limits
from stowplan_predictor.pipelines.analyses import analysed
from stowplan_predictor.pipelines.cuts import Cuts
from stowplan_predictor.serving import frames

logger = logging.getLogger(__name__)

# Memory that the allocator may keep after a large file; beyond it the process ends, and a fresh one takes its place.
_KEPT_BYTES: Final = 192 << 20
# Below answers: a scheduler waits for those.
_NICENESS: Final = 5


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for every file: the first frame."""

    limits: Limits
    memory_bytes: int
    fusions: tuple[FusionSource, ...]
    """How graphs are cut."""


@dataclass(frozen=True, slots=True)
class Request:
    """A model file to read; the file is the frame's body."""

    input_shapes: dict[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of it; the analysis, where there is one, is the frame's body."""

    refused: str = ""
    """Name of the error's class; empty where the file was read."""
    message: str = ""
    last: bool = False
    """True where this process ends now."""
    peak_bytes: int = 0
    """Most memory this process ever held."""


REFUSALS: Final[Mapping[str, type[GraphRefused]]] = {
    kind.__name__: kind
    for kind in (
        GraphRefused,
        errors.ModelUnreadable,
        errors.ExternalDataMissing,
        errors.DimensionUnbound,
        errors.OperatorUnknown,
        errors.ShapeRefused,
        errors.GraphTooLarge,
    )
}


def _status_bytes(field: str) -> int:
    """A size of this process, as the kernel tells it. (`getrusage` counts what the parent held before this program was started, too.)"""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{field}:"))


def _answer(request: Request, model: bytearray, rules: Rules, cuts: Cuts) -> tuple[Reply, bytes]:
    try:
        found = frames.encode(analysed(memoryview(model), request.input_shapes, rules.limits, cuts=cuts))
    except GraphRefused as error:
        return Reply(refused=type(error).__name__, message=str(error)[:4096]), b""
    except MemoryError:
        return Reply(refused="GraphTooLarge", message=f"model: reading it takes more than {rules.memory_bytes} bytes of memory; it is not analysed"), b""
    except RecursionError:
        return Reply(refused="GraphTooLarge", message="model: it nests too deep; it is not analysed"), b""
    except Exception as error:
        # A fault of ours, and of this file's only: whoever sent it is told so, and the next file is read.
        logger.exception("a model file could not be read, and nobody expected why")
        message = f"model: reading it failed unexpectedly ({type(error).__name__}); this is a fault of Stowplan: report it with the file"
        return Reply(refused="ModelUnreadable", message=message), b""
    return Reply(), found


def serve(connection: socket.socket) -> None:
    """Answers frames until the connection ends."""
    rules = frames.decode(frames.receive(connection)[0], Rules)
    # What a learned fusion takes is none of a file's memory.
    cuts = Cuts(rules.fusions)
    limit = _status_bytes("VmSize") + rules.memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    heaps.settle()
    frames.send(connection, frames.encode(Reply()))
    last = False
    while not last:
        head, model = frames.receive(connection)
        reply, body = _answer(frames.decode(head, Request), model, rules, cuts)
        del model
        last = _status_bytes("VmRSS") > _KEPT_BYTES
        frames.send(connection, frames.encode(Reply(reply.refused, reply.message, last, _status_bytes("VmHWM"))), body)


def main(descriptor: int) -> int:
    """Serves whoever holds the other end of that socket."""
    # An interrupt at the terminal goes to the server, which closes the socket.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(_NICENESS)
    try:
        with socket.socket(fileno=descriptor) as connection:
            serve(connection)
    except frames.PeerGone:
        return 0
    except MemoryError:
        # Not even the file fits: whoever sent it sees the connection end.
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
