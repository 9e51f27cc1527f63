"""Certificates between API server and kubelet: a fresh authority for each cluster.

Helm makes them, by functions of its templates: it is one of our programs, and the standard library cannot.
"""

import json
import subprocess
from pathlib import Path
from typing import Final

from controlplane_binaries import Binaries
from controlplane_errors import StartFailed
from realnode_configurations import APISERVER_AT_KUBELET

_DAYS: Final = 30
_TEMPLATE: Final = """\
{{ $ca := genCA "stowplan-real-node" %(days)d }}
{{ $kubelet := genSignedCert "kubelet" (list "%(address)s") (list "%(node)s") %(days)d $ca }}
{{ $apiserver := genSignedCert "%(apiserver)s" (list) (list "%(apiserver)s") %(days)d $ca }}
{{ $ofKubelet := dict "crt" $kubelet.Cert "key" $kubelet.Key }}
{{ $ofApiserver := dict "crt" $apiserver.Cert "key" $apiserver.Key }}
all: {{ dict "ca" (dict "crt" $ca.Cert) "kubelet" $ofKubelet "apiserver" $ofApiserver | toJson }}
"""


def make(binaries: Binaries, run_dir: Path, node: str, address: str) -> None:
    """Writes `ca.crt`, and certificate and key of the kubelet's server and of the API server as its client, into `run_dir/pki`.

    Raises:
        StartFailed: helm could not.
    """
    chart, pki = run_dir / "pki-chart", run_dir / "pki"
    (chart / "templates").mkdir(parents=True)
    pki.mkdir()
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: pki\nversion: 0.0.1\n")
    (chart / "templates" / "pki.yaml").write_text(_TEMPLATE % {"days": _DAYS, "address": address, "node": node, "apiserver": APISERVER_AT_KUBELET})
    run = subprocess.run([binaries.path("helm"), "template", "pki", str(chart)], capture_output=True, text=True, check=False)
    line = next((line for line in run.stdout.splitlines() if line.startswith("all: ")), None)
    if run.returncode != 0 or line is None:
        raise StartFailed(f"helm made no certificates: {run.stderr.strip() or run.stdout.strip()}")
    for owner, parts in json.loads(line.removeprefix("all: ")).items():
        for kind, content in parts.items():
            path = pki / f"{owner}.{kind}"
            path.touch(mode=0o600)
            path.write_text(content)
