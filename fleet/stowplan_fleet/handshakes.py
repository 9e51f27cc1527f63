"""Handshakes that failed, in words: gRPC tells them as one long text of its TLS library, which names neither file nor remedy."""

from collections.abc import Callable
from typing import Final

from stowplan_fleet.channels import ClientTls

# What gRPC 1.85 (BoringSSL) says, and what it means; the first that is found counts.
_MEANINGS: Final[tuple[tuple[str, Callable[[ClientTls, str], str]], ...]] = (
    ("certificate has expired", lambda tls, _: f"the predictor's certificate, or an authority of {tls.ca_file}, has expired: have it renewed"),
    ("certificate is not yet valid", lambda _, __: "the predictor's certificate is not valid yet: compare the clocks of both machines"),
    (
        "CERTIFICATE_VERIFY_FAILED",
        lambda tls, _: (
            f"the predictor's certificate is signed by none of the authorities in {tls.ca_file}: put the certificate of the one that signed it there"
        ),
    ),
    (
        "Hostname Verification Check failed",
        lambda _, name: f"the predictor's certificate does not hold the name {name}: have one issued that does, or set tls.server_name to one that it holds",
    ),
    ("WRONG_VERSION_NUMBER", lambda _, __: "the predictor speaks without TLS: give it a certificate (its settings tls.*), or leave our tls.ca_file empty"),
)
# The other side ends a handshake that it does not like without a word that gRPC would hand on.
_CLOSED: Final = "Socket closed"


def explained(details: str, tls: ClientTls | None, name: str) -> str:
    """What failed, with what to do, where the text of a failed call is about TLS; otherwise the text as it is.

    Args:
        details: of gRPC's status.
        tls: how the connection was to be made; None in the clear.
        name: what the predictor's certificate must hold.
    """
    if tls is None:
        return f"{details} (if the predictor speaks TLS, set tls.ca_file)" if _CLOSED in details else details
    meaning = next((said(tls, name) for sign, said in _MEANINGS if sign in details), "")
    if meaning:
        return f"{meaning} ({details})"
    if _CLOSED in details:
        reason = f"does not accept our certificate {tls.certificate_file}" if tls.certificate_file else "asks for a certificate (tls.certificate_file is empty)"
        return f"{details} (the predictor ends, or {reason}: its own log tells which)"
    return details
