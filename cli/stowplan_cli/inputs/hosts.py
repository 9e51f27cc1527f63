"""Devices as they are named on the command line: a descriptor file, or `host`, this machine, measured once and kept.

The descriptor of this machine lies in `$XDG_CACHE_HOME/stowplan/devices/` (`~/.cache/stowplan/devices/`), named by a fingerprint of the CPU: another CPU,
another number of cores or another runtime is measured anew.
"""
# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help starts at once

import hashlib
import os
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from stowplan_cli.terminal import progresses
from stowplan_cli.terminal.exits import Refused

if TYPE_CHECKING:
    from stowplan_fleet.devices import CpuDevice

HOST: Final = "host"
# What measuring takes on two cores; only for the progress bar.
_USUAL_SECONDS: Final = 20.0

DeviceOption = Annotated[str, typer.Option("--device", metavar="FILE|host", help="Device descriptor: a file of `stowplan device -o json`, or this machine.")]
AnyDeviceOption = Annotated[
    str, typer.Option("--device", metavar="FILE|host|GPU", help="A file of `stowplan device -o json`, this machine, or a GPU of `stowplan slices`.")
]


def device_named(name: str) -> "CpuDevice":
    """The descriptor that `--device` names; this machine's is measured where it is not known yet.

    Raises:
        Refused: the file cannot be read.
        DescriptorRefused: it is no descriptor.
        MachineBusy: another measurement holds this machine.
    """
    from stowplan_fleet.descriptors import read_device

    if name != HOST:
        path = Path(name)
        try:
            return read_device(path.read_bytes(), str(path))
        except (OSError, ValueError) as error:
            if isinstance(error, OSError):
                raise Refused(
                    f"--device {path}: cannot be read ({error.strerror}); name a file of `stowplan device -o json`, host, or a GPU that `stowplan slices` lists"
                ) from error
            raise
    known = cached_host()
    if known is not None:
        return known
    sys.stderr.write("stowplan: this machine is not measured yet; measuring it once, up to 20 s\n")
    return measure_host(None)


def measure_host(name: str | None) -> "CpuDevice":
    """Measures this machine and keeps the result.

    Raises:
        MachineBusy: another measurement holds this machine.
        MeasurementError: it cannot be measured.
    """
    from stowplan_predictor.measuring.devices import measure_device

    with progresses.waiting("measuring this machine", _USUAL_SECONDS) as say:
        device = measure_device(name, on_wait=say)
    _keep(device)
    return device


def cached_host() -> "CpuDevice | None":
    """What was measured on this very CPU before; None where nothing was, or what lies there is damaged."""
    from stowplan_fleet.descriptors import read_device
    from stowplan_fleet.errors import DescriptorRefused

    path = cache_file()
    try:
        return read_device(path.read_bytes(), str(path))
    except FileNotFoundError:
        return None
    except (OSError, DescriptorRefused) as error:
        sys.stderr.write(f"stowplan: {path} cannot be used ({error}); measuring this machine again\n")
        return None


def cache_file() -> Path:
    """Where the descriptor of this machine lies."""
    from stowplan_predictor.measuring import devices

    # An override left empty means none, as the XDG base directory specification has it.
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    model, isa = devices.parse_cpuinfo(Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    traits = (model, isa, devices.available_cores(), devices.cache_sizes(), version("onnxruntime"))
    return Path(base) / "stowplan" / "devices" / f"{hashlib.sha256(repr(traits).encode()).hexdigest()[:16]}.json"


def _keep(device: "CpuDevice") -> None:
    from stowplan_fleet.descriptors import write_device

    path = cache_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Written beside and renamed: a reader at the same moment sees the old one or the new one, never half of one.
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(write_device(device))
        Path(file.name).replace(path)
    except OSError as error:
        sys.stderr.write(f"stowplan: {path}: the descriptor cannot be kept ({error.strerror}); it will be measured again next time\n")
