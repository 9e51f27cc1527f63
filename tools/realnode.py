"""A real Kubernetes node on this machine, without a container engine: `python tools/realnode.py up|down|probe`.

`up` starts a control plane, containerd, kubelet, kube-proxy and DNS in namespaces of their own, loads our images, installs the chart with its defaults,
describes this machine's processor and applies examples/serving.yaml, whose server is a real ONNX Runtime; kwok plays any node with the label `type=kwok`.
`down` ends all of it. Needs root and control groups that can be written; `probe` says whether they are there.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import realnode_installs as installs
import realnode_lifecycles as lifecycles
import realnode_probes as probes
from controlplane_errors import ControlPlaneError
from images_errors import ImagesError

_RUN_DIR: Final = Path(tempfile.gettempdir()) / "stowplan-realnode"
# From the chart installed to the example's first pod ready: prediction, placement, start.
_SERVES_TIMEOUT_S: Final = 180.0


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; answers the exit status: 0 done, 1 refused or failed with the reason on standard error, 2 usage."""
    parser = argparse.ArgumentParser(prog="realnode.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start it")
    up.add_argument("--device", type=Path, help="descriptor of the node's processor; measured by `stowplan device` where not given (20 s, once)")
    up.add_argument("--bare", action="store_true", help="the node alone, without our chart")
    down = commands.add_parser("down", help="end it and remove everything of it")
    commands.add_parser("probe", help="say whether this machine can carry one")
    for command in (up, down):
        command.add_argument("--run-dir", type=Path, default=_RUN_DIR, help="folder of its files (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        match options.command:
            case "up":
                _up(options.run_dir.resolve(), options.device, bare=options.bare)
            case "down":
                left = lifecycles.down(options.run_dir.resolve())
                if left:
                    raise ControlPlaneError(f"left behind: {', '.join(left)}")
            case "probe":
                probes.require()
                print("this machine can carry a real node")
    except (ControlPlaneError, ImagesError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _up(run_dir: Path, device: Path | None, *, bare: bool) -> None:
    descriptor = None if bare else _descriptor(device)
    started = time.monotonic()
    node = lifecycles.up(run_dir, outlive=True)
    _say(f"node {lifecycles.NODE} is ready", started)
    kubectl = f"{node.cluster.binaries.path('kubectl')} --kubeconfig {node.cluster.kubeconfig()}"
    if descriptor is not None:
        installs.install_chart(node.cluster)
        _say("the chart is installed", started)
        installs.describe_device(node.cluster, descriptor)
        installs.apply_example(node.cluster)
        installs.await_service(node.cluster, _SERVES_TIMEOUT_S)
        _say(f"{installs.EXAMPLE_SERVICE} serves", started)
        print(f"{kubectl} -n {installs.EXAMPLE_NAMESPACE} port-forward service/{installs.EXAMPLE_SERVICE} 8000:80 &")
        print("curl localhost:8000/v2/models/squeezenet")
    print(f"export KUBECONFIG={node.cluster.kubeconfig()}")


def _descriptor(device: Path | None) -> dict[str, Any]:
    if device is None:
        stowplan = Path(sys.executable).with_name("stowplan")
        run = subprocess.run([stowplan, "device", "--cached", "-o", "json"], stdout=subprocess.PIPE, text=True, check=False)
        if run.returncode != 0:
            raise ControlPlaneError("`stowplan device` could not measure this machine; its reason stands above. A descriptor can be given by --device")
        text = run.stdout
    else:
        try:
            text = device.read_text()
        except OSError as error:
            raise ControlPlaneError(f"--device {device}: cannot be read ({error.strerror})") from error
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ControlPlaneError(f"the device's descriptor is no JSON ({error}): name a file of `stowplan device -o json`") from error
    if not isinstance(found, dict):
        raise ControlPlaneError("the device's descriptor is no JSON object: name a file of `stowplan device -o json`")
    return found


def _say(what: str, started: float) -> None:
    sys.stderr.write(f"{time.monotonic() - started:5.1f} s  {what}\n")


if __name__ == "__main__":
    sys.exit(main())
