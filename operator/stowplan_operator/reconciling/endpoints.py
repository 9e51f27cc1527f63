"""Endpoints: every predictor behind the names we were given. A headless Service's name has an address for each, and each remembers graphs for itself."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Final

from stowplan_fleet.answers import Answer
from stowplan_fleet.channels import ClientIdentity
from stowplan_fleet.clients import GrpcPredictor
from stowplan_fleet.devices import Device
from stowplan_fleet.predictors import GraphSummary
from stowplan_fleet.questions import Question
from stowplan_fleet.slices import DeviceName

logger = logging.getLogger(__name__)
_DNS: Final = "dns:///"
# Longer than a look, shorter than the 30 s in which a service is looked at again.
_FRESH_S: Final = 5.0

# Addresses (`host:port`) behind a name and a port; raises OSError where there are none.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


async def resolve(name: str, port: int) -> Sequence[str]:
    """By the system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return sorted({f"[{address[0]}]:{port}" if family is socket.AF_INET6 else f"{address[0]}:{port}" for family, _, _, _, address in found})


class Endpoints:
    """Implements `predictors.Predictors`: models go to every endpoint, questions to one that answers. An async context manager."""

    def __init__(self, targets: Sequence[str], timeout_s: float, resolver: Resolve = resolve, identity: ClientIdentity | None = None) -> None:
        """Resolves nothing yet.

        Args:
            targets: `host:port`, or `dns:///name:port` for all that a name leads to.
            timeout_s: deadline of a call.
            resolver: of names.
            identity: who we are, and whom we trust; None for no TLS. The certificate of an address must hold the name that led there.
        """
        self._targets, self._timeout_s, self._resolve, self._identity = tuple(targets), timeout_s, resolver, identity
        self._known: dict[str, tuple[str, ...]] = {}
        self._client: GrpcPredictor | None = None
        self._addresses: tuple[str, ...] = ()
        self._retiring: set[asyncio.Task[None]] = set()
        self._looked_s = float("-inf")
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> "Endpoints":
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)
        if self._client is not None:
            await self._client.close()

    async def analyze(self, onnx_model: bytes, input_shapes: Mapping[str, tuple[int, ...]]) -> GraphSummary:
        """As `predictors.Predictor`; pushed to every endpoint."""
        return await (await self._current()).analyze(onnx_model, input_shapes)

    async def predict(self, questions: Sequence[Question], devices: Mapping[DeviceName, Device], runtime: str) -> Sequence[Answer]:
        """As `predictors.Predictor`."""
        return await (await self._current()).predict(questions, devices, runtime)

    async def anywhere_forgotten(self, question: Question, devices: Mapping[DeviceName, Device], runtime: str) -> bool:
        """As `predictors.Predictors`; a single endpoint is not asked twice, because its own answer tells."""
        client = await self._current()
        return len(self._addresses) > 1 and await client.anywhere_forgotten(question, devices, runtime)

    async def _current(self) -> GrpcPredictor:
        async with self._lock:
            now_s = asyncio.get_running_loop().time()
            if self._client is not None and now_s - self._looked_s < _FRESH_S:
                return self._client
            self._looked_s = now_s
            names = {address: _name_of(target) for target in self._targets for address in await self._addresses_of(target)}
            addresses = tuple(names)
            if self._client is None or addresses != self._addresses:
                logger.info("predictors", extra={"endpoints": addresses})
                former, self._client, self._addresses = self._client, GrpcPredictor(addresses, self._timeout_s, self._identity, names), addresses
                if former is not None:
                    task = asyncio.create_task(self._retire(former))
                    self._retiring.add(task)
                    task.add_done_callback(self._retiring.discard)
            return self._client

    async def _retire(self, former: GrpcPredictor) -> None:
        """Closes a client once whoever asks there now has been answered, or given up."""
        try:
            await asyncio.sleep(self._timeout_s)
        finally:
            await former.close()

    async def _addresses_of(self, target: str) -> tuple[str, ...]:
        name, separator, port = target.removeprefix(_DNS).rpartition(":")
        if not target.startswith(_DNS) or not separator or not port.isdigit():
            return (target,)
        try:
            found = tuple(await self._resolve(name, int(port)))
        except OSError as error:
            logger.warning("the predictors' name leads nowhere; the addresses known before are kept", extra={"target": target, "error": str(error)})
            found = ()
        # gRPC's own resolver stands in where nothing was ever found: it says so at the first call.
        self._known[target] = found or self._known.get(target) or (target,)
        return self._known[target]


def _name_of(target: str) -> str:
    """What a certificate of this target must hold; empty: what gRPC reads from it."""
    return target.removeprefix(_DNS).rpartition(":")[0] if target.startswith(_DNS) else ""
