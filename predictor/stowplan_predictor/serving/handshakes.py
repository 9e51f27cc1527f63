"""Handshakes: the server's side of TLS, with the certificate that its files hold at that moment."""

import asyncio
import logging
from threading import Lock

import grpc
from stowplan_fleet.certificates import RENEWAL_S, CertificateFiles, Certificates, Renewals
from stowplan_fleet.expiries import Expiries

from stowplan_predictor.serving.settings import Tls

logger = logging.getLogger(__name__)


class Handshakes:
    """Credentials of a server that outlive its certificates: gRPC asks at each handshake whether there are new ones."""

    def __init__(self, tls: Tls, expiries: Expiries) -> None:
        """Reads the files.

        Raises:
            CertificateRefused: what they hold cannot be used.
        """
        self._renewals = Renewals(CertificateFiles(tls.certificate_file, tls.key_file, tls.client_ca_file), expiries)
        self._given = self._renewals.current
        # gRPC asks from threads of its own.
        self._lock = Lock()
        self.credentials: grpc.ServerCredentials = grpc.dynamic_ssl_server_credentials(
            _configuration(self._given), self._renewed, require_client_authentication=bool(tls.client_ca_file)
        )

    async def follow(self) -> None:
        """Looks at the files every few seconds, until cancelled. Connections that are there go on with what they began with."""
        while True:
            await asyncio.sleep(RENEWAL_S)
            # A volume may hang; the event loop must not.
            await asyncio.to_thread(self._renewals.look)

    def _renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """What gRPC is to use from this handshake on; None: as before."""
        with self._lock:
            current = self._renewals.current
            if current == self._given:
                return None
            self._given = current
        return _configuration(current)


def _configuration(found: Certificates) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(found.key, found.certificate)], found.authorities or None)
