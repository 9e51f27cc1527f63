"""Debian packages, pinned by name, version and hash in `images/debian.lock`: what an image without a base image is made of.

Packages are read, never installed: nothing of the machine changes, no root is needed, and their maintainer scripts do not run. Only the main archive
of Debian 12 is used: its point releases have ended, so its files stay where they are. `python tools/containers.py lock` makes the lock anew.
"""

import hashlib
import io
import lzma
import re
import stat
import tarfile
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

import images_trees as trees
from images_errors import PackagesRefused

ROOT: Final = Path(__file__).resolve().parent.parent
LOCK: Final = ROOT / "images" / "debian.lock"
# The second one keeps every version for ever, and is slow.
MIRRORS: Final = ("https://deb.debian.org/debian", "https://snapshot.debian.org/archive/debian/20261122T000000Z")
INDEX: Final = "dists/bookworm/main/binary-amd64/Packages.xz"
# By purpose: a Python to run our images, the programs of a real node that are no Go modules, Prometheus with promtool (its Go module builds for long), and
# what a base has more on which an engine runs the Containerfile (its RUN lines ask for a shell).
WANTED: Final = {
    "python": ("python3.11-minimal", "libpython3.11-stdlib", "libstdc++6", "ca-certificates", "base-files", "netbase", "tzdata"),
    "node": ("nftables", "runc"),
    "monitoring": ("prometheus",),
    "shell": ("dash", "coreutils"),
}
# Needed by maintainer scripts only, which do not run here.
_LEFT_OUT: Final = frozenset({"awk", "debconf", "dpkg", "perl-base", "tar", "init-system-helpers", "media-types", "mailcap", "lsb-base", "openssl", "adduser"})
# What browsers load from a program's own pages.
_PAGES: Final = ("libjs-", "fonts-")
# Documentation and translations; every package's copyright stays.
_UNWANTED: Final = re.compile(r"usr/share/(man|locale|info|lintian|bash-completion|i18n|doc-base|bug)(/|$)|usr/share/doc/(?!.*copyright$)|etc/(default|cron)")
_MERGED: Final = ("bin", "lib", "lib64", "sbin")
_TIMEOUT_S: Final = 60


@dataclass(frozen=True, slots=True)
class Package:
    """A pinned package."""

    purpose: str
    """Key of WANTED."""
    name: str
    version: str
    sha256: str
    path: str
    """Below a mirror."""


def locked(purpose: str) -> tuple[Package, ...]:
    """The packages of a purpose, as the lock pins them."""
    lines = [line.split() for line in LOCK.read_text().splitlines() if line and not line.startswith("#")]
    return tuple(Package(*fields) for fields in lines if fields[0] == purpose)


def fetch(package: Package, cache: Path) -> Path:
    """The package's file, from the cache or a mirror.

    Raises:
        PackagesRefused: no mirror has it, or what they have is not what is pinned.
    """
    kept = cache / f"{package.sha256}.deb"
    if kept.is_file():
        return kept
    failures = []
    for mirror in MIRRORS:
        try:
            content = _download(f"{mirror}/{package.path}")
        except OSError as error:
            failures.append(f"{mirror}: {error}")
            continue
        found = hashlib.sha256(content).hexdigest()
        if found != package.sha256:
            raise PackagesRefused(f"{mirror}/{package.path} has the hash {found}, not {package.sha256} as {LOCK.name} pins")
        cache.mkdir(parents=True, exist_ok=True)
        partial = kept.with_suffix(".partial")
        partial.write_bytes(content)
        partial.rename(kept)
        return kept
    tried = "; ".join(failures)
    raise PackagesRefused(f"{package.name} {package.version} cannot be fetched ({tried}): is there a network? `python tools/containers.py lock` pins anew")


def tree_of(packages: Iterable[Package], cache: Path) -> trees.Tree:
    """What the packages hold, together, in today's layout (everything below usr)."""
    found: trees.Tree = {name: trees.link(f"usr/{name}") for name in _MERGED}
    found |= {f"usr/{name}": trees.folder() for name in _MERGED}
    for package in packages:
        for name, entry in _contents(fetch(package, cache)):
            if _UNWANTED.match(name):
                continue
            merged = f"usr/{name}" if name.split("/", 1)[0] in _MERGED else name
            if name not in _MERGED and not (merged in found and stat.S_ISDIR(entry.mode)):
                found[merged] = entry
    return found


def make_lock() -> str:
    """The lock for what WANTED names and all it depends on, from the archive's present index."""
    index = {}
    for paragraph in lzma.decompress(_download(f"{MIRRORS[0]}/{INDEX}")).decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and not line.startswith(" "))
        if fields:
            index[fields["Package"]] = fields
    lines = ["# Made by `python tools/containers.py lock`: purpose, package, version, SHA-256, path in the archive."]
    wanted = [(purpose, name) for purpose, names in WANTED.items() for name in _closure(names, index)]
    lines += [" ".join((purpose, name, *(index[name][field] for field in ("Version", "SHA256", "Filename")))) for purpose, name in wanted]
    return "\n".join(lines) + "\n"


def _closure(wanted: Iterable[str], index: dict[str, dict[str, str]]) -> list[str]:
    seen: set[str] = set()
    waiting = list(wanted)
    while waiting:
        name = waiting.pop()
        if name in seen or name in _LEFT_OUT or name.startswith(_PAGES):
            continue
        seen.add(name)
        for field in ("Pre-Depends", "Depends"):
            # The first of alternatives; versions and architectures play no part within one release.
            plain = re.sub(r"\([^)]*\)|\[[^]]*\]|:any", "", index[name].get(field, ""))
            waiting += [found for item in plain.split(",") if (found := item.split("|")[0].strip())]
    return sorted(seen)


def _contents(package: Path) -> Iterator[tuple[str, trees.Entry]]:
    data = next((content for name, content in _members(package.read_bytes()) if name == "data.tar.xz"), None)
    if data is None:
        raise PackagesRefused(f"{package} has no data.tar.xz")
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:xz") as archive:
        for member in archive:
            name = str(PurePosixPath(member.name))
            if name == ".":
                continue
            if member.isdir():
                yield name, trees.folder(member.mode)
            elif member.issym():
                yield name, trees.link(member.linkname)
            elif member.isfile() or member.islnk():
                content = archive.extractfile(member)
                # No set-user-id bits: nothing in our images needs them.
                yield name, trees.file(content.read() if content else b"", member.mode & 0o755)


def _members(archive: bytes) -> Iterator[tuple[str, bytes]]:
    """The members of an `ar` archive, as deb(5) describes: headers of 60 bytes, contents padded to even lengths."""
    position = 8
    while position + 60 <= len(archive):
        header = archive[position : position + 60]
        size = int(header[48:58])
        yield header[:16].decode().strip().rstrip("/"), archive[position + 60 : position + 60 + size]
        position += 60 + size + size % 2


def _download(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:  # noqa: S310 -- https addresses of our own
        content: bytes = answer.read()
        return content
