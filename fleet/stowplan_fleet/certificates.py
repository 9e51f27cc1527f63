"""Certificates of TLS as files hold them: read, held against each other, and read again when the files change.

A Secret in a volume is replaced by a swap of symbolic links. Whoever reads its files one after the other in that moment holds a new certificate with an old
key; given to a server, such a torn pair would refuse every handshake. So nothing is used that was not judged whole, and what was good last stays in use.
"""

import logging
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from stowplan_fleet.errors import CertificateRefused

logger = logging.getLogger(__name__)

# How long a change of the files may go unseen. The kubelet itself takes up to a minute and a half to bring a changed Secret into a volume.
RENEWAL_S: Final = 5.0
# Chains and bundles of authorities have some kilobytes; a mistaken path should not fill the memory.
_SIZE_MAX_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where somebody's certificate lies, and those of the authorities he trusts. Empty: has none."""

    certificate: str = ""
    key: str = ""
    authorities: str = ""


@dataclass(frozen=True, slots=True)
class Validity:
    """From when to when a certificate is good."""

    begins: datetime
    ends: datetime


@dataclass(frozen=True, slots=True)
class Certificates:
    """What the files held when they agreed with each other, as PEM; empty where there is no file."""

    certificate: bytes
    key: bytes
    authorities: bytes
    own: Validity | None
    """Of our own certificate, or of one that leads to its authority, whichever ends first; None without one."""
    trusted: Validity | None
    """Of the authority that ends last; None without any."""

    @property
    def contents(self) -> tuple[bytes, bytes, bytes]:
        """As the files held them: certificate, key, authorities."""
        return self.certificate, self.key, self.authorities


class Watcher(Protocol):
    """Who is told how reading went."""

    def read(self, certificates: Certificates) -> None:
        """These are in use from now on."""

    def refused(self) -> None:
        """What the files hold cannot be used."""


def read(files: CertificateFiles) -> Certificates:
    """Reads files that must agree with each other.

    Raises:
        CertificateRefused: says which file, what is wrong with it, and what to do.
    """
    return _judged(files, _contents(files))


def _judged(files: CertificateFiles, contents: tuple[bytes, bytes, bytes]) -> Certificates:
    certificate, key, authorities = contents
    own = None
    if files.certificate:
        chain = _chain(files.certificate, certificate)
        if _public(chain[0]) != _public_of_key(files.key, key):
            raise CertificateRefused(
                f"{files.key}: not the key of the certificate {files.certificate} ({_named(chain[0])}). While both are being replaced this passes within "
                "seconds; if it stays, put certificate and key of one pair there"
            )
        own = min(map(_validity, chain), key=lambda one: one.ends)
    trusted = _chain(files.authorities, authorities) if files.authorities else []
    return Certificates(certificate, key, authorities, own, max(map(_validity, trusted), key=lambda one: one.ends, default=None))


class Renewals:
    """Certificates that follow their files. `current` may be read from any thread; `look` belongs to one."""

    def __init__(self, files: CertificateFiles, watcher: Watcher | None = None) -> None:
        """Reads them for the first time.

        Raises:
            CertificateRefused: what they hold cannot be used, and there is nothing from before.
        """
        self._files = files
        self._watcher = watcher
        self._complaint = ""
        self.current = read(files)
        if watcher is not None:
            watcher.read(self.current)

    def look(self) -> bool:
        """Reads the files again; True where `current` changed. What cannot be used is told to log and watcher, and tried again at the next look."""
        try:
            contents = _contents(self._files)
            # Judging a key takes milliseconds where it is a large one, and is not due as long as the files are what they were.
            found = self.current if contents == self.current.contents else _judged(self._files, contents)
        except CertificateRefused as error:
            if self._watcher is not None:
                self._watcher.refused()
            if str(error) != self._complaint:
                self._complaint = str(error)
                logger.error("certificates cannot be used; those read before stay in use", extra={"error": self._complaint})  # noqa: TRY400 - the message is whole
            return False
        if self._complaint:
            logger.info("certificates can be used again")
            self._complaint = ""
        if found == self.current:
            return False
        self.current = found
        logger.info("certificates renewed", extra={"certificate": self._files.certificate, "ends": found.own and found.own.ends.isoformat()})
        if self._watcher is not None:
            self._watcher.read(found)
        return True


def _contents(files: CertificateFiles) -> tuple[bytes, bytes, bytes]:
    return _content(files.certificate), _content(files.key), _content(files.authorities)


def _content(path: str) -> bytes:
    if not path:
        return b""
    try:
        with Path(path).open("rb") as file:
            content = file.read(_SIZE_MAX_BYTES + 1)
    except OSError as error:
        raise CertificateRefused(f"{path}: {error.strerror or error}; is the Secret mounted there, and may this process read it?") from error
    if len(content) > _SIZE_MAX_BYTES:
        raise CertificateRefused(f"{path}: larger than {_SIZE_MAX_BYTES} bytes; a PEM file of certificates or of one key belongs there")
    return content


def _chain(path: str, content: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise CertificateRefused(f"{path}: no certificate in PEM form, which begins with -----BEGIN CERTIFICATE-----") from error


def _validity(certificate: x509.Certificate) -> Validity:
    return Validity(certificate.not_valid_before_utc, certificate.not_valid_after_utc)


def _public_of_key(path: str, content: bytes) -> bytes:
    try:
        key = serialization.load_pem_private_key(content, None)
    except TypeError as error:
        raise CertificateRefused(f"{path}: the key is encrypted; nobody is here to type its password: store it without one") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateRefused(f"{path}: no private key in PEM form, which begins with -----BEGIN PRIVATE KEY-----") from error
    return _encoded(key.public_key())


def _public(certificate: x509.Certificate) -> bytes:
    return _encoded(certificate.public_key())


def _encoded(public: "_PublicKey") -> bytes:
    return public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _named(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or f"serial number {certificate.serial_number:x}"


class _PublicKey(Protocol):
    def public_bytes(self, encoding: serialization.Encoding, format: serialization.PublicFormat) -> bytes: ...  # noqa: A002 - the library's name
