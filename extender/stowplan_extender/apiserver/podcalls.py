"""Calls to the API server about single pods."""

import datetime as dt
from typing import Any, Protocol

import msgspec
from stowplan_fleet import keys
from stowplan_fleet.manifests import decoding
from stowplan_fleet.manifests.pods import PodManifest

from stowplan_extender.apiserver.connections import ApiConnection
from stowplan_extender.settings import ApiSettings
from stowplan_extender.wire import ExtenderBindingArgs


class PodCalls(Protocol):
    """What binding needs of the API server."""

    async def get(self, namespace: str, name: str) -> PodManifest:
        """Reads a pod. Raises ApiError."""

    async def bind(self, args: ExtenderBindingArgs, annotations: dict[str, str]) -> None:
        """Writes a Binding. Raises ApiError."""

    async def touch(self, namespace: str, name: str, uid: str) -> None:
        """Writes the pod's retry annotation. Raises ApiError."""


class HttpPodCalls:
    """The same, over HTTP."""

    def __init__(self, connection: ApiConnection, settings: ApiSettings) -> None:
        self._connection = connection
        self._settings = settings

    async def get(self, namespace: str, name: str) -> PodManifest:
        """Reads a pod.

        Raises:
            ApiError: it could not be read.
        """
        body = await self._connection.request("GET", f"/api/v1/namespaces/{namespace}/pods/{name}", timeout_s=self._settings.binding_timeout_s)
        return decoding.from_json(body, PodManifest, f"pod {namespace}/{name}")

    async def bind(self, args: ExtenderBindingArgs, annotations: dict[str, str]) -> None:
        """Writes a Binding; the UID makes the API server refuse another pod of the same name.

        Raises:
            ApiError: refused, or no answer in time.
        """
        binding: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": args.pod_name, "namespace": args.pod_namespace, "uid": args.pod_uid, "annotations": annotations},
            "target": {"apiVersion": "v1", "kind": "Node", "name": args.node},
        }
        path = f"/api/v1/namespaces/{args.pod_namespace}/pods/{args.pod_name}/binding"
        await self._connection.request("POST", path, body=msgspec.json.encode(binding), timeout_s=self._settings.binding_timeout_s)

    async def touch(self, namespace: str, name: str, uid: str) -> None:
        """Writes the pod's retry annotation; the UID makes the API server refuse another pod of the same name.

        Raises:
            ApiError: refused, or no answer in time.
        """
        patch = {"metadata": {"uid": uid, "annotations": {keys.RETRY_ANNOTATION: dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}}}
        path = f"/api/v1/namespaces/{namespace}/pods/{name}"
        content = "application/merge-patch+json"
        await self._connection.request("PATCH", path, body=msgspec.json.encode(patch), timeout_s=self._settings.binding_timeout_s, content=content)
