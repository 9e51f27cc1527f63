"""Looks: what one look at one service has found so far."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stowplan_fleet import logs, slices
from stowplan_fleet.errors import ValueRefused
from stowplan_fleet.manifests.inferenceservices import InferenceServiceManifest
from stowplan_fleet.reasons import ConditionType
from stowplan_fleet.services import ServiceName
from stowplan_fleet.slices import SliceClass

from stowplan_operator.conditions.verdicts import Verdict
from stowplan_operator.reconciling.moments import Moment


@dataclass(slots=True)
class Look:
    """What one look has found so far."""

    body: Mapping[str, Any]
    manifest: InferenceServiceManifest
    now: Moment
    after: dict[str, Any]
    """The status to write."""
    verdicts: dict[ConditionType, Verdict] = field(default_factory=dict)
    retry: bool = False
    """True where a failure is to be tried again soon."""

    def say(self, verdict: Verdict) -> None:
        """Notes a verdict; of two on one condition the later one counts."""
        self.verdicts[verdict.type] = verdict

    @property
    def name(self) -> ServiceName:
        """`namespace/name`."""
        return ServiceName(self.manifest.metadata.full_name)

    @property
    def about(self) -> dict[str, dict[str, str]]:
        """For a line of the log."""
        metadata = self.manifest.metadata
        return logs.about("InferenceService", metadata.namespace, metadata.name, metadata.uid)

    @property
    def present(self) -> SliceClass | None:
        """The slice class that the service stands on; None where there is none."""
        text = str(self.after.get("sliceClass") or "")
        try:
            return slices.parse_slice_class(text) if text else None
        except ValueRefused:
            return None  # somebody else wrote it: as if there were none

    @property
    def remembered(self) -> Mapping[str, Any]:
        """What a former process wrote to `status.rung`; whatever else stands there counts as nothing."""
        written = self.after.get("rung")
        return written if isinstance(written, Mapping) else {}
