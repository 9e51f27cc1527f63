"""Analyses: what the predictor found in each service's model, remembered as long as the model stays the same."""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from stowplan_fleet.errors import GraphRefused
from stowplan_fleet.manifests.inferenceservices import InferenceServiceManifest
from stowplan_fleet.manifests.services import input_shapes_of
from stowplan_fleet.predictors import GraphSummary, Predictor
from stowplan_fleet.reasons import ConditionReason

from stowplan_operator.errors import ModelRejected
from stowplan_operator.models import contents, sources
from stowplan_operator.models.remotes import Fetched, RemoteLimits, Remotes
from stowplan_operator.models.sources import ConfigMapSource, RemoteSource
from stowplan_operator.reconciling.apis import Api
from stowplan_operator.reconciling.views import Views
from stowplan_operator.settings import ModelSettings


@dataclass(frozen=True, slots=True)
class _Key:
    """Equal where the analysis would be the same."""

    uri: str
    version: str | None
    digest: str
    shapes: tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True, slots=True)
class _Known:
    key: _Key
    summary: GraphSummary
    checked_s: float = 0.0
    """When a remote model was last asked for."""
    version: str = ""
    """The server's tag of it."""


class Analyses:
    """Summaries by service. Rejections are not remembered: looking again is cheap and heals by itself."""

    def __init__(
        self,
        views: Views,
        api: Api,
        predictor: Predictor,
        models: ModelSettings,
        *,
        remotes: Remotes | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._views, self._api, self._predictor, self._models, self._now_s = views, api, predictor, models, now_s
        self._remotes = remotes or Remotes(RemoteLimits(models.bytes_max, models.fetch_timeout_s), s3_endpoint=models.s3_endpoint)
        self._known: dict[str, _Known] = {}

    async def summary_of(self, manifest: InferenceServiceManifest, *, again: bool = False) -> GraphSummary:
        """What the predictor found in a service's model.

        Args:
            manifest: whose.
            again: push the model though it did not change, because the predictor has forgotten it.

        Raises:
            ModelRejected: the model cannot be had, or cannot be judged.
            ApiFailed: the API server did not give it.
            PredictorUnavailable: nobody analysed it.
        """
        source = sources.parse_uri(manifest.spec.model.uri)
        if isinstance(source, RemoteSource):
            self._models.allowances.check(source)
            return await self._remote(manifest, source, again=again)
        return await self._local(manifest, source, again=again)

    async def _local(self, manifest: InferenceServiceManifest, source: ConfigMapSource, *, again: bool) -> GraphSummary:
        spec, metadata = manifest.spec.model, manifest.metadata
        version = self._views.configmap_version(f"{metadata.namespace}/{source.name}")
        key = self._key(manifest, version)
        known = self._known.get(metadata.uid)
        if known is not None and known.key == key and version is not None and not again:
            return known.summary
        self._known.pop(metadata.uid, None)
        found = await self._api.get_configmap(metadata.namespace, source.name)
        content = contents.read(source, metadata.namespace, found, self._models.bytes_max, spec.digest)
        summary = await self._analyzed(manifest, content)
        if found is not None and found.metadata.resource_version == version:
            # Else the watch lags behind what was read: the next look analyses once more.
            self._known[metadata.uid] = _Known(key, summary)
        return summary

    async def _remote(self, manifest: InferenceServiceManifest, source: RemoteSource, *, again: bool) -> GraphSummary:
        key, uid = self._key(manifest, None), manifest.metadata.uid
        known = self._known.get(uid)
        if known is not None and known.key != key:
            known = None
        fresh = known is not None and (bool(key.digest) or self._now_s() - known.checked_s < self._models.recheck_s)
        if known is not None and fresh and not again:
            return known.summary
        try:
            fetched = await self._remotes.fetch(source, known.version if known is not None and not again else "")
        except ModelRejected as error:
            if error.reason is ConditionReason.MODEL_UNREACHABLE and known is not None and not again:
                # What was analysed holds until the place answers again.
                return known.summary
            raise
        if fetched is None and known is not None:
            self._known[uid] = replace(known, checked_s=self._now_s())
            return known.summary
        content = _pinned(source, fetched, key.digest)
        summary = await self._analyzed(manifest, content)
        self._known[uid] = _Known(key, summary, self._now_s(), fetched.version if fetched else "")
        return summary

    async def _analyzed(self, manifest: InferenceServiceManifest, content: bytes) -> GraphSummary:
        try:
            return await self._predictor.analyze(content, input_shapes_of(manifest))
        except GraphRefused as error:
            raise ModelRejected(ConditionReason.MODEL_REFUSED, str(error)) from error

    @staticmethod
    def _key(manifest: InferenceServiceManifest, version: str | None) -> _Key:
        spec = manifest.spec.model
        shapes: Mapping[str, tuple[int, ...]] = input_shapes_of(manifest)
        return _Key(spec.uri, version, spec.digest, tuple(sorted(shapes.items())))

    def forget(self, uid: str) -> None:
        """Drops what is remembered of a service that is gone."""
        self._known.pop(uid, None)

    async def close(self) -> None:
        """Closes connections to remote places."""
        await self._remotes.close()


def _pinned(source: RemoteSource, fetched: Fetched | None, digest: str) -> bytes:
    """The content, where it is the one that was pinned (`sha256:<hex>`; empty for any)."""
    content = fetched.content if fetched is not None else b""
    actual = f"sha256:{hashlib.sha256(content).hexdigest()}"
    if digest and digest != actual:
        raise ModelRejected(ConditionReason.DIGEST_MISMATCH, f"{source}: the file is {actual}, but spec.model.digest pins {digest}; correct one of them")
    return content
