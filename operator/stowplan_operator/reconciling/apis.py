"""The API server as the reconciler uses it. kopf lists and watches; writing is ours."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Final, Protocol
from urllib.parse import quote

import aiohttp
import kopf
from prometheus_client import Counter
from stowplan_fleet import keys
from stowplan_fleet.errors import ManifestRefused
from stowplan_fleet.manifests.configmaps import ConfigMapManifest
from stowplan_fleet.manifests.decoding import from_json

from stowplan_operator.errors import ApiFailed
from stowplan_operator.reconciling.views import Kind
from stowplan_operator.workloads.deployments import FIELD_MANAGER

_SERVICES: Final = f"/apis/{keys.GROUP}/{keys.VERSION}/namespaces/{{}}/{keys.PLURAL}/{{}}"
_SERVED: Final = f"/apis/{keys.GROUP}/{keys.VERSION}"
_DEPLOYMENTS: Final = "/apis/apps/v1/namespaces/{}/deployments/{}"
_COLLECTIONS: Final = {
    Kind.SERVICES: f"/apis/{keys.GROUP}/{keys.VERSION}/{keys.PLURAL}?",
    Kind.NODES: "/api/v1/nodes?",
    Kind.PODS: f"/api/v1/pods?labelSelector={quote(keys.SERVICE_LABEL)}&",
    Kind.CONFIGMAPS: "/api/v1/configmaps?",
    Kind.DEPLOYMENTS: f"/apis/apps/v1/deployments?labelSelector={quote(keys.SERVICE_LABEL)}&",
}
# As client-go's.
_PAGE: Final = 500
_METADATA_ONLY: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_UNAUTHORIZED: Final = 401
_NOT_FOUND: Final = 404


class Api(Protocol):
    """What a reconciler does to a cluster."""

    async def get_configmap(self, namespace: str, name: str) -> ConfigMapManifest | None:
        """A ConfigMap; None where there is none."""

    async def get_deployment(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        """A Deployment as stored; None where there is none."""

    async def apply_deployment(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        """Server-side apply; answers what is stored then."""

    async def replace_deployment_spec(self, manifest: Mapping[str, Any], uid: str) -> Mapping[str, Any]:
        """Makes the spec of that very Deployment the manifest's and nothing else; answers what is stored then."""

    async def patch_status(self, namespace: str, name: str, patch: Mapping[str, Any]) -> None:
        """A merge patch of an InferenceService's status; one that is gone is fine."""

    async def create_event(self, namespace: str, event: Mapping[str, Any]) -> None:
        """Records an event."""

    async def list_uids(self, kind: Kind) -> frozenset[str]:
        """UIDs of everything there is of a kind that is watched."""


