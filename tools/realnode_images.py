"""The images that a real node is given: ours, built without an engine, and single programs (pause, DNS, the unmodified kube-scheduler) as images of one file.

A real node reaches no registry, so whatever the chart names by default is made here and loaded under that very name; a name that we cannot make is an error.
"""

import re
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import images_builds as builds
import images_layouts as layouts
import images_recipes as recipes
import images_trees as trees
import realnode_configurations as configurations
from controlplane_binaries import Binaries
from controlplane_errors import StartFailed
from images_layouts import Image
from realnode_programs import NodePrograms

CHART: Final = Path(__file__).resolve().parent.parent / "charts" / "stowplan"
_NOBODY: Final = "65532:65532"


def write(binaries: Binaries, programs: NodePrograms, path: Path) -> None:
    """Builds all images and writes them into one archive.

    Raises:
        ImagesError: one cannot be built.
        StartFailed: the chart names an image that is none of them.
    """
    named = chart_images(binaries)
    scheduler = next((name for name in named if "/kube-scheduler:" in name), None)
    with tempfile.TemporaryDirectory() as scratch:
        built = builds.build(list(recipes.targets().values()), builds.version(), Path(scratch))
        singles = {
            configurations.PAUSE_IMAGE: programs.path("pause"),
            configurations.DNS_IMAGE: programs.path("dns"),
            scheduler: binaries.path("kube-scheduler"),
        }
        built += [of_program(name, program, Path(scratch)) for name, program in singles.items() if name]
        missing = sorted(set(named) - {image.name for image in built})
        if missing:
            raise StartFailed(f"the chart names {', '.join(missing)} by default, and no image of ours is called that")
        layouts.write(built, path)


def chart_images(binaries: Binaries) -> list[str]:
    """The images that the chart names with its default values.

    Raises:
        StartFailed: helm cannot render it.
    """
    run = subprocess.run([binaries.path("helm"), "template", "stowplan", str(CHART)], capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise StartFailed(f"helm cannot render {CHART}: {run.stderr.strip()}")
    return sorted(set(re.findall(r"^[ -]*image:[ ]+[\"']?([^\s\"']+)", run.stdout, re.MULTILINE)))


def of_program(name: str, program: Path, scratch: Path) -> Image:
    """An image of one statically linked program."""
    layer = scratch / f"{program.name}.tar"
    trees.write_layer({f"usr/local/bin/{program.name}": trees.file(program, stat.S_IRWXU | 0o055), "tmp": trees.folder(0o1777)}, layer)
    configuration = {"User": _NOBODY, "WorkingDir": "/", "Env": ["PATH=/usr/local/bin"], "Entrypoint": [f"/usr/local/bin/{program.name}"]}
    return Image(name, configuration, (layouts.layer_of(layer),))
