"""Settings, read once at the start from a file and from the environment (`STOWPLAN_EXTENDER_*`). Durations are in seconds."""

from dataclasses import dataclass, field

from stowplan_fleet.channels import ClientTls
from stowplan_fleet.errors import SettingsRefused


@dataclass(frozen=True, slots=True)
class ServingSettings:
    """Where the scheduler, probes and Prometheus find us."""

    host: str = "127.0.0.1"
    """Loopback: the scheduler runs in the same pod. Whoever can reach this can ask for bindings."""
    port: int = 8089
    health_host: str = "127.0.0.1"
    """Probes and metrics; a kubelet needs the pod's own address or 0.0.0.0."""
    health_port: int = 8090
    body_bytes_max: int = 8 << 20
    """Largest request: names of 5,000 nodes are 0.3 MB, the largest pod an API server stores is 1.5 MB."""
    farewell_s: float = 0.5
    """After SIGTERM: how long requests are still taken, each answered with `Connection: close`, so that no client writes to a connection while we close it."""
    drain_s: float = 10.0
    """After SIGTERM: how long running requests may take to end."""


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """How we talk to the API server."""

    kubeconfig: str = ""
    """Path; empty: the service account of the pod we run in."""
    context: str = ""
    """Of the kubeconfig; empty: its current one."""
    timeout_s: float = 5.0
    """Of a request other than a binding or a watch."""
    binding_timeout_s: float = 1.0
    """Of a Binding, and of a look at the Lease; must leave room inside the scheduler's httpTimeout (2 s in our chart)."""
    page: int = 500
    """Objects in one page of a list, as client-go's."""
    watch_s: float = 240.0
    """How long a watch is asked to last; the server ends it then, and it resumes where it was."""
    idle_s: float = 90.0
    """Silence after which a watch counts as dead. The API server sends a bookmark about once a minute. A connection whose other end is gone is
    noticed earlier (TCP keep-alive, half a minute), and so is a watch that does not show our own bindings (placement.confirm_s)."""
    relist_s: float = 1800.0
    """Every so often a collection is listed anew, so that whatever swallowed an event on the way does no lasting harm; 0: never."""
    backoff_s: float = 0.5
    """Pause before the first retry; doubles up to `backoff_max_s`, each with full jitter."""
    backoff_max_s: float = 15.0
    large_object_bytes: int = 262_144
    """Objects of so many bytes of JSON or more are counted and named in the log (at most ten lines a minute); an API server takes up to 1.5 MB."""
    stale_after_s: float = 30.0
    """A watch that has been broken for so long makes the view too old to decide on."""
    descriptors_namespace: str = ""
    """Where ConfigMaps with device descriptors are looked for; empty: everywhere."""


@dataclass(frozen=True, slots=True)
class PredictorSettings:
    """How we ask the predictor."""

    targets: tuple[str, ...] = ("127.0.0.1:50051",)
    """`host:port` of each predictor; any of them may answer."""
    timeout_s: float = 1.0
    """How long a filter or a binding waits for one call; half of the scheduler's httpTimeout."""
    late_s: float = 10.0
    """How long a call may take at all: an answer that comes after `timeout_s` is remembered for when the scheduler asks again. At least `timeout_s`."""
    slow_s: float = 0.5
    """A call that takes so long is named in the log (at most ten lines a minute), though its answer counts."""
    reuse_s: float = 60.0
    """How long an answer is used again without asking; a verdict may rest on one twice as old."""
    keep_s: float = 600.0
    """How old the last known answer may be where nobody answers."""
    remembered_max: int = 200_000
    """Answers kept in memory; about 1 kB each."""
    probe_s: float = 5.0
    """Time between two looks whether the predictor is there."""
    tls: ClientTls = field(default_factory=ClientTls)


