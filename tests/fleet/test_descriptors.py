"""Device descriptors as JSON."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stowplan_fleet import descriptors
from stowplan_fleet.devices import CpuDevice
from stowplan_fleet.errors import DescriptorRefused
from support import strategies

GOOD: dict[str, Any] = {
    "name": "epyc-9b14", "model": "AMD EPYC 9B14", "isa": ["avx2", "fma"], "cores": 2, "l1dBytes": 32768, "l2Bytes": 1048576, "l3Bytes": 33554432,
    "throughputs": [{"cores": 1, "flopsPerSecond": 9e10, "bandwidthBytesPerSecond": 1e10}], "dispatchMicroseconds": {"Conv": 2.5},
    "provenance": {"host": "h", "date": "2026-11-22T00:00:00Z", "versions": {"onnxruntime": "1.31"}},
}  # fmt: skip


@given(strategies.cpu_devices())
def test_a_descriptor_survives_being_written(device: CpuDevice) -> None:
    """What is written is read back, provenance and the mark of fabrication included."""
    back = descriptors.read_device(descriptors.write_device(device))

    assert back == device
    assert (back.provenance, dict(back.dispatch_us)) == (device.provenance, dict(device.dispatch_us))


def test_the_written_form_is_camel_case() -> None:
    """The JSON keys are a contract."""
    assert json.loads(descriptors.write_device(descriptors.read_device(json.dumps(GOOD).encode()))) == GOOD | {"fabricated": False}


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "misspelt key": ({"fabricatd": True}, "fabricatd"),
    "no label value": ({"name": "a b"}, "name"),
    "no cores": ({"cores": 0}, "cores"),
    "unsorted extensions": ({"isa": ["fma", "avx2"]}, "isa"),
    "no throughput": ({"throughputs": []}, "throughputs"),
    "throughput of more cores than there are": ({"throughputs": [*GOOD["throughputs"], GOOD["throughputs"][0] | {"cores": 3}]}, "throughputs"),
    "throughput in the wrong unit": ({"throughputs": [GOOD["throughputs"][0] | {"flopsPerSecond": 90}]}, r"throughputs\[0\].flopsPerSecond"),
    "bandwidth absurd": ({"throughputs": [GOOD["throughputs"][0] | {"bandwidthBytesPerSecond": 1e20}]}, r"throughputs\[0\].bandwidthBytesPerSecond"),
    "cache negative": ({"l2Bytes": -1}, "l2Bytes"),
    "dispatch negative": ({"dispatchMicroseconds": {"Conv": -1}}, r"dispatchMicroseconds\['Conv'\]"),
    "a number as text": ({"cores": "2"}, "cores"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_descriptors_are_refused_by_path(case: str) -> None:
    """The message names the place and the field."""
    change, path = BAD[case]
    with pytest.raises(DescriptorRefused, match=path) as refusal:
        descriptors.read_device(json.dumps(GOOD | change).encode(), "devices/epyc.json")

    assert "devices/epyc.json" in str(refusal.value)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b'{"cores": NaN}', b"\xff", b"[" * 100_000, b" " * (2 << 20)])
def test_what_is_no_descriptor_is_refused(data: bytes) -> None:
    """Broken, huge and deeply nested files are refused by name."""
    with pytest.raises(DescriptorRefused):
        descriptors.read_device(data)


@given(st.sampled_from(sorted(GOOD)), st.none() | st.integers() | st.floats() | st.text(max_size=4) | st.lists(st.floats(), max_size=2))
def test_any_value_of_a_field_is_read_or_refused(key: str, value: object) -> None:
    """A descriptor with any field replaced is a device or DescriptorRefused."""
    try:
        device = descriptors.read_device(json.dumps(GOOD | {key: value}).encode())
    except DescriptorRefused:
        return
    assert device.cores >= 1


def test_one_broken_key_leaves_the_others() -> None:
    """Of a ConfigMap every sound descriptor is used, every other is a problem in words, foreign keys are passed over."""
    data = {"epyc-9b14.json": json.dumps(GOOD), "broken.json": "{", "other.json": json.dumps(GOOD), "README": "hello"}
    devices, problems = descriptors.read_devices(data, "ConfigMap stow/devices")

    assert list(devices) == ["epyc-9b14"]
    assert [any(key in problem for problem in problems) for key in ("broken.json", "other.json", "README")] == [True, True, False]
