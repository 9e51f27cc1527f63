"""Settings, read once at the start from a file and from the environment (`STOWPLAN_OPERATOR_*`). Durations are in seconds."""

from dataclasses import dataclass, field

from stowplan_fleet.channels import ClientTls
from stowplan_fleet.errors import ValueRefused

from stowplan_operator.errors import StartRefused
from stowplan_operator.models.sources import Allowances
from stowplan_operator.sizing.climbs import Patience
from stowplan_operator.sizing.prices import parse_prices


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """How we talk to the API server."""

    kubeconfig: str = ""
    """Path; empty: the service account of the pod we run in."""
    context: str = ""
    """Of the kubeconfig; empty: its current one."""
    timeout_s: float = 10.0
    """Of a request."""
    descriptors_namespace: str = ""
    """Where ConfigMaps with device descriptors are looked for; empty: everywhere."""
    idle_s: float = 70.0
    """Silence after which a watch counts as dead and is begun anew where it was. The API server sends a bookmark about once a minute."""
    large_object_bytes: int = 262_144
    """Objects of so many bytes of JSON or more are counted and named in the log as watches show them (at most ten lines a minute); models in ConfigMaps are
    often as large."""
    sweep_s: float = 300.0
    """Time between two comparisons of what the watches showed with what there is."""


@dataclass(frozen=True, slots=True)
class PredictorSettings:
    """How we ask the predictor."""

    targets: tuple[str, ...] = ("127.0.0.1:50051",)
    """gRPC targets; a model is pushed to each of them."""
    timeout_s: float = 30.0
    """Of one call; analysing a network of some thousand operators takes seconds."""
    slow_s: float = 2.0
    """A prediction that takes so long is named in the log (at most ten lines a minute), though it counts."""
    tls: ClientTls = field(default_factory=ClientTls)


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """What models are accepted."""

    bytes_max: int = 64 << 20
    """Largest model file. A ConfigMap holds 1 MiB; structure without weights is smaller than that for most networks."""
    https_hosts: tuple[str, ...] = ()
    """Hosts that `https:` models may come from, by exact name (`models.example.com`, `models.example.com:8443`); none unless named."""
    s3_buckets: tuple[str, ...] = ()
    """Buckets that `s3:` models may come from; credentials are the pod's own, as the cloud's libraries find them."""
    gs_buckets: tuple[str, ...] = ()
    """Buckets that `gs:` models may come from. Redirects of the store itself are followed, here and for `s3:`; those of `https:` places are not."""
    s3_endpoint: str = ""
    """URL of an S3-compatible store; empty: Amazon's own."""
    fetch_timeout_s: float = 30.0
    """Of fetching one remote model."""
    recheck_s: float = 300.0
    """A remote model without a pinned digest is asked for again after that time; a pinned one never."""

    @property
    def allowances(self) -> Allowances:
        """The remote places as values."""
        return Allowances(self.https_hosts, self.s3_buckets, self.gs_buckets)


@dataclass(frozen=True, slots=True)
class SizingSettings:
    """What slices cost."""

    prices: tuple[str, ...] = ()
    """`DEVICE=PRICE` (a whole GPU, one core of a CPU) or `DEVICE/SLICE=PRICE`, in any one unit. They win over the nodes' own labels; where a class has no
    price its share of the device ranks it, after every class that has one."""


@dataclass(frozen=True, slots=True)
class ReconcilingSettings:
    """How often and how widely."""

    workers: int = 4
    """Services looked after at the same time, so that one slow model does not hold up the others."""
    resync_s: float = 30.0
    """A service is looked at again after that time though nothing happened: a restarted predictor gets its graph back then."""
    backoff_s: float = 1.0
    """Pause after a failure; doubles up to `backoff_max_s`."""
    backoff_max_s: float = 60.0


@dataclass(frozen=True, slots=True)
class ServingSettings:
    """Where probes and Prometheus find us."""

    host: str = "127.0.0.1"
    """A kubelet needs the pod's own address or 0.0.0.0."""
    health_port: int = 8080
    """`/healthz` and `/readyz`."""
    metrics_port: int = 9090
    """`/metrics`."""


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """Everything that can be set."""

    api: ApiSettings = field(default_factory=ApiSettings)
    predictor: PredictorSettings = field(default_factory=PredictorSettings)
    models: ModelSettings = field(default_factory=ModelSettings)
    sizing: SizingSettings = field(default_factory=SizingSettings)
    reconciling: ReconcilingSettings = field(default_factory=ReconcilingSettings)
    patience: Patience = field(default_factory=Patience)
    """When a service moves to another rung."""
    serving: ServingSettings = field(default_factory=ServingSettings)
    log_level: str = "info"
    watch_log_level: str = "warning"
    """Of the library that lists and watches; at `info` it writes a line for each event."""

    def __post_init__(self) -> None:
        """Refuses what cannot work.

        Raises:
            StartRefused: says which setting.
        """
        if not self.predictor.targets:
            raise StartRefused("predictor.targets: name at least one predictor (host:port)")
        for name, level in (("log_level", self.log_level), ("watch_log_level", self.watch_log_level)):
            if level not in {"debug", "info", "warning", "error"}:
                raise StartRefused(f"{name}: {level[:32]!r} is none of debug, info, warning, error")
        if self.reconciling.workers < 1:
            raise StartRefused("reconciling.workers: at least 1")
        try:
            parse_prices(self.sizing.prices)
        except ValueRefused as error:
            raise StartRefused(f"sizing.prices: {error}") from error
        timing = self.reconciling
        durations = {
            "reconciling.resync_s": timing.resync_s,
            "reconciling.backoff_s": timing.backoff_s,
            "api.timeout_s": self.api.timeout_s,
            "api.idle_s": self.api.idle_s,
            "api.sweep_s": self.api.sweep_s,
        }
        durations |= {"models.fetch_timeout_s": self.models.fetch_timeout_s, "models.recheck_s": self.models.recheck_s}
        for name, value in durations.items():
            if not value > 0:
                raise StartRefused(f"{name}: {value} is not above 0")
