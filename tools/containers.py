"""Builds our container images: `python tools/containers.py build|lock`.

`build` uses docker, podman or buildah where one of them works, and else makes the same images from images/Containerfile by itself, as OCI archives in
`build/images/` (load one with `ctr -n k8s.io images import`, `podman load -i` or `docker load -i`). `lock` pins the base's Debian packages anew.
Needs Python's standard library and pip.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import images_builds as builds
import images_layouts as layouts
import images_packages as packages
import images_recipes as recipes
from images_errors import ImageBuildFailed, ImagesError

OUT: Final = packages.ROOT / "build" / "images"
# A command that works only where images can really be built, and the one that builds.
ENGINES: Final = ("docker", "podman", "buildah")
_PROBE_TIMEOUT_S: Final = 20


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; answers the exit status: 0 done, 1 failed with the reason on standard error, 2 usage."""
    parser = argparse.ArgumentParser(prog="containers.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="build images")
    build.add_argument("targets", nargs="*", metavar="TARGET", help=f"of images/Containerfile: {', '.join(recipes.targets())} (default: all)")
    build.add_argument("--engine", choices=["auto", "none", *ENGINES], default="auto", help="what builds (default: the first engine that works, else none)")
    build.add_argument("--base", help="base image for an engine, best pinned by digest")
    build.add_argument("--option", action="append", default=[], help="passed on to the engine's build, such as --option=--network=host")
    build.add_argument("--out", type=Path, default=OUT, help="folder of the archives built without an engine (default: build/images)")
    commands.add_parser("lock", help="pin the Debian packages that the archive has today")
    options = parser.parse_args(arguments)
    try:
        if options.command == "lock":
            packages.LOCK.write_text(packages.make_lock())
            return 0
        known = recipes.targets()
        unknown = sorted(set(options.targets) - known.keys())
        if unknown:
            parser.error(f"images/Containerfile has no target {', '.join(unknown)}; it has {', '.join(known)}")
        targets = [known[name] for name in options.targets or known]
        engine = working_engine() if options.engine == "auto" else options.engine
        if engine is None or engine == "none":
            if options.base or options.option:
                parser.error("--base and --option need an engine; without one the base is made of images/debian.lock")
            without_engine(targets, options.out)
        else:
            _with_engine(engine, [target.name for target in targets], options.base, options.option)
    except ImagesError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def working_engine() -> str | None:
    """The first container engine that is installed and answers; None where there is none."""
    for name in ENGINES:
        if shutil.which(name):
            try:
                run = subprocess.run([name, "info"], capture_output=True, timeout=_PROBE_TIMEOUT_S, check=False)
            except subprocess.TimeoutExpired:
                continue
            if run.returncode == 0:
                return name
    return None


def without_engine(targets: Sequence[recipes.Recipe], out: Path) -> list[layouts.Image]:
    """Builds each target into an archive in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        built = builds.build(targets, builds.version(), Path(scratch))
        for target, image in zip(targets, built, strict=True):
            layouts.write([image], out / f"{target.name}.tar")
            print(f"{image.name}  {image.size / 1e6:.0f} MB  {out / target.name}.tar")
    return built


def _with_engine(engine: str, targets: Sequence[str], base: str | None, more: Sequence[str]) -> None:
    for target in targets:
        name = f"localhost/stowplan-{target}:{builds.version()}"
        options = ["--file", str(recipes.CONTAINERFILE), "--target", target, "--tag", name, *(["--build-arg", f"BASE={base}"] if base else []), *more]
        if subprocess.run([engine, "build", *options, str(packages.ROOT)], check=False).returncode != 0:
            raise ImageBuildFailed(f"{engine} could not build {name}; what it said stands above")
        print(name)


if __name__ == "__main__":
    sys.exit(main())
