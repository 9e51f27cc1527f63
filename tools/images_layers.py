"""The layers of our images: a base of pinned Debian packages, the pinned Python packages, and our own wheel.

The first two are kept in the cache, each under the hash of what it was made from and of the code that makes it; the third is made anew every time, because
our code is what changes. Nothing here needs root, and the same inputs give the same bytes.
"""

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import images_layouts as layouts
import images_packages as packages
import images_trees as trees
from images_errors import ImageBuildFailed
from images_layouts import Layer
from images_recipes import Recipe

ROOT: Final = packages.ROOT
CONSTRAINTS: Final = ROOT / "constraints.txt"
SITE: Final = "opt/site"
# The Python of Debian 12; wheels are chosen for it, whatever Python runs this.
_PYTHON: Final = "3.11"
_PLATFORMS: Final = ("manylinux_2_34_x86_64", "manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "linux_x86_64")
# The last layers that stay, by kind: of the four images' dependencies those of three states of the tree.
_KEPT_OF_A_KIND: Final = {"base": 3, "dependencies": 12}
# A build that runs may still read what it asked for.
_IN_USE_S: Final = 3_600.0
_NOBODY: Final = "65532"
_LOADER: Final = "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"


def cache_folder() -> Path:
    """Where packages and layers are kept, outside the tree."""
    root = os.environ.get("STOWPLAN_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stowplan"
    return Path(root) / "images"


def base() -> Layer:
    """The lowest layer: a Python and what it needs; from the cache or made now."""
    pins = packages.locked("python")
    kept = _kept("base", "".join(f"{package.sha256}\n" for package in pins))
    if not kept.is_file():
        tree = packages.tree_of(pins, cache_folder() / "packages")
        with _workshop() as work:
            trees.write(tree, work)
            _compile(work, [work / "usr/lib/python3.11"], work)
            tree |= trees.read(work / "usr/lib/python3.11", "usr/lib/python3.11")
            certificates = b"".join((work / name).read_bytes() for name in sorted(tree) if re.fullmatch(r"usr/share/ca-certificates/mozilla/.*\.crt", name))
            _keep(tree | _house(certificates), kept)
    return layouts.layer_of(kept)


def dependencies(needs: Sequence[str]) -> Layer:
    """The layer of these Python packages and all they need, at the versions of constraints.txt; from the cache or made now."""
    kept = _kept("dependencies", "\n".join([*needs, CONSTRAINTS.read_text()]))
    if not kept.is_file():
        with _workshop() as work:
            _install(work / SITE, [*needs])
            _compile_site(work)
            _keep(trees.read(work), kept)
    return layouts.layer_of(kept)


def own(recipe: Recipe, wheel: Path | None, scratch: Path) -> Layer:
    """The layer of our own: the wheel, where one is given, and what the recipe copies."""
    tree: trees.Tree = {target.lstrip("/"): trees.file(ROOT / source) for source, target in recipe.copies}
    path = scratch / f"{recipe.name}.tar"
    with _workshop() as work:
        if wheel is not None:
            _install(work / SITE, ["--no-deps", str(wheel)])
            # pip notes from which file it installed; that path differs from build to build.
            for note in work.glob(f"{SITE}/*.dist-info/direct_url.json"):
                note.unlink()
            for record in work.glob(f"{SITE}/*.dist-info/RECORD"):
                record.write_text("".join(line for line in record.read_text().splitlines(keepends=True) if "direct_url.json" not in line))
            _compile_site(work)
        trees.write_layer(tree | trees.read(work), path)
    return layouts.layer_of(path)


def run(command: Sequence[str], environment: dict[str, str] | None = None) -> None:
    """Runs a program that builds.

    Raises:
        ImageBuildFailed: it ended with another status than 0.
    """
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | (environment or {}))
    if ended.returncode != 0:
        raise ImageBuildFailed(f"`{' '.join(command[1:5])} …` ended with status {ended.returncode}; its last words:\n{ended.stderr[-2000:]}")


def _house(certificates: bytes) -> trees.Tree:
    """What maintainer scripts would have made."""
    return {
        "etc/ssl/certs/ca-certificates.crt": trees.file(certificates),
        "usr/lib/ssl/cert.pem": trees.link("/etc/ssl/certs/ca-certificates.crt"),
        "etc/passwd": trees.file(f"root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:{_NOBODY}:{_NOBODY}:nonroot:/tmp:/sbin/nologin\n".encode()),
        "etc/group": trees.file(f"root:x:0:\nnonroot:x:{_NOBODY}:\n".encode()),
        "etc/nsswitch.conf": trees.file(b"hosts: files dns\n"),
        "usr/local/bin/python": trees.link("/usr/bin/python3.11"),
        "usr/bin/python3": trees.link("python3.11"),
        "tmp": trees.folder(0o1777),
        **{name: trees.folder() for name in ("dev", "proc", "root", "run", "sys", "var/tmp")},
    }


def _install(target: Path, arguments: Sequence[str]) -> None:
    choice = [option for name in _PLATFORMS for option in ("--platform", name)]
    choice += ["--python-version", _PYTHON, "--implementation", "cp", "--only-binary", ":all:"]
    options = ["--quiet", "--no-compile", "--disable-pip-version-check", "--constraint", str(CONSTRAINTS), "--target", str(target)]
    run([sys.executable, "-m", "pip", "install", *options, *choice, *arguments])
    # Programs of the packages: their first lines name this machine's Python.
    shutil.rmtree(target / "bin", ignore_errors=True)


def _compile_site(work: Path) -> None:
    with _workshop() as base:
        trees.write(packages.tree_of(packages.locked("python"), cache_folder() / "packages"), base)
        _compile(base, [work / SITE], work)


def _compile(base: Path, folders: Sequence[Path], top: Path) -> None:
    """Compiles modules with the base's own Python: a read-only root keeps no compiled modules, and without them each start takes seconds longer."""
    loader = [str(base / _LOADER), "--library-path", str((base / _LOADER).parent), str(base / "usr/bin/python3.11")]
    options = ["-B", "-S", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "-s", str(top), "-p", "/"]
    # Some packages hold templates that are no Python; compileall names them and goes on.
    subprocess.run(
        [*loader, *options, *map(str, folders)],
        env={"PYTHONHOME": str(base / "usr"), "PYTHONHASHSEED": "0", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=False,
    )
    if not any(folders[0].rglob("*.pyc")):
        raise ImageBuildFailed(f"{' '.join(loader)} compiled nothing in {folders[0]}: does it run on this machine?")


def _kept(kind: str, made_from: str) -> Path:
    """Where a layer is kept: named by what it was made from, the builder included. One that is there counts as used now."""
    builder = b"".join(Path(module.__file__ or "").read_bytes() for module in (packages, trees)) + Path(__file__).read_bytes()
    kept = cache_folder() / f"{kind}-{hashlib.sha256(made_from.encode() + builder).hexdigest()[:16]}.tar"
    with contextlib.suppress(FileNotFoundError):
        os.utime(kept)
    return kept


def _keep(tree: trees.Tree, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    trees.write_layer(tree, partial)
    partial.rename(path)
    prune(path.parent, time.time())


def prune(cache: Path, now_s: float) -> None:
    """Lets go of layers that nobody has asked for lately, but for the last few of each kind: each change of a pin makes 200 MB anew.

    Args:
        cache: the folder of layers.
        now_s: seconds since 1970.
    """
    for kind, count in _KEPT_OF_A_KIND.items():
        dated = []
        for path in cache.glob(f"{kind}-*.tar"):
            with contextlib.suppress(FileNotFoundError):  # another build prunes, too
                dated.append((path.stat().st_mtime, path))
        for used_s, path in sorted(dated, reverse=True)[count:]:
            if now_s - used_s > _IN_USE_S:
                path.unlink(missing_ok=True)


@contextlib.contextmanager
def _workshop() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)
