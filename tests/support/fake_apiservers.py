"""An API server in memory, for tests of list and watch: versions, bookmarks, 410, disconnects, bindings that get lost. It validates nothing."""

import asyncio
import copy
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

Object = dict[str, Any]


class FakeApiServer:
    """Collections by path, such as `/api/v1/pods`; pods answer to reads and bindings under their own paths too."""

    def __init__(self) -> None:
        self.version = 100
        self.oldest = 0
        """Watches from before this version get 410."""
        self.collections: dict[str, dict[str, Object]] = {}
        self.log: list[tuple[int, str, str, Object]] = []
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.bindings: list[Object] = []
        self.bind_mode = "ok"
        """`ok`; `lost`: carried out, then the connection is cut; `dropped`: cut before it is carried out; or a status to refuse with."""
        self.leases: dict[str, str] = {}
        self.transitions = 0
        self.renewed = ""
        """When the Lease was last renewed; empty: it does not say."""
        """How often every Lease changed hands."""
        self.failing = 0
        """So many of the next requests are answered 503."""
        self.held: list[tuple[str, str, Object]] | None = None
        self._wake = asyncio.Event()
        self._cut = asyncio.Event()

    # What a test does

    def put(self, path: str, item: Object) -> None:
        """An object appears or changes."""
        key = self._key(item)
        kind = "MODIFIED" if key in self.collections.setdefault(path, {}) else "ADDED"
        self._emit(path, kind, item)

    def delete(self, path: str, item: Object) -> None:
        """An object goes."""
        self._emit(path, "DELETED", item)

    def bookmark(self, path: str) -> None:
        """A bookmark of the latest version."""
        self._emit(path, "BOOKMARK", {"kind": "Bookmark", "metadata": {}})

    def error(self, path: str, code: int) -> None:
        """An ERROR event on the open watches."""
        self._emit(path, "ERROR", {"kind": "Status", "code": code, "message": "made by a test"})

    def compact(self) -> None:
        """Versions up to now can no longer be resumed from."""
        self.version += 1
        self.oldest = self.version
        self.log.clear()

    def disconnect(self) -> None:
        """Cuts all open watches."""
        self._cut.set()
        self._cut = asyncio.Event()

    def hold(self) -> None:
        """From now on watches hear nothing, though everything happens: a slow watch."""
        self.held = []

    def unhold(self) -> None:
        """Watches hear what they missed."""
        held, self.held = self.held or [], None
        for path, kind, item in held:
            self._append(path, kind, item)

    def pod(self, namespace: str, name: str) -> Object | None:
        """A pod as it is now."""
        return next((item for item in self.collections.get("/api/v1/pods", {}).values() if self._key(item) == f"{namespace}/{name}"), None)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serves on a free port; its base URL."""
        app = web.Application()
        app.add_routes(
            [
                web.post("/api/v1/namespaces/{namespace}/pods/{name}/binding", self._bind),
                web.get("/api/v1/namespaces/{namespace}/pods/{name}", self._read_pod),
                web.get("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{name}", self._read_lease),
                web.get("/{path:.*}", self._collection),
            ]
        )
        async with TestServer(app, host="127.0.0.1") as server:
            yield str(server.make_url("")).rstrip("/")
            self.disconnect()

    # What it answers

    async def _collection(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path, dict(request.query)))
        if self.failing:
            self.failing -= 1
            return _status(503, "made to fail")
        if request.query.get("watch"):
            return await self._watch(request)
        items = list(self.collections.get(request.path, {}).values())
        start, limit = int(request.query.get("continue", 0)), int(request.query.get("limit", len(items) + 1))
        rest = str(start + limit) if start + limit < len(items) else ""
        return web.json_response({"metadata": {"resourceVersion": str(self.version), "continue": rest}, "items": items[start : start + limit]})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        since = int(request.query["resourceVersion"])
        if since < self.oldest:
            return _status(410, "too old resource version")
        response = web.StreamResponse()
        await response.prepare(request)
        cut = self._cut
        while not cut.is_set():
            wake = self._wake
            for version, path, kind, item in list(self.log):
                if path == request.path and version > since:
                    since = version
                    await response.write(json.dumps({"type": kind, "object": item}).encode() + b"\n")
            waiting = [asyncio.ensure_future(wake.wait()), asyncio.ensure_future(cut.wait())]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in waiting:
                task.cancel()
        assert request.transport is not None
        request.transport.close()
        return response

    async def _read_pod(self, request: web.Request) -> web.Response:
        self.requests.append((request.method, request.path, {}))
        pod = self.pod(request.match_info["namespace"], request.match_info["name"])
        return web.json_response(pod) if pod else _status(404, "no such pod")

    async def _bind(self, request: web.Request) -> web.Response:
        self.requests.append((request.method, request.path, {}))
        binding = await request.json()
        if self.bind_mode.isdigit():
            return _status(int(self.bind_mode), "made by a test")
        if self.bind_mode == "dropped":
            return _cut(request)
        pod = self.pod(request.match_info["namespace"], request.match_info["name"])
        if pod is None or pod["metadata"]["uid"] != binding["metadata"]["uid"]:
            return _status(404 if pod is None else 409, "no such pod")
        if pod["spec"].get("nodeName"):
            return _status(409, f"pod is already assigned to node {pod['spec']['nodeName']}")
        self.bindings.append(binding)
        pod = copy.deepcopy(pod)
        pod["spec"]["nodeName"] = binding["target"]["name"]
        pod["metadata"]["annotations"] |= binding["metadata"]["annotations"]
        self.put("/api/v1/pods", pod)
        return _cut(request) if self.bind_mode == "lost" else web.json_response({"kind": "Status", "status": "Success"}, status=201)

    async def _read_lease(self, request: web.Request) -> web.Response:
        self.requests.append((request.method, request.path, {}))
        holder = self.leases.get(request.match_info["name"])
        spec = {"holderIdentity": holder, "leaseTransitions": self.transitions} | ({"renewTime": self.renewed} if self.renewed else {})
        return _status(404, "no such lease") if holder is None else web.json_response({"spec": spec})

    def _emit(self, path: str, kind: str, item: Object) -> None:
        item = copy.deepcopy(item)
        self.version += 1
        item.setdefault("metadata", {})["resourceVersion"] = str(self.version)
        if kind in {"ADDED", "MODIFIED"}:
            self.collections.setdefault(path, {})[self._key(item)] = item
        elif kind == "DELETED":
            self.collections.get(path, {}).pop(self._key(item), None)
        if self.held is not None:
            self.held.append((path, kind, item))
        else:
            self._append(path, kind, item)

    def _append(self, path: str, kind: str, item: Object) -> None:
        self.log.append((int(item["metadata"]["resourceVersion"]), path, kind, item))
        self._wake.set()
        self._wake = asyncio.Event()

    @staticmethod
    def _key(item: Object) -> str:
        metadata = item["metadata"]
        return f"{metadata['namespace']}/{metadata['name']}" if metadata.get("namespace") else str(metadata["name"])


def _status(code: int, message: str) -> web.Response:
    return web.json_response({"kind": "Status", "code": code, "message": message}, status=code)


def _cut(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.close()
    return web.Response(status=500)
