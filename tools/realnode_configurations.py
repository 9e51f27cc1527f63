"""Configuration files of the node's programs, as data: containerd, its network, kubelet, kube-proxy, DNS. Each value that is not obvious says why."""

import json
from pathlib import Path
from typing import Any, Final

SERVICES_CIDR: Final = "10.0.0.0/16"
PODS_CIDR: Final = "10.244.0.0/24"
DNS_ADDRESS: Final = "10.0.0.10"
CONTAINERD_SOCKET: Final = Path("/run/containerd/containerd.sock")
PAUSE_IMAGE: Final = "localhost/stowplan-pause:1"
DNS_IMAGE: Final = "localhost/stowplan-dns:1"
# Nodes with this label are played by kwok, and no other ones.
KWOK_SELECTOR: Final = "type=kwok"
# Name on the certificate by which the API server calls the kubelet.
APISERVER_AT_KUBELET: Final = "kube-apiserver-kubelet-client"


def containerd(run_dir: Path, runc: Path, plugins: Path) -> str:
    """Containerd's configuration (TOML, version 3)."""
    cri = "plugins.'io.containerd.cri.v1"
    return f"""version = 3
root = "{run_dir}/containerd"
state = "/run/containerd"
[grpc]
  address = "{CONTAINERD_SOCKET}"
[{cri}.images']
  snapshotter = "overlayfs"
  [{cri}.images'.pinned_images]
    sandbox = "{PAUSE_IMAGE}"
[{cri}.runtime']
  # Without CAP_SYS_RESOURCE every sandbox would fail, with an error of runc's that names something else.
  restrict_oom_score_adj = true
  [{cri}.runtime'.cni]
    bin_dirs = ["{plugins}"]
    conf_dir = "{run_dir}/cni"
  [{cri}.runtime'.containerd]
    default_runtime_name = "runc"
    [{cri}.runtime'.containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [{cri}.runtime'.containerd.runtimes.runc.options]
        BinaryName = "{runc}"
        SystemdCgroup = false
"""


def network() -> dict[str, Any]:
    """A bridge for the pods (CNI); nothing is masqueraded, because nothing can leave."""
    ranges = [[{"subnet": PODS_CIDR}]]
    ipam = {"type": "host-local", "dataDir": "/run/cni-ipam", "ranges": ranges}
    bridge = {"type": "bridge", "bridge": "cni0", "isDefaultGateway": True, "ipMasq": False, "hairpinMode": True, "ipam": ipam}
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge]}


def kubelet(run_dir: Path, cgroup_root: str) -> dict[str, Any]:
    """A KubeletConfiguration."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "tlsCertFile": str(run_dir / "pki" / "kubelet.crt"),
        "tlsPrivateKeyFile": str(run_dir / "pki" / "kubelet.key"),
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True}, "x509": {"clientCAFile": str(run_dir / "pki" / "ca.crt")}},
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup_root}",
        "enforceNodeAllocatable": ["pods"],
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "clusterDNS": [DNS_ADDRESS],
        "clusterDomain": "cluster.local",
        "resolvConf": str(run_dir / "resolv.conf"),
        # The disk is the developer's: full enough for him is no reason to evict.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%", "nodefs.inodesFree": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "nodeStatusUpdateFrequency": "5s",
    }


def kube_proxy(kubeconfig: Path, node: str) -> dict[str, Any]:
    """A KubeProxyConfiguration."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "hostnameOverride": node,
        "clusterCIDR": PODS_CIDR,
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "oomScoreAdj": 0,
        # Settings of the whole machine: left alone.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def dns() -> list[dict[str, Any]]:
    """The objects of the cluster's DNS, and the API server's right to call the kubelet (logs, exec, port-forward)."""
    metadata = {"name": "dns", "namespace": "kube-system"}
    labels = {"k8s-app": "kube-dns"}
    corefile = ".:53 {\n errors\n health\n ready\n kubernetes cluster.local in-addr.arpa ip6.arpa\n cache 5\n}\n"
    container = {
        "name": "dns",
        "image": DNS_IMAGE,
        "imagePullPolicy": "Never",
        "args": ["-conf", "/etc/dns/Corefile"],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1, "timeoutSeconds": 5},
        "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"memory": "170Mi"}},
        "volumeMounts": [{"name": "corefile", "mountPath": "/etc/dns", "readOnly": True}],
    }
    pod = {
        "serviceAccountName": "dns",
        "dnsPolicy": "Default",
        "priorityClassName": "system-cluster-critical",
        "containers": [container],
        "volumes": [{"name": "corefile", "configMap": {"name": "dns"}}],
        "tolerations": [{"operator": "Exists"}],
        "nodeSelector": {"kubernetes.io/os": "linux", "stowplan.dev/real": "true"},
    }
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}
    ports = [{"name": name, "port": 53, "protocol": protocol} for name, protocol in (("dns", "UDP"), ("dns-tcp", "TCP"))]
    service = {"clusterIP": DNS_ADDRESS, "selector": labels, "ports": ports}
    rules = [
        {"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    rbac = "rbac.authorization.k8s.io"
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {"apiVersion": f"{rbac}/v1", "kind": "ClusterRole", "metadata": {"name": "dns"}, "rules": rules},
        _binding("dns", "dns", {"kind": "ServiceAccount", **metadata}),
        _binding("apiserver-at-kubelet", "system:kubelet-api-admin", {"kind": "User", "name": APISERVER_AT_KUBELET, "apiGroup": rbac}),
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"Corefile": corefile}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec},
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata | {"name": "kube-dns"}, "spec": service},
    ]


def write(path: Path, content: str | dict[str, Any]) -> Path:
    """Writes a configuration file (JSON is YAML); answers its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content, indent=1))
    return path


def _binding(name: str, role: str, subject: dict[str, str]) -> dict[str, Any]:
    group = "rbac.authorization.k8s.io"
    reference = {"apiGroup": group, "kind": "ClusterRole", "name": role}
    return {"apiVersion": f"{group}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name}, "roleRef": reference, "subjects": [subject]}
