"""Layers and archives: equal for equal trees, readable by anyone who reads tar and OCI layouts."""

import hashlib
import json
import os
import stat
import tarfile
from pathlib import Path

import images_layers as layers
import images_layouts as layouts
import images_trees as trees
from hypothesis import given
from hypothesis import strategies as st

NAMES = st.lists(st.text("abc.-_", min_size=1, max_size=120).filter(lambda name: name not in {".", ".."}), min_size=1, max_size=3).map("/".join)
# Only leaves: a file cannot lie below a file.
TREES = st.dictionaries(NAMES, st.binary(max_size=50), max_size=8).map(
    lambda found: {name: content for name, content in found.items() if not any(other.startswith(f"{name}/") for other in found)}
)


@given(TREES)
def test_a_layer_holds_the_tree_and_nothing_of_the_machine(tmp_path_factory: object, contents: dict[str, bytes]) -> None:
    """Every file with its bytes, parents before children, in order; owned by root and dated at the epoch."""
    path = tmp_path_factory.mktemp("layer") / "layer.tar"  # type: ignore[attr-defined]
    trees.write_layer({name: trees.file(content) for name, content in contents.items()}, path)
    with tarfile.open(path) as archive:
        members = archive.getmembers()
        found = {member.name: archive.extractfile(member).read() for member in members if member.isfile()}  # type: ignore[union-attr]
    assert found == contents
    assert [member.name for member in members] == sorted(member.name for member in members)
    assert {(member.uid, member.gid, member.uname, member.mtime) for member in members} <= {(0, 0, "", 0)}


def test_the_same_tree_is_the_same_digest_whenever_it_was_written(tmp_path: Path) -> None:
    """Times, owners and the order of a folder's entries leave no trace."""
    digests = []
    for turn, names in enumerate((("a", "b"), ("b", "a"))):
        top = tmp_path / str(turn)
        top.mkdir()
        for name in names:
            (top / name).write_text(name)
            os.utime(top / name, (turn, turn))
        (top / "link").symlink_to("a")
        (top / "a").chmod(0o755)
        digests.append(trees.write_layer(trees.read(top, "opt"), tmp_path / f"{turn}.tar"))
    assert digests[0] == digests[1]


def test_a_tree_laid_down_reads_back_as_itself(tmp_path: Path) -> None:
    """Files with their permissions, folders and links."""
    tree = {"bin": trees.link("usr/bin"), "usr": trees.folder(), "usr/bin": trees.folder(), "usr/bin/it": trees.file(b"#!", 0o755), "tmp": trees.folder()}
    trees.write(tree, tmp_path)
    found = trees.read(tmp_path)
    assert {name: (entry.mode, entry.target) for name, entry in found.items()} == {name: (entry.mode, entry.target) for name, entry in tree.items()}
    assert (tmp_path / "usr/bin/it").stat().st_mode & stat.S_IXUSR


def test_an_archive_is_an_oci_layout_in_which_shared_layers_lie_once(tmp_path: Path) -> None:
    """The index leads to manifests, these to configurations and layers; every blob has the digest that names it."""
    layers = []
    for name in ("base", "one", "two"):
        trees.write_layer({name: trees.file(name.encode())}, tmp_path / name)
        layers.append(layouts.layer_of(tmp_path / name))
    base, one, two = layers
    images = [layouts.Image("localhost/one:1", {"User": "1"}, (base, one)), layouts.Image("localhost/two:1", {}, (base, two))]
    layouts.write(images, tmp_path / "all.tar")
    layouts.write(images, tmp_path / "again.tar")
    with tarfile.open(tmp_path / "all.tar") as archive:
        blobs = {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]
    index = json.loads(blobs["index.json"])
    names = [item["annotations"]["io.containerd.image.name"] for item in index["manifests"]]
    manifests = [json.loads(blobs[f"blobs/sha256/{item['digest'][7:]}"]) for item in index["manifests"]]

    assert (tmp_path / "all.tar").read_bytes() == (tmp_path / "again.tar").read_bytes()
    assert names == ["localhost/one:1", "localhost/two:1"]
    assert json.loads(blobs["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    assert [layer["digest"] for manifest in manifests for layer in manifest["layers"]] == [base.digest, one.digest, base.digest, two.digest]
    configuration = json.loads(blobs[f"blobs/sha256/{manifests[0]['config']['digest'][7:]}"])
    assert configuration["rootfs"]["diff_ids"] == [base.digest, one.digest]
    assert len(configuration["history"]) == 2  # engines build on nothing whose history leaves a layer out
    assert configuration["config"] == {"User": "1"}
    # Two manifests, two configurations, three layers.
    assert sum(name.startswith("blobs/") for name in blobs) == 7
    assert all(name.endswith(hashlib.sha256(content).hexdigest()) for name, content in blobs.items() if name.startswith("blobs/"))


def test_layers_that_nobody_asks_for_are_let_go(tmp_path: Path) -> None:
    """Of each kind the last few stay, whatever their age; what was used within the hour stays as well, and other files are not touched."""
    now_s = 1_800_000_000.0
    for number in range(20):
        path = tmp_path / f"dependencies-{number:02}.tar"
        path.touch()
        os.utime(path, (now_s, now_s - (60 if number < 15 else 7_200)))
    for number in range(4):
        path = tmp_path / f"base-{number}.tar"
        path.touch()
        os.utime(path, (now_s, now_s - 10_000 - number))
    (tmp_path / "packages").mkdir()
    layers.prune(tmp_path, now_s)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["base-0.tar", "base-1.tar", "base-2.tar", *(f"dependencies-{number:02}.tar" for number in range(15)), "packages"]
