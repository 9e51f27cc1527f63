"""The Containerfile as a real container engine builds it, with its RUN lines executed: the same images as without an engine.

Needs podman or buildah; one that runs without namespaces and overlays will do (`BUILDAH_ISOLATION=chroot STORAGE_DRIVER=vfs`).
"""

import json
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import containers
import images_builds
import images_recipes as recipes
import pytest
from support import engine_bases

# With copies instead of overlays a target takes three minutes on two cores.
pytestmark = [pytest.mark.controlplane, pytest.mark.timeout(1200)]
LIMIT_BYTES = 400_000_000
# Of the machine that builds, where a proxy of its own stands before the package index.
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An engine that works, with a base that it knows."""
    name = containers.working_engine()
    if name is None:
        pytest.skip("probe: neither docker, podman nor buildah answers `info` here")
    if name == "docker":
        pytest.skip("probe: docker takes no base out of an OCI archive; podman and buildah do")
    scratch = tmp_path_factory.mktemp("base")
    engine_bases.write(scratch / "base.tar", scratch)
    subprocess.run([name, "pull", f"oci-archive:{scratch / 'base.tar'}"], check=True, capture_output=True, timeout=300)
    return name


@pytest.fixture(params=["predictor", "extender", "operator"])
def built(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[str, Path]]:
    """A target that the engine built, as an OCI archive."""
    target: str = request.param
    options = ["--option=--pull=never", "--option=--network=host", "--option=--layers"]
    if CERTIFICATES.is_file():
        options.append(f"--option=--volume={CERTIFICATES}:{CERTIFICATES}:ro")
    assert containers.main(["build", target, "--engine", engine, "--base", engine_bases.NAME, *options]) == 0
    name, archive = f"localhost/stowplan-{target}:{images_builds.version()}", tmp_path / "image.tar"
    subprocess.run([engine, "push", name, f"oci-archive:{archive}"], check=True, capture_output=True, timeout=300)
    yield target, archive
    subprocess.run([engine, "rmi", "--force", name], check=False, capture_output=True, timeout=300)


def test_an_engine_builds_what_we_build_without_one(built: tuple[str, Path]) -> None:
    """User, entrypoint, folder, ports and environment as the Containerfile says; under 400 MB unpacked, no training library, our package in its place."""
    target, path = built
    with tarfile.open(path) as archive:

        def blob(digest: str) -> dict[str, object]:
            found: dict[str, object] = json.load(archive.extractfile(f"blobs/sha256/{digest.removeprefix('sha256:')}"))  # type: ignore[arg-type]
            return found

        index = json.load(archive.extractfile("index.json"))  # type: ignore[arg-type]
        manifest = blob(index["manifests"][0]["digest"])
        told = blob(manifest["config"]["digest"])["config"]  # type: ignore[index]
        files: dict[str, int] = {}
        for layer in manifest["layers"]:  # type: ignore[attr-defined]
            with tarfile.open(fileobj=archive.extractfile(f"blobs/sha256/{layer['digest'].removeprefix('sha256:')}")) as unpacked:
                files |= {member.name.rstrip("/"): member.size for member in unpacked}
    wanted = recipes.targets()[target].configuration()
    for key in ("User", "WorkingDir", "Entrypoint", "ExposedPorts"):
        assert told[key] == wanted[key], key  # type: ignore[index]
    assert set(wanted["Env"]) <= set(told["Env"])  # type: ignore[index]
    packages = {name.split("/")[2] for name in files if name.startswith("opt/site/") and name.count("/") >= 2}
    assert f"stowplan_{target}" in packages
    assert not packages & {"torch", "torchvision", "sklearn", "timm", "transformers", "pyarrow", "scipy", "pandas"}
    assert sum(files.values()) < LIMIT_BYTES
