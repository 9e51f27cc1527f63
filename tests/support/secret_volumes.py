"""Secrets as a kubelet mounts them: files are links into a folder behind a link, `..data`, which is swapped for another one in a single step."""

from dataclasses import dataclass
from pathlib import Path

import trustme
from stowplan_fleet.channels import ClientTls
from stowplan_predictor.serving.settings import Tls


@dataclass
class SecretVolume:
    """A mounted Secret of the type kubernetes.io/tls."""

    folder: Path
    version: int = 0
    """Counts the contents it had."""

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)

    def put(self, leaf: trustme.LeafCert, *authorities: trustme.CA) -> None:
        """Another certificate with its key, and other authorities, all at once."""
        self.write(chain(leaf), leaf.private_key_pem.bytes(), b"".join(authority.cert_pem.bytes() for authority in authorities))

    def write(self, certificate: bytes, key: bytes, authorities: bytes) -> None:
        """Whatever the Secret holds now."""
        self.version += 1
        version = f"..version-{self.version}"
        (self.folder / version).mkdir()
        for name, content in (("tls.crt", certificate), ("tls.key", key), ("ca.crt", authorities)):
            (self.folder / version / name).write_bytes(content)
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"..data/{name}")
        swapped = self.folder / "..data_tmp"
        swapped.symlink_to(version)
        swapped.rename(self.folder / "..data")

    @property
    def certificate(self) -> str:
        """Path of the certificate."""
        return str(self.folder / "tls.crt")

    @property
    def key(self) -> str:
        """Path of its key."""
        return str(self.folder / "tls.key")

    @property
    def authorities(self) -> str:
        """Path of the authorities."""
        return str(self.folder / "ca.crt")

    def server(self) -> Tls:
        """A server with that certificate, that answers clients of those authorities only."""
        return Tls(self.certificate, self.key, self.authorities)

    def client(self, server_name: str = "") -> ClientTls:
        """A client with that certificate, that believes those authorities."""
        return ClientTls(self.authorities, self.certificate, self.key, server_name)


def chain(leaf: trustme.LeafCert) -> bytes:
    """The certificate and what leads to its authority, as PEM."""
    return b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
