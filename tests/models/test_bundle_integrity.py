"""Bundles: whatever differs from what the manifest says is refused."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stowplan_predictor.bundles.loading import load_bundle, shipped_bundle
from stowplan_predictor.bundles.manifests import canonical, version_of
from stowplan_predictor.bundles.writing import write_bundle
from stowplan_predictor.errors import BundleNotFound, BundleRefused
from support.synthetic_bundles import RUNTIME, synthetic_files, write_synthetic_bundle


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_synthetic_bundle(tmp_path / "bundle")


def test_what_was_written_is_what_is_loaded(folder: Path) -> None:
    """A bundle loads under its name, and its label names every byte."""
    bundle = load_bundle(folder)

    assert bundle.label == f"synthetic@{bundle.manifest.version}"
    assert bundle.manifest.runtime == RUNTIME
    assert json.loads(bundle.manifest_json)["version"] == bundle.manifest.version
    assert [device.name for device in bundle.devices] == ["synthetic"]


def test_the_same_content_is_the_same_version(folder: Path, tmp_path: Path) -> None:
    """Written twice, byte for byte the same; other numbers are another version."""
    again, other = write_synthetic_bundle(tmp_path / "again"), write_synthetic_bundle(tmp_path / "other", log_ratio=1.0)

    assert (again / "manifest.json").read_bytes() == (folder / "manifest.json").read_bytes()
    assert load_bundle(other).manifest.version != load_bundle(folder).manifest.version


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic_bundle(tmp_path_factory.mktemp("pristine") / "bundle")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_changed_byte_is_refused(pristine: Path, data: st.DataObject) -> None:
    """One byte of any file, the manifest included, set to anything else: refused."""
    path = data.draw(st.sampled_from(sorted(item for item in pristine.rglob("*") if item.is_file())))
    original = path.read_bytes()
    position = data.draw(st.integers(0, len(original) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda byte: byte != original[position]))
    path.write_bytes(original[:position] + bytes([value]) + original[position + 1 :])

    try:
        with pytest.raises(BundleRefused, match=r"bundle"):
            load_bundle(pristine)
    finally:
        path.write_bytes(original)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_a_truncated_file_is_refused(pristine: Path, cut: int) -> None:
    """A file that lost its end is refused, wherever it was cut."""
    path = sorted(item for item in pristine.rglob("*") if item.is_file())[cut % 7]
    original = path.read_bytes()
    path.write_bytes(original[: cut % len(original)])

    try:
        with pytest.raises(BundleRefused):
            load_bundle(pristine)
    finally:
        path.write_bytes(original)


@pytest.mark.parametrize("name", ["extra.txt", "kernels/extra.pickle", "kernels/light.onnx.bak"])
def test_a_file_nobody_named_is_refused(folder: Path, name: str) -> None:
    """Something more than the manifest says is refused by its name."""
    (folder / name).write_bytes(b"x")

    with pytest.raises(BundleRefused, match="not named"):
        load_bundle(folder)


def test_a_missing_file_is_refused(folder: Path) -> None:
    """Something less than the manifest says is refused by its name."""
    (folder / "networks.json").unlink()

    with pytest.raises(BundleRefused, match=r"networks.json: missing"):
        load_bundle(folder)


def test_a_link_out_of_the_directory_is_refused(folder: Path, tmp_path: Path) -> None:
    """A symbolic link is not a file of a bundle, even to the same bytes."""
    shutil.move(folder / "networks.json", tmp_path / "elsewhere")
    (folder / "networks.json").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(BundleRefused, match="plain file"):
        load_bundle(folder)


def _forged(folder: Path, **changes: object) -> None:
    """A manifest that was changed by somebody who knows how versions are made."""
    content = json.loads((folder / "manifest.json").read_bytes()) | changes
    content["version"] = version_of(content)
    (folder / "manifest.json").write_bytes(canonical(content))


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "a/../b", "./a", "a//b", "", "manifest.json", "a\\b"])
def test_paths_that_leave_the_directory_are_refused(folder: Path, path: str) -> None:
    """However well forged, a manifest cannot name a file elsewhere."""
    _forged(folder, files={path: {"sha256": "sha256:" + "0" * 64, "bytes": 0}})

    with pytest.raises(BundleRefused, match="no path inside"):
        load_bundle(folder)


@pytest.mark.parametrize("changes", [{"schema": 3}, {"name": "Not A Name"}, {"runtime": "../x"}, {"files": []}, {"provenance": 3}])
def test_manifests_of_another_kind_are_refused(folder: Path, changes: dict[str, object]) -> None:
    """Another schema, another shape, or names that are none."""
    _forged(folder, **changes)

    with pytest.raises(BundleRefused):
        load_bundle(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"version": NaN}', b"[" * 100_000])
def test_manifests_that_are_no_json_are_refused(folder: Path, content: bytes) -> None:
    """Rubbish in place of the manifest is refused by name and not by a traceback."""
    (folder / "manifest.json").write_bytes(content)

    with pytest.raises(BundleRefused, match=r"manifest.json"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("kernels/pooled.onnx", b"not onnx"),
        ("networks.json", b"{}\n"),
        ("colocation.json", b"[1]\n"),
        ("response.json", b'{"shapes": {}}\n'),
        ("devices/synthetic.json", b"{}"),
        ("kernels.json", b'{"features": ["log_flops"], "regressors": {}, "classes": {}}\n'),
    ],
)
def test_unaltered_but_useless_files_are_refused(tmp_path: Path, path: str, content: bytes) -> None:
    """A bundle that is whole by its manifest, but holds what this version cannot read, is refused when loaded and not when asked."""
    write_bundle(tmp_path / "b", name="bad", runtime=RUNTIME, files=synthetic_files() | {path: content}, models={}, provenance={}, errors={})

    with pytest.raises(BundleRefused):
        load_bundle(tmp_path / "b")


def test_no_bundle_is_not_an_altered_bundle(tmp_path: Path) -> None:
    """A directory that is not there, and a runtime nobody ships a bundle for, are named as such."""
    with pytest.raises(BundleNotFound, match="no bundle here"):
        load_bundle(tmp_path / "nowhere")
    with pytest.raises(BundleNotFound, match="no-such-runtime"):
        shipped_bundle("no-such-runtime")
