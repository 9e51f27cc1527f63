"""Our images as `make images` builds them without an engine: small, without torch, the same each time, fit to start as nobody on a read-only root."""

import contextlib
import json
import os
import signal
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

import containers
import images_builds
import images_layers
import images_recipes as recipes
import pytest
import realnode_probes as probes
from support.components import answers, serves
from support.controlplane import wait_until
from support.ports import free_port

# The first run fetches and compiles what the images hold: about two minutes on two cores.
pytestmark = [pytest.mark.controlplane, pytest.mark.timeout(900)]
LIMIT_BYTES = 400_000_000
TARGETS = ("predictor", "extender", "operator", "example-server")


def layers_of(archive: tarfile.TarFile, target: str) -> list[str]:
    """Names of the blobs of an image's layers, the lowest first."""
    index = json.load(archive.extractfile("index.json"))  # type: ignore[arg-type]
    name = f"localhost/stowplan-{target}:{images_builds.version()}"
    (manifest,) = (item["digest"] for item in index["manifests"] if item["annotations"]["io.containerd.image.name"] == name)
    return [_blob(layer["digest"]) for layer in json.load(archive.extractfile(_blob(manifest)))["layers"]]  # type: ignore[arg-type]


def _blob(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_is_small_and_holds_no_training_library(image_archive: Path, target: str) -> None:
    """Under 400 MB unpacked, without torch and its kin, with compiled modules, because a read-only root keeps none."""
    with tarfile.open(image_archive) as archive:
        blobs = layers_of(archive, target)
        size = sum(archive.getmember(blob).size for blob in blobs)
        files = []
        for blob in blobs:
            with tarfile.open(fileobj=archive.extractfile(blob)) as layer:
                files += layer.getnames()
    packages = {name.split("/")[2] for name in files if name.startswith("opt/site/") and name.count("/") >= 2}
    assert size < LIMIT_BYTES
    assert not packages & {"torch", "torchvision", "sklearn", "timm", "transformers", "pyarrow", "scipy", "pandas"}
    assert any(name.endswith(".pyc") for name in files)
    if target != "example-server":
        assert f"stowplan_{target}" in packages


def test_the_same_inputs_give_the_same_layers(image_archive: Path, tmp_path: Path) -> None:
    """Built again, wheel and compiled modules included: not a byte differs."""
    containers.without_engine([recipes.targets()["extender"]], tmp_path)
    with tarfile.open(image_archive) as first, tarfile.open(tmp_path / "extender.tar") as second:
        assert layers_of(first, "extender") == layers_of(second, "extender")


def test_compiled_dependencies_are_the_same_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer of a Python package, installed and compiled twice into empty caches, is the same."""
    digests = []
    kept = images_layers.cache_folder() / "packages"
    for turn in ("first", "second"):
        (tmp_path / turn / "images").mkdir(parents=True)
        (tmp_path / turn / "images" / "packages").symlink_to(kept)
        monkeypatch.setenv("STOWPLAN_CACHE", str(tmp_path / turn))
        digests.append(images_layers.dependencies(["prometheus-client"]).digest)
    assert digests[0] == digests[1]


@pytest.fixture
def rooted(image_archive: Path, tmp_path: Path, request: pytest.FixtureRequest) -> list[str]:
    """A command before which an image's root lies, read-only, for nobody."""
    try:
        probes.require()
    except probes.RealNodeImpossible as reason:
        pytest.skip(f"probe: {reason}")
    root = tmp_path / "root"
    root.mkdir()
    target = request.param
    with tarfile.open(image_archive) as archive:
        for layer in layers_of(archive, target):
            with tarfile.open(fileobj=archive.extractfile(layer)) as packed:
                packed.extractall(root)  # noqa: S202 -- our own image
    recipe = recipes.targets()[target]
    read_only = f"mount --bind {root} {root} && mount -o remount,ro,bind {root}"
    others = f"mount -t tmpfs -o mode=1777 tmpfs {root / 'tmp'} && mount -t proc proc {root / 'proc'} && mount --rbind /dev {root / 'dev'}"
    enter = f'{read_only} && {others} && exec chroot --userspec={recipe.user} {root} "$@"'
    return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", enter, "sh", *recipe.entrypoint]


def started(command: list[str], recipe: recipes.Recipe, more: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, env={**recipe.environment, **more}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)


@pytest.mark.parametrize("rooted", ["predictor"], indirect=True)
def test_the_predictor_starts_as_nobody_on_a_read_only_root(rooted: list[str]) -> None:
    """Its own entrypoint serves, with nothing but /tmp to write to."""
    port, metrics = free_port(), free_port()
    settings = {"STOWPLAN_PREDICTOR_GRPC_PORT": str(port), "STOWPLAN_PREDICTOR_METRICS_PORT": str(metrics)}
    process = started(rooted, recipes.targets()["predictor"], settings)
    try:
        wait_until(lambda: process.poll() is not None or serves(port), 60, "the predictor does not serve")
        assert process.poll() is None, process.communicate()[0].decode()[-2000:]
        assert answers(f"http://127.0.0.1:{metrics}/metrics")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize(("rooted", "name"), [("extender", "extender"), ("operator", "operator")], indirect=["rooted"])
def test_what_needs_a_cluster_says_so_where_there_is_none(rooted: list[str], name: str) -> None:
    """The entrypoint starts, finds no cluster, and ends with one line that says so: no module is missing and nothing had to be written."""
    process = started(rooted, recipes.targets()[name], {})
    try:
        said = process.communicate(timeout=60)[0].decode()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode not in {0, None}
    assert "Traceback" not in said
    assert "kubeconfig" in said or "cluster" in said
