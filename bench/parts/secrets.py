"""Certificates for a predictor and its client, as the chart's Helm makes them: ECDSA on P-256, both signed by one authority."""

from pathlib import Path

import trustme
from stowplan_fleet.channels import ClientTls

NAME = "predictor.bench"
CLIENT = "client.bench"


def made(folder: Path) -> tuple[dict[str, str], ClientTls]:
    """Writes them into a folder; answers the server's environment and the client's settings."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.crt"))
    for name in ("server", "client"):
        leaf = authority.issue_cert(NAME if name == "server" else CLIENT)
        leaf.cert_chain_pems[0].write_to_path(str(folder / f"{name}.crt"))
        leaf.private_key_pem.write_to_path(str(folder / f"{name}.key"))
    files = {"CERTIFICATE_FILE": "server.crt", "KEY_FILE": "server.key", "CLIENT_CA_FILE": "ca.crt"}
    environment = {f"STOWPLAN_PREDICTOR_TLS_{field}": str(folder / file) for field, file in files.items()}
    environment["STOWPLAN_PREDICTOR_TLS_CLIENT_NAMES"] = CLIENT
    return environment, ClientTls(str(folder / "ca.crt"), str(folder / "client.crt"), str(folder / "client.key"), NAME)
