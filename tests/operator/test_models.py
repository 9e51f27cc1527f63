"""Models: URIs and contents that tenants write are trusted in nothing."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stowplan_fleet.manifests.configmaps import ConfigMapManifest
from stowplan_fleet.reasons import ConditionReason
from stowplan_operator.errors import ModelRejected
from stowplan_operator.models import contents, sources
from stowplan_operator.models.sources import Allowances, ConfigMapSource, RemoteSource

SOURCE = ConfigMapSource("graph", "model.onnx")
CONTENT = b"\x08\x0a\xff"
HELD = ConfigMapManifest(binary_data={"model.onnx": base64.b64encode(CONTENT).decode()})


@pytest.mark.parametrize(
    "uri",
    [
        "https://user@host/model.onnx",
        "https://[::1]/model.onnx",
        "https://host/model.onnx#part",
        "https://HOST/model.onnx",
        "s3://bucket/../other/model.onnx",
        "s3://bucket//model.onnx",
        "gs://b/model.onnx",
        "file:///etc/passwd",
        "configmap://kube-system/../secret",
        "configmap://name",
        "configmap://Name/key",
        "configmap://a/b/c",
        "configmap://a/b\n",
        "http://x/y",
        "",
    ],
)
def test_only_what_is_listed_is_a_source(uri: str) -> None:
    """Every other scheme, and every spelling that would reach elsewhere, is refused with what to write instead."""
    with pytest.raises(ModelRejected, match="configmap://NAME/KEY") as caught:
        sources.parse_uri(uri)
    assert caught.value.reason is ConditionReason.SOURCE_NOT_ALLOWED


@given(st.text(max_size=64))
def test_any_text_is_a_source_or_refused(uri: str) -> None:
    """No URI makes the parser fail in another way than by refusing it."""
    try:
        source = sources.parse_uri(uri)
    except ModelRejected:
        return
    assert uri == (f"configmap://{source.name}/{source.key}" if isinstance(source, ConfigMapSource) else str(source))


@pytest.mark.parametrize(
    "uri", ["https://169.254.169.254/latest/meta-data", "https://models.example.com:8443/a.onnx", "s3://bucket/a.onnx", "gs://bucket/a.onnx"]
)
def test_remote_places_are_off_unless_named(uri: str) -> None:
    """Nothing is fetched from a place that the administrator did not name, to the letter; the message names the value of the chart."""
    source = sources.parse_uri(uri)
    assert isinstance(source, RemoteSource)
    with pytest.raises(ModelRejected, match=r"operator\.models\.(httpsHosts|s3Buckets|gsBuckets) of the chart") as caught:
        Allowances(https_hosts=("models.example.com", "example.com"), s3_buckets=("bucket2",)).check(source)
    assert caught.value.reason is ConditionReason.SOURCE_NOT_ALLOWED
    Allowances((source.place,), (source.place,), (source.place,)).check(source)


def test_content_comes_from_either_half_of_a_configmap() -> None:
    """Kubectl puts a file that happens to be valid UTF-8 into data; both halves are read."""
    assert contents.read(SOURCE, "ns", HELD, 100) == CONTENT
    assert contents.read(SOURCE, "ns", ConfigMapManifest(data={"model.onnx": "plain"}), 100) == b"plain"


def test_pinned_digest_must_match() -> None:
    """The pinned file is read; another one is refused, and the message holds both digests."""
    digest = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
    assert contents.read(SOURCE, "ns", HELD, 100, digest) == CONTENT
    with pytest.raises(ModelRejected, match=digest) as caught:
        contents.read(SOURCE, "ns", HELD, 100, "sha256:" + "0" * 64)
    assert caught.value.reason is ConditionReason.DIGEST_MISMATCH


@pytest.mark.parametrize(
    ("held", "bytes_max", "reason", "text"),
    [
        (None, 100, ConditionReason.MODEL_NOT_FOUND, "kubectl create configmap graph"),
        (ConfigMapManifest(data={"other": ""}), 100, ConditionReason.MODEL_NOT_FOUND, "other"),
        (ConfigMapManifest(binary_data={"model.onnx": "%%%"}), 100, ConditionReason.MODEL_NOT_FOUND, "not base64"),
        (HELD, 2, ConditionReason.MODEL_REFUSED, "3 bytes"),
    ],
)
def test_what_is_wrong_with_a_model_is_said(held: ConfigMapManifest | None, bytes_max: int, reason: ConditionReason, text: str) -> None:
    """Missing, misnamed, broken and too large are told apart, each with what to do."""
    with pytest.raises(ModelRejected, match=text) as caught:
        contents.read(SOURCE, "ns", held, bytes_max)
    assert caught.value.reason is reason