class HttpApi:
    """Implements `Api` over HTTP. Use as an async context manager.

    Raises (all methods):
        ApiFailed: the server refused, failed, or did not answer in time.
    """

    def __init__(self, login: Callable[[], Awaitable[kopf.ConnectionInfo]], timeout_s: float, failures: Counter) -> None:
        """Prepares; `failures` counts requests that were not answered as wished, by status."""
        self._login, self._failures = login, failures
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None
        self._server = ""
        self._expires_at = 0.0
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> "HttpApi":
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._close()

    async def get_configmap(self, namespace: str, name: str) -> ConfigMapManifest | None:
        """A ConfigMap; None where there is none."""
        body = await self._ask("GET", f"/api/v1/namespaces/{quote(namespace)}/configmaps/{quote(name)}", missing_is_none=True)
        try:
            return None if body is None else from_json(body, ConfigMapManifest, f"ConfigMap {namespace}/{name}")
        except ManifestRefused as error:
            raise ApiFailed(str(error)) from error

    async def get_deployment(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        """A Deployment as stored; None where there is none."""
        body = await self._ask("GET", _DEPLOYMENTS.format(quote(namespace), quote(name)), missing_is_none=True)
        return None if body is None else _object(body)

    async def apply_deployment(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        """Server-side apply; answers what is stored then. Fields that others added stay."""
        path = _DEPLOYMENTS.format(quote(manifest["metadata"]["namespace"]), quote(manifest["metadata"]["name"]))
        body = await self._ask("PATCH", f"{path}?fieldManager={FIELD_MANAGER}&force=true", manifest, "application/apply-patch+yaml")
        return _object(body or b"{}")

    async def replace_deployment_spec(self, manifest: Mapping[str, Any], uid: str) -> Mapping[str, Any]:
        """Makes the spec of that very Deployment the manifest's and nothing else; answers what is stored then."""
        path = _DEPLOYMENTS.format(quote(manifest["metadata"]["namespace"]), quote(manifest["metadata"]["name"]))
        # Another UID is answered with 409: the Deployment was made anew since.
        patch = [{"op": "replace", "path": "/metadata/uid", "value": uid}, {"op": "replace", "path": "/spec", "value": manifest["spec"]}]
        return _object(await self._ask("PATCH", f"{path}?fieldManager={FIELD_MANAGER}", patch, "application/json-patch+json") or b"{}")

    async def patch_status(self, namespace: str, name: str, patch: Mapping[str, Any]) -> None:
        """A merge patch of an InferenceService's status; one that is gone is fine."""
        path = f"{_SERVICES.format(quote(namespace), quote(name))}/status?fieldManager={FIELD_MANAGER}"
        await self._ask("PATCH", path, {"status": patch}, "application/merge-patch+json", missing_is_none=True)

    async def create_event(self, namespace: str, event: Mapping[str, Any]) -> None:
        """Records an event."""
        await self._ask("POST", f"/api/v1/namespaces/{quote(namespace)}/events", event, "application/json")

    async def serves_services(self) -> bool:
        """Whether there is an API of InferenceServices at all."""
        return await self._ask("GET", _SERVED, missing_is_none=True) is not None

    async def list_uids(self, kind: Kind) -> frozenset[str]:
        """UIDs of everything there is of a kind that is watched, page by page and metadata only."""
        uids: set[str] = set()
        token = ""
        while True:
            query = f"limit={_PAGE}" + (f"&continue={quote(token)}" if token else "")
            page = _object(await self._ask("GET", f"{_COLLECTIONS[kind]}{query}", accept=_METADATA_ONLY) or b"{}")
            uids.update(str(item["metadata"]["uid"]) for item in page.get("items") or ())
            token = str((page.get("metadata") or {}).get("continue") or "")
            if not token:
                return frozenset(uids)

    async def _ask(
        self, method: str, path: str, body: object = None, content_type: str = "", *, accept: str = "application/json", missing_is_none: bool = False
    ) -> bytes | None:
        session = await self._connected()
        try:
            headers = {"Accept": accept} | ({"Content-Type": content_type} if content_type else {})
            data = json.dumps(body).encode() if body is not None else None
            async with session.request(method, self._server + path, data=data, headers=headers) as response:
                content = await response.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            self._failures.labels("no answer").inc()
            raise ApiFailed(f"{method} {path}: {type(error).__name__}: {error}") from error
        if response.status == _NOT_FOUND and missing_is_none:
            return None
        if response.status == _UNAUTHORIZED:
            self._expires_at = 0.0  # the next call logs in again
        if response.status >= 400:
            self._failures.labels(str(response.status)).inc()
            said = _message(content)
            raise ApiFailed(f"{method} {path}: {response.status}: {said}", response.status, said)
        return content

    async def _connected(self) -> aiohttp.ClientSession:
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if self._session is None or now >= self._expires_at:
                info = await self._login()
                await self._close()
                secure = info.server.startswith("https://")
                connector = aiohttp.TCPConnector(ssl=info.as_ssl_context()) if secure else aiohttp.TCPConnector()
                self._session = aiohttp.ClientSession(connector=connector, headers=info.as_http_headers(), timeout=self._timeout)
                self._server = info.server
                # Half of the ten minutes that credentials are used for: a request never starts with ones about to end.
                self._expires_at = now + 300.0
            return self._session

    async def _close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(body)
    except ValueError as error:
        raise ApiFailed(f"the API server's answer is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ApiFailed("the API server's answer is no object")
    return value


def _message(content: bytes) -> str:
    try:
        value = json.loads(content)
        return str(value["message"])[:1024]
    except (ValueError, KeyError, TypeError):
        return content[:256].decode(errors="replace")
