"""Trees of files as values, and the layers made of them: sorted, owned by root, dated at the epoch, so that equal trees are equal bytes."""

import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, a folder or a symbolic link."""

    mode: int
    """Type and permissions, as in `stat`."""
    content: bytes | Path = b""
    """Of a file: its bytes, or where they lie."""
    target: str = ""
    """Of a symbolic link."""


Tree = dict[str, Entry]
"""Entries by path, relative, without a leading slash."""


def file(content: bytes | Path, permissions: int = 0o644) -> Entry:
    """A file."""
    return Entry(stat.S_IFREG | permissions, content)


def folder(permissions: int = 0o755) -> Entry:
    """A folder."""
    return Entry(stat.S_IFDIR | permissions)


def link(target: str) -> Entry:
    """A symbolic link."""
    return Entry(stat.S_IFLNK | 0o777, target=target)


def read(top: Path, under: str = "") -> Tree:
    """The tree that lies in a folder, its paths put below `under`; what is neither file, folder nor link is left out."""
    found: Tree = {}
    for path in _walk(top):
        mode = path.lstat().st_mode
        name = str(PurePosixPath(under) / path.relative_to(top).as_posix())
        if stat.S_ISLNK(mode):
            found[name] = link(str(path.readlink()))
        elif stat.S_ISDIR(mode):
            found[name] = folder(stat.S_IMODE(mode))
        elif stat.S_ISREG(mode):
            found[name] = file(path, stat.S_IMODE(mode))
    return found


def write(tree: Mapping[str, Entry], top: Path) -> None:
    """Lays a tree down in a folder; owners are those of the process."""
    for name, entry in sorted(tree.items()):
        path = top / name
        if stat.S_ISDIR(entry.mode):
            path.mkdir(parents=True, exist_ok=True)
        elif stat.S_ISLNK(entry.mode):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(entry.target)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_bytes(entry))
            path.chmod(stat.S_IMODE(entry.mode))


def write_layer(tree: Mapping[str, Entry], path: Path) -> str:
    """Writes a tree as an uncompressed tar archive; answers its digest (`sha256:…`). Missing parents are added."""
    whole = {**{str(parent): folder() for name in tree for parent in PurePosixPath(name).parents if str(parent) != "."}, **tree}
    with path.open("wb") as out, tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, entry in sorted(whole.items()):
            info = tarfile.TarInfo(name)
            info.mode = stat.S_IMODE(entry.mode)
            if stat.S_ISDIR(entry.mode):
                info.type = tarfile.DIRTYPE
                archive.addfile(info)
            elif stat.S_ISLNK(entry.mode):
                info.type, info.linkname = tarfile.SYMTYPE, entry.target
                archive.addfile(info)
            else:
                content = _bytes(entry)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return digest(path)


def digest(path: Path) -> str:
    """`sha256:…` of a file."""
    with path.open("rb") as content:
        return f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}"


def _walk(top: Path) -> Iterator[Path]:
    for where, folders, files in os.walk(top):
        for name in (*folders, *files):
            yield Path(where) / name


def _bytes(entry: Entry) -> bytes:
    return entry.content.read_bytes() if isinstance(entry.content, Path) else entry.content
