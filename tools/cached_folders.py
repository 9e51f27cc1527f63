"""Folders of the cache: each made once from its pins and kept under their hash, whole or not at all, by one process at a time."""

import hashlib
import os
import platform
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import controlplane_binaries as controlplane
import images_layers


def ensure(kind: str, name: str, pins: bytes, make: Callable[[Path], None]) -> Path:
    """The folder of that kind and name for these pins and this platform; where it is not there, `make` fills a new one, which is then renamed."""
    digest = hashlib.sha256(pins).hexdigest()[:16]
    target = images_layers.cache_folder().parent / kind / f"{name}-{digest}-{sys.platform}-{platform.machine()}"
    if not target.is_dir():
        with controlplane.one_builder(target):
            if not target.is_dir():  # someone else may have made it while we waited
                for stale in target.parent.glob(f"{target.name}.building-*"):
                    shutil.rmtree(stale, ignore_errors=True)
                building = target.with_name(f"{target.name}.building-{os.getpid()}")
                building.mkdir()
                try:
                    make(building)
                except BaseException:
                    shutil.rmtree(building, ignore_errors=True)
                    raise
                building.rename(target)
    return target
