"""Analyses: what the predictor found in each service's model, remembered as long as the model stays the same."""

from collections.abc import Mapping
from dataclasses import dataclass

from stowplan_fleet.errors import GraphRefused
from stowplan_fleet.manifests import inferenceservices
from stowplan_fleet.manifests.inferenceservices import InferenceServiceManifest
from stowplan_fleet.predictors import GraphSummary, Predictor
from stowplan_fleet.reasons import ConditionReason

from stowplan_operator.errors import ModelRejected
from stowplan_operator.models import contents, sources
from stowplan_operator.reconciling.apis import Api
from stowplan_operator.reconciling.views import Views


@dataclass(frozen=True, slots=True)
class _Key:
    """Equal where the analysis would be the same."""

    uri: str
    version: str | None
    digest: str
    shapes: tuple[tuple[str, tuple[int, ...]], ...]


class Analyses:
    """Summaries by service. Rejections are not remembered: looking again is cheap and heals by itself."""

    def __init__(self, views: Views, api: Api, predictor: Predictor, bytes_max: int) -> None:
        self._views, self._api, self._predictor, self._bytes_max = views, api, predictor, bytes_max
        self._known: dict[str, tuple[_Key, GraphSummary]] = {}

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
        spec, metadata = manifest.spec.model, manifest.metadata
        shapes: Mapping[str, tuple[int, ...]] = inferenceservices.input_shapes_of(manifest)
        source = sources.parse_uri(spec.uri)
        version = self._views.configmap_version(f"{metadata.namespace}/{source.name}")
        key = _Key(spec.uri, version, spec.digest, tuple(sorted(shapes.items())))
        known = self._known.get(metadata.uid)
        if known is not None and known[0] == key and version is not None and not again:
            return known[1]
        self._known.pop(metadata.uid, None)
        found = await self._api.get_configmap(metadata.namespace, source.name)
        content = contents.read(source, metadata.namespace, found, self._bytes_max, spec.digest)
        try:
            summary = await self._predictor.analyze(content, shapes)
        except GraphRefused as error:
            raise ModelRejected(ConditionReason.MODEL_REFUSED, str(error)) from error
        if found is not None and found.metadata.resource_version == version:
            # Else the watch lags behind what was read: the next look analyses once more.
            self._known[metadata.uid] = (key, summary)
        return summary

    def forget(self, uid: str) -> None:
        """Drops what is remembered of a service that is gone."""
        self._known.pop(uid, None)
