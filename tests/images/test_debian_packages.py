"""Pinned Debian packages: read without being installed, refused where they are not what is pinned."""

import hashlib
import io
import lzma
import re
import tarfile
from pathlib import Path

import images_packages as packages
import images_trees as trees
import pytest
from images_errors import PackagesRefused


def packed(contents: dict[str, bytes | str], member: str = "data.tar.xz") -> bytes:
    """A Debian package (deb(5)): an `ar` archive; a text is a link's target."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, content in contents.items():
            info = tarfile.TarInfo(f"./{name}")
            info.mode = 0o6755
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    members = {"debian-binary": b"2.0\n", "control.tar.xz": b"odd", member: lzma.compress(data.getvalue())}
    whole = b"!<arch>\n"
    for name, content in members.items():
        whole += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode() + content + b"\n" * (len(content) % 2)
    return whole


def served(monkeypatch: pytest.MonkeyPatch, content: bytes) -> packages.Package:
    """A package that the mirrors serve, pinned as it is."""
    monkeypatch.setattr(packages, "_download", lambda url: content)  # noqa: ARG005
    return packages.Package("python", "it", "1", hashlib.sha256(content).hexdigest(), "pool/it.deb")


def test_a_package_becomes_a_tree_below_usr(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Programs and libraries land where a merged system has them; manuals stay out, copyrights stay in, and no set-user-id bit survives."""
    contents: dict[str, bytes | str] = {
        "bin/it": b"program",
        "lib/libit.so": "libit.so.1",
        "usr/share/man/man1/it.1.gz": b"",
        "usr/share/doc/it/changelog.gz": b"",
        "usr/share/doc/it/copyright": b"ours",
    }
    tree = packages.tree_of([served(monkeypatch, packed(contents))], tmp_path)

    assert tree["usr/bin/it"] == trees.file(b"program", 0o755)
    assert tree["usr/lib/libit.so"] == trees.link("libit.so.1")
    assert tree["bin"] == trees.link("usr/bin")
    assert [name for name in tree if "share" in name] == ["usr/share/doc/it/copyright"]


def test_a_package_is_fetched_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The second time it comes from the cache."""
    package = served(monkeypatch, packed({"etc/it": b""}))
    first = packages.fetch(package, tmp_path)
    monkeypatch.setattr(packages, "_download", pytest.fail)
    assert packages.fetch(package, tmp_path) == first


def test_what_is_not_pinned_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A mirror that serves other bytes is named, and nothing is kept."""
    package = served(monkeypatch, packed({"etc/it": b"good"}))
    monkeypatch.setattr(packages, "_download", lambda _: packed({"etc/it": b"evil"}))
    with pytest.raises(PackagesRefused, match=r"deb\.debian\.org/debian/pool/it\.deb has the hash"):
        packages.fetch(package, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_unreachable_mirrors_are_all_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With what each of them said, and what to do next."""

    def refused(_: str) -> bytes:
        raise OSError("no route")

    package = served(monkeypatch, b"")
    monkeypatch.setattr(packages, "_download", refused)
    with pytest.raises(PackagesRefused, match=r"deb\.debian\.org.*snapshot\.debian\.org.*containers\.py lock"):
        packages.fetch(package, tmp_path)


def test_an_unknown_packing_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A package without the member we read is an error and not an empty tree."""
    with pytest.raises(PackagesRefused, match=r"has no data\.tar\.xz"):
        packages.tree_of([served(monkeypatch, packed({}, member="data.tar.zst"))], tmp_path)


def test_the_lock_pins_every_wanted_package() -> None:
    """Each by version, hash and path, with all it depends on: at least the C library."""
    for purpose, wanted in packages.WANTED.items():
        pins = {package.name: package for package in packages.locked(purpose)}
        assert {*wanted, "libc6"} <= pins.keys()
        assert all(re.fullmatch("[0-9a-f]{64}", package.sha256) and package.path.startswith("pool/main/") for package in pins.values())
