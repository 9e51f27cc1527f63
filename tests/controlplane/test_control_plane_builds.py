"""The cache of the control plane's programs, with a small program in Go's place: whole or absent, built once, refused by name."""

import base64
import hashlib
import io
import os
import stat
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import controlplane_binaries as binaries
import controlplane_toolchains as toolchains
import pytest
from controlplane_errors import BuildFailed, GoMissing

TOOLS = Path(binaries.__file__).parent

# Plays `go version`, `go build -o FOLDER/ tool` and `go list`: what each must leave behind, and a line in a diary for each call.
PLAYED_GO = """#!/usr/bin/env python3
import os, pathlib, sys, time
here = pathlib.Path(__file__).parent
with (here / "diary").open("a") as diary:
    diary.write(sys.argv[1] + chr(10))
if sys.argv[1] == "version":
    print("go version go{version} linux/amd64")
elif sys.argv[1] == "build":
    folder = pathlib.Path(sys.argv[sys.argv.index("-o") + 1])
    for name in {programs}:
        (folder / name).touch(mode=0o755)
        time.sleep({pause})
    sys.stderr.write("{complaint}")
    sys.exit({status})
else:
    for stage in {stages}:
        file = here / "kwok" / "kustomize" / "stage" / stage
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    print(here / "kwok")
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no Go but one that a test puts first on PATH."""
    monkeypatch.setenv("STOWPLAN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "controlplane"


def play_go(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    version: str = "1.26.8",
    programs: list[str] | None = None,
    pause: float = 0,
    complaint: str = "",
    status: int = 0,
) -> Path:
    """Puts a played `go` first on PATH; answers its diary."""
    folder.mkdir()
    names = sorted(binaries.PROGRAMS.values()) if programs is None else programs
    text = PLAYED_GO.format(version=version, programs=names, pause=pause, complaint=complaint, status=status, stages=list(binaries.STAGES))
    (folder / "go").write_text(text)
    (folder / "go").chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder / "diary"


def test_what_was_built_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second call finds everything in the cache and asks Go nothing."""
    diary = play_go(tmp_path / "go", monkeypatch)

    first = binaries.ensure()
    calls = diary.read_text()
    second = binaries.ensure()

    assert first == second
    assert first.complete
    assert calls.split() == ["version", "build", "list"]
    assert diary.read_text() == calls


def test_a_failed_build_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Go's own words are in the error, and the cache stays empty."""
    play_go(tmp_path / "go", monkeypatch, complaint="no space left on device", status=1)

    with pytest.raises(BuildFailed, match="no space left on device"):
        binaries.ensure()
    assert [item.name for item in cache.iterdir() if item.is_dir()] == []


def test_an_incomplete_build_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build that ends well and lacks a program (a tool line removed from go.mod) is no build."""
    play_go(tmp_path / "go", monkeypatch, programs=["kubectl"])

    with pytest.raises(BuildFailed, match=r"does controlplane/go\.mod still name them all"):
        binaries.ensure()


def test_a_killed_build_leaves_no_half_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """A build killed in the middle is not found by the next one, which starts anew and clears the remains away."""
    play_go(tmp_path / "slow", monkeypatch, pause=0.2)
    process = subprocess.Popen([sys.executable, str(TOOLS / "controlplane.py"), "build"], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(cache.glob("*.building-*/helm")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    remains = list(cache.glob("*.building-*"))

    assert len(remains) == 1
    assert not binaries.cached().complete

    play_go(tmp_path / "quick", monkeypatch)
    assert binaries.ensure().complete
    assert not list(cache.glob("*.building-*"))


def test_an_old_go_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Go from before toolchains could fetch each other is passed over."""
    play_go(tmp_path / "go", monkeypatch, version="1.19.8")

    assert binaries.find_go() != tmp_path / "go" / "go"


def test_without_go_and_without_a_proxy_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing installed and nothing to fetch from is one named error with the way out."""
    monkeypatch.setattr(binaries, "find_go", lambda: None)
    monkeypatch.setenv("GOPROXY", "off")

    with pytest.raises(GoMissing, match=r"install Go \(https://go.dev/dl\)"):
        binaries.ensure()


def test_a_toolchain_that_is_not_the_pinned_one_never_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a proxy sends is unpacked only where its hash is the pinned one."""

    def forged(_name: str, archive: Path) -> None:
        with zipfile.ZipFile(archive, "w") as packed:
            packed.writestr("golang.org/toolchain@x/bin/go", "#!/bin/sh\n")

    monkeypatch.setattr(toolchains, "_download", forged)

    with pytest.raises(GoMissing, match="not h1:"):
        toolchains.fetch(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_hash_is_that_of_go_sum() -> None:
    """`h1` does not depend on the archive's order or packing: sorted lines of digest and name, hashed once more."""
    forwards, backwards = io.BytesIO(), io.BytesIO()
    for buffer, names in ((forwards, "ab"), (backwards, "ba")):
        with zipfile.ZipFile(buffer, "w") as packed:
            for name in names:
                packed.writestr(name, name * 3)
    lines = "".join(f"{hashlib.sha256((name * 3).encode()).hexdigest()}  {name}\n" for name in "ab")

    for buffer in (forwards, backwards):
        with zipfile.ZipFile(buffer) as packed:
            assert toolchains.directory_hash(packed) == base64.b64encode(hashlib.sha256(lines.encode()).digest()).decode()
