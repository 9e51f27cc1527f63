"""Files of certificates: what is read, what is refused and how, when they are read again."""

import datetime as dt
import re
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from stowplan_fleet import certificates, channels
from stowplan_fleet.certificates import CertificateFiles, Renewals
from stowplan_fleet.channels import ClientIdentity, ClientTls
from stowplan_fleet.errors import CertificateRefused, SettingsRefused
from stowplan_fleet.expiries import Expiries
from support.secret_volumes import SecretVolume, chain
from support.virtual_clocks import HandClock

CA = trustme.CA()
LEAF = CA.issue_cert("predictor.test")
FAILURES = "stowplan_extender_certificate_reload_failures_total"
EXPIRATION = "stowplan_extender_certificate_expiration_timestamp_seconds"


@pytest.fixture
def volume(tmp_path: Path) -> SecretVolume:
    """A Secret whose files agree."""
    found = SecretVolume(tmp_path / "secret")
    found.put(LEAF, CA)
    return found


def files_of(volume: SecretVolume) -> CertificateFiles:
    return CertificateFiles(volume.certificate, volume.key, volume.authorities)


def test_the_earliest_end_of_a_chain_counts(tmp_path: Path) -> None:
    """A certificate is of no use once what leads to its authority has ended."""
    soon = dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(days=3)
    volume = SecretVolume(tmp_path / "secret")
    volume.write(chain(LEAF) + chain(CA.issue_cert("between.test", not_after=soon)), LEAF.private_key_pem.bytes(), CA.cert_pem.bytes())
    found = certificates.read(files_of(volume))
    assert found.own is not None
    assert found.own.ends == soon
    assert found.trusted is not None


def test_a_party_without_a_certificate_has_authorities_only(volume: SecretVolume) -> None:
    """A client may believe a server and show nothing itself."""
    found = certificates.read(CertificateFiles(authorities=volume.authorities))
    assert (found.certificate, found.key, found.own) == (b"", b"", None)


def test_a_key_of_another_certificate_is_refused(volume: SecretVolume) -> None:
    """The error names both files, and says that it may pass."""
    volume.write(chain(LEAF), CA.issue_cert("predictor.test").private_key_pem.bytes(), b"")
    with pytest.raises(
        CertificateRefused, match=f"{re.escape(volume.key)}: not the key of the certificate {re.escape(volume.certificate)}.*passes within seconds"
    ):
        certificates.read(CertificateFiles(volume.certificate, volume.key))


def test_a_file_that_cannot_be_read_is_named(volume: SecretVolume) -> None:
    """Missing, or a folder: which path, and where to look."""
    for path in ("/nowhere/ca.crt", str(volume.folder)):
        with pytest.raises(CertificateRefused, match=f"{re.escape(path)}: .*is the Secret mounted there"):
            certificates.read(CertificateFiles(authorities=path))


def test_an_encrypted_key_is_refused(volume: SecretVolume) -> None:
    """Nobody types a password into a pod."""
    key = serialization.load_pem_private_key(LEAF.private_key_pem.bytes(), None)
    locked = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret"))
    volume.write(chain(LEAF), locked, b"")
    with pytest.raises(CertificateRefused, match="the key is encrypted"):
        certificates.read(CertificateFiles(volume.certificate, volume.key))


def test_a_file_too_large_is_refused(volume: SecretVolume) -> None:
    """A mistaken path is not read into memory."""
    volume.write(b"x" * (1 << 20) + b"x", b"", b"")
    with pytest.raises(CertificateRefused, match="larger than 1048576 bytes"):
        certificates.read(CertificateFiles(authorities=volume.certificate))


HALVES = st.sampled_from([chain(LEAF), LEAF.private_key_pem.bytes(), CA.cert_pem.bytes(), b"-----BEGIN CERTIFICATE-----\n", b"-----END PRIVATE KEY-----\n"])
CONTENT = st.lists(HALVES | st.binary(max_size=80), max_size=3).map(b"".join)


@given(CONTENT, CONTENT, CONTENT, st.integers(0, 2000))
def test_whatever_files_hold_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, certificate: bytes, key: bytes, authorities: bytes, cut: int) -> None:
    """No content ends in another error than the refusal that names a file."""
    volume = SecretVolume(tmp_path_factory.mktemp("any") / "secret")
    volume.write(certificate[:cut], key[:cut], authorities)
    refusal = ""
    try:
        found = certificates.read(files_of(volume))
    except CertificateRefused as error:
        refusal = str(error)
    assert refusal.startswith(str(volume.folder)) or (found.own is not None and found.trusted is not None)


def test_renewals_tell_what_is_in_use(volume: SecretVolume) -> None:
    """A change is read, what cannot be used is counted and changes nothing, and the gauge follows what is in use."""
    registry = CollectorRegistry()
    expiries = Expiries("extender", registry)
    assert registry.get_sample_value(EXPIRATION, {"certificate": "own"}) is None
    renewals = Renewals(files_of(volume), expiries)
    assert not renewals.look()
    first = renewals.current

    volume.write(b"", b"", b"")
    assert not renewals.look()
    assert renewals.current == first
    assert registry.get_sample_value(FAILURES) == 1

    ends = dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(days=30)
    volume.put(CA.issue_cert("predictor.test", not_before=ends - dt.timedelta(days=90), not_after=ends), CA)
    assert renewals.look()
    assert registry.get_sample_value("stowplan_extender_certificate_lifetime_seconds", {"certificate": "own"}) == 90 * 86400
    assert registry.get_sample_value(EXPIRATION, {"certificate": "own"}) == ends.timestamp()


def test_a_client_looks_every_few_seconds(volume: SecretVolume) -> None:
    """Not at each call: files are read again after five seconds at the earliest."""
    clock = HandClock()
    identity = ClientIdentity(volume.client(), clock=clock)
    volume.put(CA.issue_cert("another.test"), CA)
    clock.now += 4.9
    identity.look()
    assert identity.version == 0
    clock.now += 0.2
    identity.look()
    identity.look()
    assert identity.version == 1


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"certificate_file": "a"}, "belong together"),
        ({"ca_file": "a", "key_file": "b"}, "belong together"),
        ({"certificate_file": "a", "key_file": "b"}, "ca_file is empty"),
        ({"server_name": "a"}, "ca_file is empty"),
    ],
)
def test_half_a_configuration_is_refused(fields: dict[str, str], complaint: str) -> None:
    """Nobody is left in the clear by a setting that was forgotten."""
    with pytest.raises(SettingsRefused, match=complaint):
        ClientTls(**fields)


def test_without_settings_there_is_no_tls() -> None:
    """At a desk nothing has to be set."""
    assert channels.identity(ClientTls()) is None
