"""A base image for container engines where no registry can be asked: our own base, with the shell and the pip that the Containerfile's RUN lines ask for."""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import images_layers as layers
import images_layouts as layouts
import images_packages as packages
import images_trees as trees

NAME: Final = "localhost/stowplan-test-base:1"
_PACKAGES: Final = "usr/local/lib/python3.11/dist-packages"


def write(archive: Path, scratch: Path) -> None:
    """Writes the image as an OCI archive; what is made on the way lies in `scratch`."""
    tree = packages.tree_of(packages.locked("shell"), layers.cache_folder() / "packages")
    tree["usr/bin/sh"] = trees.link("dash")
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check"]
        subprocess.run([*pip, "--target", f"{folder}/{_PACKAGES}", "pip"], check=True)
        tree |= trees.read(Path(folder))
        trees.write_layer(tree, scratch / "shell.tar")
    configuration = {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin"]}
    layouts.write([layouts.Image(NAME, configuration, (layers.base(), layouts.layer_of(scratch / "shell.tar")))], archive)
