"""A Go toolchain for a machine that has none, from the Go module proxy: where Go itself fetches newer toolchains from.

What arrives is compared with a pinned hash before anything of it runs: the `h1:` hash of go.sum files (golang.org/x/mod/sumdb/dirhash), which
does not depend on how the archive was packed. An unknown platform or an unreachable proxy is a named error.
"""

import base64
import hashlib
import os
import platform
import shutil
import sys
import urllib.request
import zipfile
from pathlib import Path
from typing import Final

from controlplane_errors import GoMissing

VERSION: Final = "v0.0.1-go1.26.8"
# By GOOS-GOARCH; computed from what proxy.golang.org served on 2026-11-22.
HASHES: Final = {
    "linux-amd64": "ZOmGe1OnfREDMIdb1Qi4G9JSuDPBLGExZMQ4nis1RXM=",
    "linux-arm64": "sYL/O6MqS68ML0kjsQ36WoYIpJqkw60TxizWUYUKQMc=",
}
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
_DEFAULT_PROXY: Final = "https://proxy.golang.org"
# 70 MB; a slow line may take minutes, a dead one must not hang.
_TIMEOUT_S: Final = 60


def fetch(cache: Path) -> Path:
    """The `go` program of the pinned toolchain, fetched into the cache where it is not there yet.

    Raises:
        GoMissing: no toolchain is pinned for this platform, no proxy answers, or what it sent is not what was pinned.
    """
    target = f"{sys.platform}-{_ARCHITECTURES.get(platform.machine(), platform.machine())}"
    if target not in HASHES:
        raise GoMissing(f"no Go is installed, and none is pinned for {target}: install Go (https://go.dev/dl) and run `make controlplane` again")
    name = f"{VERSION}.{target}"
    home = cache / f"go-{name}"
    if not (home / "bin" / "go").is_file():
        _install(name, HASHES[target], home)
    return home / "bin" / "go"


def _install(name: str, pinned: str, home: Path) -> None:
    fetching = home.with_name(f"{home.name}.fetching-{os.getpid()}")
    fetching.mkdir(parents=True, exist_ok=True)
    try:
        archive = fetching / "toolchain.zip"
        _download(name, archive)
        with zipfile.ZipFile(archive) as packed:
            found = directory_hash(packed)
            if found != pinned:
                raise GoMissing(f"the Go toolchain {name} has the hash h1:{found}, not h1:{pinned} as pinned: install Go (https://go.dev/dl) instead")
            packed.extractall(fetching)
        unpacked = fetching / f"golang.org/toolchain@{name}"
        for program in (*unpacked.glob("bin/*"), *unpacked.glob("pkg/tool/**/*")):
            program.chmod(0o755)  # module archives carry no modes
        shutil.rmtree(home, ignore_errors=True)
        unpacked.rename(home)
    finally:
        shutil.rmtree(fetching, ignore_errors=True)


def _download(name: str, archive: Path) -> None:
    # GOPROXY is a list; `direct` and `off` are no addresses (https://go.dev/ref/mod#environment-variables).
    proxies = [entry for entry in os.environ.get("GOPROXY", _DEFAULT_PROXY).replace("|", ",").split(",") if entry.startswith("https://")]
    failures = ["GOPROXY names no https address"] if not proxies else []
    for proxy in proxies:
        url = f"{proxy.rstrip('/')}/golang.org/toolchain/@v/{name}.zip"
        sys.stderr.write(f"no Go is installed: fetching {url} (70 MB)\n")
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer, archive.open("wb") as file:  # noqa: S310 -- https only, see above
                shutil.copyfileobj(answer, file)
        except OSError as error:
            failures.append(f"{url}: {error}")
        else:
            return
    raise GoMissing(f"no Go is installed, and the toolchain could not be fetched ({'; '.join(failures)}): install Go (https://go.dev/dl) and try again")


def directory_hash(packed: zipfile.ZipFile) -> str:
    """Go's `h1` hash of an archive: SHA-256 over the sorted lines `<sha256 of a file>  <its name>`, in base64."""
    lines = "".join(f"{hashlib.sha256(packed.read(name)).hexdigest()}  {name}\n" for name in sorted(packed.namelist()))
    return base64.b64encode(hashlib.sha256(lines.encode()).digest()).decode()
