"""Channels: connections to predictors with their stubs, one a target, in the clear or with TLS; with TLS, made anew when our certificates change.

gRPC's client credentials are fixed once made, and a connection goes on with those it began with. So new certificates mean new channels; whoever is being
answered on a former one is answered there.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import grpc
import grpc.aio
from stowplan.predictor.v1.predictor_pb2_grpc import PredictorServiceStub

from stowplan_fleet.certificates import RENEWAL_S, CertificateFiles, Renewals, Watcher
from stowplan_fleet.errors import SettingsRefused

# Protobuf's own bound on a message (2 GiB): what a server accepts is the server's decision.
SEND_LIMIT_BYTES: Final = 2**31 - 1
# An answer takes about 200 bytes; this holds those to 80,000 questions.
RECEIVE_LIMIT_BYTES: Final = 16 << 20

_OPTIONS: Final = (
    ("grpc.max_send_message_length", SEND_LIMIT_BYTES),
    ("grpc.max_receive_message_length", RECEIVE_LIMIT_BYTES),
    # Our one retry is ours to count.
    ("grpc.enable_retries", 0),
    # A predictor that comes back after a restart is found within a second, not within gRPC's default two minutes.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


@dataclass(frozen=True, slots=True)
class ClientTls:
    """How the predictor is known to be the predictor, and we to be ourselves."""

    ca_file: str = ""
    """PEM file of the authorities that may sign the predictor's certificate; empty: no TLS."""
    certificate_file: str = ""
    """PEM file of our own certificate and what leads to its authority; empty: we show none. Read again when it changes, as are the others."""
    key_file: str = ""
    """PEM file of its private key."""
    server_name: str = ""
    """Name that the predictor's certificate must hold; empty: the host of each target, as it is written."""

    def __post_init__(self) -> None:
        """Refuses what cannot work.

        Raises:
            SettingsRefused: says which setting is missing.
        """
        if bool(self.certificate_file) != bool(self.key_file):
            raise SettingsRefused("tls: certificate_file and key_file belong together; set both, or neither")
        if not self.ca_file and (self.certificate_file or self.server_name):
            raise SettingsRefused("tls: ca_file is empty, which means no TLS; set it, or remove certificate_file, key_file and server_name")

    @property
    def enabled(self) -> bool:
        """Whether connections are encrypted."""
        return bool(self.ca_file)


class ClientIdentity:
    """Credentials of channels, renewed with their files. One for all channels of a process; used within one event loop."""

    def __init__(self, tls: ClientTls, watcher: Watcher | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """Reads the files.

        Raises:
            CertificateRefused: one of them cannot be used.
        """
        self.tls = tls
        self.version = 0
        """Grows with each renewal."""
        self._renewals = Renewals(CertificateFiles(tls.certificate_file, tls.key_file, tls.ca_file), watcher)
        self._clock = clock
        self._looked_s = clock()

    def look(self) -> None:
        """Looks at the files, if some seconds passed since the last time."""
        now_s = self._clock()
        if now_s - self._looked_s >= RENEWAL_S:
            self._looked_s = now_s
            self.version += self._renewals.look()

    def credentials(self) -> grpc.ChannelCredentials:
        """For a new channel."""
        found = self._renewals.current
        return grpc.ssl_channel_credentials(found.authorities, found.key or None, found.certificate or None)


def identity(tls: ClientTls, watcher: Watcher | None = None) -> ClientIdentity | None:
    """None where the settings ask for no TLS.

    Raises:
        CertificateRefused: a file cannot be used.
    """
    return ClientIdentity(tls, watcher) if tls.enabled else None


class Channels:
    """One channel a target, made at the first use. Used within one event loop."""

    def __init__(self, identity: ClientIdentity | None, server_names: Mapping[str, str], deadline_s: float) -> None:
        """Connects to nobody yet.

        Args:
            identity: None for no TLS.
            server_names: what the certificate of a target must hold, where that is not its host.
            deadline_s: of a call; a former channel is closed when no call on it can be under way.
        """
        self._identity, self._server_names, self._deadline_s = identity, server_names, deadline_s
        self._channels: dict[str, tuple[grpc.aio.Channel, PredictorServiceStub]] = {}
        self._version = identity.version if identity else 0
        self._retiring: set[asyncio.Task[None]] = set()

    def to(self, target: str) -> PredictorServiceStub:
        """Calls a target on its channel, which was made with our certificates as they are now."""
        if self._identity is not None:
            self._identity.look()
            if self._identity.version != self._version:
                self._version = self._identity.version
                self._retire()
        found = self._channels.get(target)
        if found is None:
            channel = self._made(target)
            # Kept with its channel: making one takes longer than a call of a remembered answer should.
            found = self._channels[target] = channel, PredictorServiceStub(channel)
        return found[1]

    def expected_name(self, target: str) -> str:
        """What the certificate of a target must hold, as far as we know it."""
        return self._asked_name(target) or target.rpartition("/")[2].rpartition(":")[0]

    async def close(self) -> None:
        """Closes all of them, those that retire too."""
        channels, self._channels = self._channels, {}
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)
        for channel, _ in channels.values():
            await channel.close()

    def _asked_name(self, target: str) -> str:
        return (self._identity.tls.server_name if self._identity else "") or self._server_names.get(target, "")

    def _made(self, target: str) -> grpc.aio.Channel:
        if self._identity is None:
            return grpc.aio.insecure_channel(target, options=_OPTIONS)
        name = self._asked_name(target)
        options = (*_OPTIONS, ("grpc.ssl_target_name_override", name)) if name else _OPTIONS
        return grpc.aio.secure_channel(target, self._identity.credentials(), options=options)

    def _retire(self) -> None:
        channels, self._channels = self._channels, {}
        for channel, _ in channels.values():
            task = asyncio.create_task(self._close_later(channel))
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    async def _close_later(self, channel: grpc.aio.Channel) -> None:
        try:
            await asyncio.sleep(self._deadline_s)
        finally:
            await channel.close()
