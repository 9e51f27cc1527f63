"""Our images without a container engine: from the Containerfile's targets to images, with one wheel for all of them."""

import platform
import re
import sys
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path

import images_layers as layers
import images_recipes as recipes
from images_errors import ImageBuildFailed
from images_layouts import Image
from images_recipes import Recipe


def build(targets: Sequence[Recipe], tag: str, scratch: Path) -> list[Image]:
    """Builds images; what is not kept in the cache lies in `scratch`.

    Raises:
        PackagesRefused: a Debian package cannot be had.
        ImageBuildFailed: pip failed, or this is another platform.
    """
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        here = f"{sys.platform}-{platform.machine()}"
        raise ImageBuildFailed(f"without a container engine images are built on linux-x86_64 only, and this is {here}: use docker or podman")
    wheel = _wheel(scratch)
    base = layers.base()
    built = []
    for recipe in targets:
        wanted = recipes.requirement_of(recipe)
        extra = wanted.strip("[]") if wanted.startswith("[") else None
        needs = requirements(wheel, extra) if extra else (layers.ROOT / wanted).read_text().split()
        whole = (base, layers.dependencies(needs), layers.own(recipe, wheel if extra else None, scratch))
        built.append(Image(f"localhost/stowplan-{recipe.name}:{tag}", recipe.configuration(), whole))
    return built


def version() -> str:
    """Version of the project: the tag of its images, and the chart's `appVersion`."""
    return str(tomllib.loads((layers.ROOT / "pyproject.toml").read_text())["project"]["version"])


def requirements(wheel: Path, extra: str) -> list[str]:
    """What a wheel requires for one extra, its own extras left out, as its METADATA says (PEP 566)."""
    with zipfile.ZipFile(wheel) as packed:
        name = next(item for item in packed.namelist() if item.endswith(".dist-info/METADATA"))
        lines = packed.read(name).decode().split("\n\n", 1)[0].splitlines()
    found = []
    for line in lines:
        match = re.fullmatch(r"Requires-Dist: ([^;]+?)(?:; extra == ['\"]([a-z]+)['\"])?", line)
        if match and match[2] in (None, extra):
            found.append(match[1].strip())
    return sorted(found)


def _wheel(scratch: Path) -> Path:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(scratch), str(layers.ROOT)]
    layers.run(command, {"PIP_CONSTRAINT": str(layers.CONSTRAINTS)})
    (wheel,) = scratch.glob("*.whl")
    return wheel
