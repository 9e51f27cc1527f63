"""Clusters: the objects of a live one, read as kubectl would, or those of a snapshot in a file."""
# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help starts at once

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from stowplan_fleet import keys

from stowplan_cli.terminal.exits import Refused

if TYPE_CHECKING:
    from stowplan_operator.models.sources import ConfigMapSource

    from stowplan_cli.objects.snapshots import Snapshot

KubeconfigOption = Annotated[str, typer.Option("--kubeconfig", metavar="FILE", help="Credentials; $KUBECONFIG or ~/.kube/config where not given.")]
ContextOption = Annotated[str, typer.Option("--context", help="Context of the kubeconfig.")]
NamespaceOption = Annotated[str, typer.Option("--namespace", "-n", help="Namespace of the service; the context's own where not given.")]
FileOption = Annotated[Path | None, typer.Option("--cluster", metavar="snapshot.yaml", help="A snapshot in place of the live cluster.", show_default=False)]

# Objects a page: what the API server itself recommends for large lists.
_PAGE: Final = 500
# To connect, and then between two pieces of an answer.
_TIMEOUTS_S: Final = (5.0, 30.0)
_OK: Final = 200
_NOT_FOUND: Final = 404
_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403
_GONE: Final = 410
_SERVICES: Final = f"/apis/{keys.GROUP}/{keys.VERSION}/{keys.PLURAL}"
_LISTS: Final[Mapping[str, str]] = {"Node": "/api/v1/nodes", "Pod": "/api/v1/pods", keys.KIND: _SERVICES}


@dataclass(frozen=True, slots=True)
class Access:
    """How a cluster is reached."""

    kubeconfig: str = ""
    context: str = ""


def objects_of(access: Access) -> Iterator[dict[str, Any]]:
    """Every object of a live cluster that decisions depend on: nodes, pods, InferenceServices, ConfigMaps with descriptors or models of services.

    Raises:
        Refused: no credentials, no cluster, no right, or no InferenceService API there; says which and what to do.
    """
    client = _client(access)
    wanted: dict[tuple[str, str], set[str]] = {}
    for kind, path in _LISTS.items():
        for item in _listed(client, path, kind):
            if kind == keys.KIND:
                source = _configmap_of(item)
                if source is not None:
                    wanted.setdefault((item["metadata"].get("namespace", ""), source.name), set()).add(source.key)
            yield item
    for item in _listed(client, "/api/v1/configmaps", "ConfigMap", labelSelector=f"{keys.DESCRIPTORS_LABEL}=true"):
        yield _with_keys(item, lambda key: key.endswith(".json"))
    for (namespace, name), named in sorted(wanted.items()):
        found = _get(client, f"/api/v1/namespaces/{namespace}/configmaps/{name}", f"ConfigMap {namespace}/{name}", missing_ok=True)
        if found is not None:
            yield _with_keys({**found, "kind": "ConfigMap", "apiVersion": "v1"}, named.__contains__)


def snapshot_of(access: Access, file: Path | None) -> "Snapshot":
    """The cluster's state: of a file where one is named, else live.

    Raises:
        Refused: it cannot be read.
    """
    from stowplan_cli.objects import snapshots

    return snapshots.read_snapshot(file, None) if file else snapshots.snapshot_of(objects_of(access))


def namespace_of(access: Access) -> str:
    """The namespace of the context in use; `default` where it names none."""
    from kubernetes import config

    try:
        contexts, active = config.list_kube_config_contexts(access.kubeconfig or None)
    except (config.ConfigException, OSError):
        return "default"
    chosen = next((item for item in contexts if item["name"] == access.context), active) if access.context else active
    return str(chosen["context"].get("namespace") or "default")


def _configmap_of(item: Mapping[str, Any]) -> "ConfigMapSource | None":
    """Where a service says that its model lies, if in a ConfigMap."""
    from stowplan_operator.errors import ModelRejected
    from stowplan_operator.models import sources

    try:
        source = sources.parse_uri(str(((item.get("spec") or {}).get("model") or {}).get("uri", "")))
    except ModelRejected:
        return None
    return source if isinstance(source, sources.ConfigMapSource) else None


def _with_keys(item: dict[str, Any], wanted: Callable[[str], bool]) -> dict[str, Any]:
    """A ConfigMap with those of its keys that somebody reads; what else is in it is none of our business."""
    parts = {part: {key: text for key, text in (item.get(part) or {}).items() if wanted(key)} for part in ("data", "binaryData")}
    return {key: value for key, value in item.items() if key not in parts} | {part: content for part, content in parts.items() if content}


def _client(access: Access) -> Any:  # noqa: ANN401 - the client has no types
    from kubernetes import config

    try:
        return config.new_client_from_config(access.kubeconfig or None, access.context or None)
    except (config.ConfigException, OSError) as error:
        where = access.kubeconfig or "$KUBECONFIG or ~/.kube/config"
        raise Refused(f"no credentials for a cluster in {where}: {error}; name a file with --kubeconfig, or a snapshot with --cluster") from error


def _listed(client: Any, path: str, kind: str, **selected: str) -> Iterator[dict[str, Any]]:  # noqa: ANN401
    following = ""
    while True:
        asked = {"limit": str(_PAGE), **selected, **({"continue": following} if following else {})}
        page = _get(client, path, f"{kind}s", asked) or {}
        for item in page.get("items") or []:
            # Items of a list need not repeat their kind.
            yield {**item, "kind": kind, "apiVersion": page.get("apiVersion", "v1")}
        following = (page.get("metadata") or {}).get("continue") or ""
        if not following:
            return


def _get(client: Any, path: str, what: str, asked: Mapping[str, str] | None = None, *, missing_ok: bool = False) -> dict[str, Any] | None:  # noqa: ANN401
    from urllib3.exceptions import HTTPError, MaxRetryError, SSLError

    host = client.configuration.host
    request = client.param_serialize(
        "GET", path, query_params=list((asked or {}).items()), header_params={"Accept": "application/json"}, auth_settings=["BearerToken"]
    )
    try:
        response = client.call_api(*request, _request_timeout=_TIMEOUTS_S)
        body = response.read()
        if response.status == _OK:
            found: dict[str, Any] = json.loads(body)
            return found
    except (HTTPError, OSError, ValueError) as error:
        cause = error.reason if isinstance(error, MaxRetryError) else error
        if isinstance(cause, SSLError):
            raise Refused(f"the cluster at {host} cannot be trusted ({cause}); is certificate-authority of the kubeconfig that of this cluster?") from error
        raise Refused(f"the cluster at {host} does not answer ({type(cause).__name__}); is it running, and reachable from here?") from error
    if response.status == _NOT_FOUND and missing_ok:
        return None
    if response.status == _NOT_FOUND and not path.startswith(_SERVICES):
        raise Refused(f"{host} knows no {path}: is it the API server of a Kubernetes cluster?")
    if response.status == _NOT_FOUND:
        raise Refused(f"the cluster at {host} knows no {keys.KIND}s of {keys.GROUP}: install Stowplan there (helm install stowplan charts/stowplan)")
    if response.status == _UNAUTHORIZED:
        raise Refused(
            f"the cluster at {host} does not accept your credentials ({response.status} {response.reason}): log in anew, or name others with --kubeconfig"
        )
    if response.status == _GONE:
        raise Refused(f"the list of {what} at {host} took longer than the cluster remembers ({response.status} {response.reason}): try again")
    if response.status == _FORBIDDEN:
        raise Refused(f"you may not read {what} at {host} ({response.status} {response.reason}): ask for the right to list them in all namespaces")
    raise Refused(f"{what} at {host}: {response.status} {response.reason}")
