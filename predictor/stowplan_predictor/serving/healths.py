"""Healths: what health checks are told, on the port of the service itself and on a plain one of their own."""

from typing import Any, Final

import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from stowplan_predictor.serving.servicers import SERVICE
from stowplan_predictor.serving.settings import Health

# A check holds the name of a service.
_REQUEST_MAX_BYTES: Final = 1 << 10


class Healths:
    """The health service (grpc.health.v1) of a server. Used within one event loop, the server's: who cannot answer here would not answer there."""

    def __init__(self, settings: Health) -> None:
        self._settings = settings
        self._servicer = health.aio.HealthServicer()
        self._server: Any = None
        self.port: int | None = None
        """Of the plain port, once it listens."""

    def join(self, server: Any) -> None:  # noqa: ANN401 - grpc has no types
        """Answers on that server too."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def start(self) -> None:
        """Listens on the plain port, if there is to be one.

        Raises:
            OSError: the address cannot be used.
        """
        if self._settings.port is None:
            return
        self._server = grpc.aio.server(options=[("grpc.max_receive_message_length", _REQUEST_MAX_BYTES), ("grpc.so_reuseport", 0)])
        self.join(self._server)
        self.port = listen(self._server, self._settings.host, self._settings.port)
        await self._server.start()

    async def say(self, *, serving: bool) -> None:
        """What is answered from now on."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in (health.OVERALL_HEALTH, SERVICE):
            await self._servicer.set(service, status)

    async def leave(self) -> None:
        """Says NOT_SERVING from now on, whatever else is said."""
        await self._servicer.enter_graceful_shutdown()

    async def stop(self) -> None:
        """Closes the plain port."""
        if self._server is not None:
            await self._server.stop(None)


def listen(server: Any, host: str, port: int, credentials: grpc.ServerCredentials | None = None) -> int:  # noqa: ANN401 - grpc has no types
    """Lets a server listen; answers the port, which is a free one where 0 was asked for.

    Raises:
        OSError: the address cannot be used.
    """
    address = f"{host}:{port}"
    try:
        bound: int = server.add_insecure_port(address) if credentials is None else server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise OSError(f"cannot listen on {address}: {error}; is another process there?") from error
    return bound