@dataclass(frozen=True, slots=True)
class PlacementSettings:
    """How places are given."""

    best_k: int = 16
    """Among how many nodes, the best of all that fit, a pod may choose that states a preference (preferred affinity, a spread with `ScheduleAnyway`) or
    waits for claims of volumes or devices, which can fail on one node and not on another. Any other pod gets the best node, and no default of the scheduler
    (spreading, image locality) is weighed against it. 0: every pod gets all nodes that fit, and the scheduler scores them: at thousands of nodes that costs
    more than our judgement. Every node is judged either way."""
    bindings_at_once: int = 32
    """So many bindings under way make a filter wait for them, up to `backlog_s`: a scheduler that filters faster than the API server takes bindings
    would fill a queue there until requests run into their time limits. 0: filters never wait."""
    backlog_s: float = 0.5
    """How long a filter waits then at most; with predictor.timeout_s it must stay within the scheduler's httpTimeout (2 s in our chart)."""
    reservation_s: float = 60.0
    """How long a promise holds when nothing more is heard of the pod; longer than a binding's timeout plus a watch's delay. One whose binding
    was written holds until the pod is seen bound or gone."""
    confirm_s: float = 5.0
    """A promise that the watch has not confirmed after so long is looked up at the API server; a watch that is behind is begun anew."""


@dataclass(frozen=True, slots=True)
class LeaseSettings:
    """The scheduler's Lease; only the extender beside its holder may bind."""

    name: str = ""
    """Empty: no leader election, this extender always binds."""
    namespace: str = ""
    pod_name: str = ""
    """Our own pod; kube-scheduler's identity begins with it."""
    cache_s: float = 1.0
    """How long a look at the Lease is good for where nothing is written."""
    fresh_s: float = 0.1
    """How long, from its beginning, a look is good for a binding; 0: each binding looks anew. At most api.binding_timeout_s."""
    takeover_s: float = 3.0
    """After the Lease came from another pod, and after a start: how long no binding is made, so that those of the former holder have ended and were seen.
    Longer than twice api.binding_timeout_s, for the look at the Lease and for the binding."""


@dataclass(frozen=True, slots=True)
class WakeUpSettings:
    """When pods that we refused are tried again."""

    every_s: float = 5.0
    """Time between two looks at them."""
    again_s: float = 30.0
    """How long a pod that was woken is left alone; longer than the scheduler's own back-off (10 s)."""


@dataclass(frozen=True, slots=True)
class RecordingSettings:
    """Decisions kept for `stowplan replay`."""

    directory: str = ""
    """Folder for them; empty: none are kept. They name pods, nodes, services and slices; no environment, no images, no secrets."""
    decisions_max: int = 1_000
    """How many at most; at least half as many are there once so many were made."""
    bytes_max: int = 32 << 20
    """Bytes of all of them at most. A decision over five thousand nodes of a dozen kinds takes 0.2 MB; one larger than half of this is not kept."""


@dataclass(frozen=True, slots=True)
class ExtenderSettings:
    """Everything that can be set."""

    serving: ServingSettings = field(default_factory=ServingSettings)
    api: ApiSettings = field(default_factory=ApiSettings)
    predictor: PredictorSettings = field(default_factory=PredictorSettings)
    placement: PlacementSettings = field(default_factory=PlacementSettings)
    lease: LeaseSettings = field(default_factory=LeaseSettings)
    wake_ups: WakeUpSettings = field(default_factory=WakeUpSettings)
    recording: RecordingSettings = field(default_factory=RecordingSettings)
    log_level: str = "info"

    def __post_init__(self) -> None:
        """Refuses what cannot work.

        Raises:
            SettingsRefused: says which settings contradict each other.
        """
        if self.lease.name and not (self.lease.namespace and self.lease.pod_name):
            raise SettingsRefused("lease: with a name, namespace and pod_name are needed too")
        if self.lease.name and self.lease.takeover_s <= 2 * self.api.binding_timeout_s:
            raise SettingsRefused(
                "lease: takeover_s must be longer than twice api.binding_timeout_s: the former holder's last look and its binding may take so long"
            )
        if not 0 <= self.lease.fresh_s <= self.api.binding_timeout_s:
            raise SettingsRefused("lease: fresh_s must be 0 to api.binding_timeout_s: after a takeover the former holder may bind for so long")
        if self.predictor.keep_s < self.predictor.reuse_s:
            raise SettingsRefused("predictor: keep_s is shorter than reuse_s; the last known answer must outlive the fresh one")
        if self.recording.directory and (self.recording.decisions_max < 2 or self.recording.bytes_max < 1 << 10):
            raise SettingsRefused("recording: with a directory, keep at least 2 decisions and 1024 bytes")
        if self.placement.bindings_at_once < 0 or self.placement.backlog_s < 0:
            raise SettingsRefused("placement: bindings_at_once and backlog_s are 0 or more")
        if self.placement.best_k < 0:
            raise SettingsRefused("placement: best_k is below 0; write 0 for all nodes")
