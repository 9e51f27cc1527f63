"""Networks made ready to run: as they are (eager), or compiled by inductor with its provenance written down.

The provenance comes through torch's structured trace (the logger `torch.__trace`, which `tlparse` reads), not out of the compiler's memory.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Final

import torch

from stowplan_predictor.errors import DatasetRefused, RuntimeRefused
from stowplan_predictor.training.cuda.plans import INDUCTOR
from stowplan_predictor.training.cuda.provenances import GRAPH_ARTIFACT, MAPPING_ARTIFACT, GraphTruth, graph_truth

_TRACE: Final = logging.getLogger("torch.__trace")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A network that runs."""

    run: Callable[[], Any]
    """One inference on inputs that lie on the device already."""
    graphs: tuple[GraphTruth, ...] = ()
    """In the order in which they run; empty for eager, or where provenance was not asked for."""
    compile_s: float | None = None


class _Artifacts(logging.Handler):
    """Keeps the compiler's artifacts of the two kinds that tell fusion."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.found: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Looks at one record of the structured trace."""
        metadata, payload = getattr(record, "metadata", {}), getattr(record, "payload", None)
        name = metadata.get("artifact", {}).get("name") if isinstance(metadata, dict) else None
        if name in {GRAPH_ARTIFACT, MAPPING_ARTIFACT} and payload is not None:
            self.found.append((name, payload))

    def truths(self) -> tuple[GraphTruth, ...]:
        """One a compiled graph.

        Raises:
            RuntimeRefused: this torch writes no such artifacts, or others than these.
        """
        graphs = [payload for name, payload in self.found if name == GRAPH_ARTIFACT]
        mappings = [json.loads(payload) for name, payload in self.found if name == MAPPING_ARTIFACT]
        if not mappings or len(graphs) != len(mappings):
            raise RuntimeRefused(f"torch {torch.__version__} wrote {len(graphs)} graphs and {len(mappings)} mappings of kernels; fusion cannot be told")
        try:
            return tuple(graph_truth(graph, mapping) for graph, mapping in zip(graphs, mappings, strict=True))
        except DatasetRefused as error:
            raise RuntimeRefused(str(error)) from error


def prepare(module: Any, inputs: tuple[Any, ...], runtime: str, device: str, *, provenance: bool) -> Prepared:  # noqa: ANN401 - torch
    """Moves a network to a device and makes it run once.

    Raises:
        RuntimeRefused: it does not run there, or does not compile.
    """
    try:
        placed = module.to(device)
        given = tuple(item.to(device) for item in inputs)
        if runtime != INDUCTOR:
            _once(placed, given)
            return Prepared(lambda: _once(placed, given))
        return _compiled(placed, given, provenance=provenance)
    except RuntimeRefused:
        raise
    except Exception as error:
        raise RuntimeRefused(f"{runtime}: {type(error).__name__}: {str(error)[:300]}") from error


def _once(module: Any, given: tuple[Any, ...]) -> Any:  # noqa: ANN401 - torch
    with torch.inference_mode():
        return module(*given)


def _compiled(module: Any, given: tuple[Any, ...], *, provenance: bool) -> Prepared:  # noqa: ANN401 - torch
    torch.compiler.reset()
    artifacts, began = _Artifacts(), time.monotonic()
    compiled = torch.compile(module, dynamic=False)
    with _told(artifacts) if provenance else nullcontext():
        _once(compiled, given)
    took_s = time.monotonic() - began
    return Prepared(lambda: _once(compiled, given), artifacts.truths() if provenance else (), took_s)


@contextmanager
def _told(artifacts: _Artifacts) -> Iterator[None]:
    """While this lasts the compiler tells where its kernels come from; its caches are off, since what comes from a cache is told by nobody."""
    import torch._inductor.config as inductor  # noqa: PLC0415 - no attribute of torch before it is imported

    level = _TRACE.level
    with inductor.patch({"trace.provenance_tracking_level": 1, "force_disable_caches": True}):
        _TRACE.addHandler(artifacts)
        _TRACE.setLevel(logging.DEBUG)
        try:
            yield
        finally:
            _TRACE.removeHandler(artifacts)
            _TRACE.setLevel(level)
