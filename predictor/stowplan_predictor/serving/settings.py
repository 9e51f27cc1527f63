"""Settings of the predictor's process; the environment's names are `STOWPLAN_PREDICTOR_<GROUP>_<FIELD>`."""

from dataclasses import dataclass, field
from typing import Final

from stowplan_predictor.graphs.limits import DEFAULT_LIMITS, Limits
from stowplan_predictor.pipelines.caches import CacheLimits

ENV_PREFIX: Final = "STOWPLAN_PREDICTOR_"


@dataclass(frozen=True, slots=True)
class Grpc:
    """Who may ask, and how much."""

    host: str = "127.0.0.1"
    """Address to listen on. Loopback, so that nobody is served by accident; the chart sets the pod's."""
    port: int = 50051
    """0 takes a free one; the log tells which."""
    max_request_bytes: int = 128 << 20
    """Largest model file. A ResNet-50 with its weights has 98 MB; larger ones come without weights (`stowplan strip`)."""
    max_questions: int = 20_000
    """Questions in one call: four verdicts on each of 5,000 nodes, if all differed."""
    max_calls_per_connection: int = 256
    """At a time; further calls wait in the client. What is received counts against no queue yet."""
    reflection: bool = False
    """Lets tools such as grpcurl list the methods."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"grpc.port {self.port} is not between 0 and 65535")
        if self.max_request_bytes < 1 << 10 or min(self.max_questions, self.max_calls_per_connection) < 1:
            raise ValueError("grpc.max_request_bytes must be at least 1024, grpc.max_questions and grpc.max_calls_per_connection at least 1")


@dataclass(frozen=True, slots=True)
class Tls:
    """Who we are, and whom we answer. Files are read again when they change, without a restart (Secrets in volumes are replaced in place)."""

    certificate_file: str = ""
    """PEM file of the server's certificate and what leads to its authority; empty: no TLS."""
    key_file: str = ""
    """PEM file of its private key."""
    client_ca_file: str = ""
    """PEM file of the authorities that sign the certificates of clients; nobody else is answered. Empty: everybody is."""
    client_names: tuple[str, ...] = ()
    """Names, one of which the certificate of a client must hold (subject alternative names); for authorities that sign for others too. None: any certificate
    of those authorities will do."""

    def __post_init__(self) -> None:
        if bool(self.certificate_file) != bool(self.key_file):
            raise ValueError("tls.certificate_file and tls.key_file belong together: set both, or neither")
        if self.client_ca_file and not self.certificate_file:
            raise ValueError("tls.client_ca_file needs tls.certificate_file and tls.key_file: without TLS no client shows a certificate")
        if self.client_names and not self.client_ca_file:
            raise ValueError("tls.client_names needs tls.client_ca_file: names in certificates that anybody can make say nothing")

    @property
    def enabled(self) -> bool:
        """Whether the port of grpc speaks TLS."""
        return bool(self.certificate_file)


@dataclass(frozen=True, slots=True)
class Health:
    """A port that answers health checks only, never with TLS: a kubelet's probe knows no certificates. The port of grpc answers them too."""

    host: str = "127.0.0.1"
    port: int | None = None
    """None: there is none; 0 takes a free one, which the log tells."""

    def __post_init__(self) -> None:
        if self.port is not None and not 0 <= self.port <= 65535:
            raise ValueError(f"health.port {self.port} is not between 0 and 65535")


@dataclass(frozen=True, slots=True)
class Work:
    """How much is done at a time. Analyses have a pool of their own, so that a huge model cannot keep a scheduler waiting."""

    predict_threads: int = 2
    """Regressors run in ONNX Runtime, which releases Python's lock; more threads than cores only add waiting."""
    predict_queue: int = 64
    """Calls that may wait beside; one more is told to come later. A warm call takes milliseconds, so the last one waits well below a second."""
    analyze_threads: int = 1
    """Files that are read at a time, each in a process of its own."""
    analyze_queue: int = 16
    analyze_queue_bytes: int = 192 << 20
    """Of all files together that are read or wait: they are held in memory. A single file may exceed it where nothing else waits."""
    retry_after_ms: int = 250
    """What a caller is told to wait who comes when the queue is full."""

    def __post_init__(self) -> None:
        if min(self.predict_threads, self.analyze_threads) < 1 or min(self.predict_queue, self.analyze_queue, self.analyze_queue_bytes) < 0:
            raise ValueError("work: threads must be at least 1 and queues at least 0")
        if not 1 <= self.retry_after_ms <= 60_000:
            raise ValueError("work.retry_after_ms must be between 1 and 60000")


@dataclass(frozen=True, slots=True)
class Analysis:
    """What reading one model file may cost. It is read in a process of its own (`serving.reading`), which is ended where it takes more."""

    timeout_s: float = 20.0
    """From the file's arrival in that process to its answer. Models of 20,000 nodes take a few seconds; the operator waits for 30."""
    memory_bytes: int = 512 << 20
    """Beside what the process takes when idle: the file itself, its structure unpacked, and what is computed from it."""
    limits: Limits = DEFAULT_LIMITS
    """Bounds on the file's own sizes and counts: they refuse early, and say what is too large."""

    def __post_init__(self) -> None:
        if not 0 < self.timeout_s <= 3600 or self.memory_bytes < 64 << 20:
            raise ValueError("analysis.timeout_s must be above 0 and at most 3600, and analysis.memory_bytes at least 67108864")


@dataclass(frozen=True, slots=True)
class Metrics:
    """Where Prometheus finds us."""

    host: str = "127.0.0.1"
    port: int = 9090
    """0 takes a free one; the log tells which."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"metrics.port {self.port} is not between 0 and 65535")


@dataclass(frozen=True, slots=True)
class Bundles:
    """What answers."""

    runtimes: tuple[str, ...] = ("onnxruntime-cpu", "torch-eager")
    """Shipped bundles to load, by runtime."""
    directories: tuple[str, ...] = ()
    """Further bundles; one for a runtime that is shipped too replaces the shipped one."""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """How it ends."""

    notice_s: float = 5.0
    """Between "not serving" and closing the door: time for Kubernetes to take the endpoint away everywhere."""
    grace_s: float = 10.0
    """What is under way may take so long; then it is cut off."""

    def __post_init__(self) -> None:
        if min(self.notice_s, self.grace_s) < 0:
            raise ValueError("shutdown: durations must not be negative")


@dataclass(frozen=True, slots=True)
class PredictorSettings:
    """All of them."""

    grpc: Grpc = field(default_factory=Grpc)
    tls: Tls = field(default_factory=Tls)
    health: Health = field(default_factory=Health)
    work: Work = field(default_factory=Work)
    analysis: Analysis = field(default_factory=Analysis)
    caches: CacheLimits = field(default_factory=CacheLimits)
    metrics: Metrics = field(default_factory=Metrics)
    bundles: Bundles = field(default_factory=Bundles)
    shutdown: Shutdown = field(default_factory=Shutdown)
    log_level: str = "info"

    def __post_init__(self) -> None:
        if self.log_level not in {"debug", "info", "warning", "error"}:
            raise ValueError(f"log_level {self.log_level[:32]!r} is none of debug, info, warning, error")
