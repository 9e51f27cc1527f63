"""Settings of the predictor's process; the environment's names are `STOWPLAN_PREDICTOR_<GROUP>_<FIELD>`."""

from dataclasses import dataclass, field
from typing import Final

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
    reflection: bool = False
    """Lets tools such as grpcurl list the methods."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"grpc.port {self.port} is not between 0 and 65535")
        if self.max_request_bytes < 1 << 10 or self.max_questions < 1:
            raise ValueError("grpc.max_request_bytes must be at least 1024 and grpc.max_questions at least 1")


@dataclass(frozen=True, slots=True)
class Work:
    """How much is done at a time. Analyses have a pool of their own, so that a huge model cannot keep a scheduler waiting."""

    predict_threads: int = 2
    """Regressors run in ONNX Runtime, which releases Python's lock; more threads than cores only add waiting."""
    predict_queue: int = 64
    """Calls that may wait beside; one more is told to come later. A warm call takes milliseconds, so the last one waits well below a second."""
    analyze_threads: int = 1
    analyze_queue: int = 4
    """Each waiting analysis holds its file in memory: up to grpc.max_request_bytes each."""

    def __post_init__(self) -> None:
        if min(self.predict_threads, self.analyze_threads) < 1 or min(self.predict_queue, self.analyze_queue) < 0:
            raise ValueError("work: threads must be at least 1 and queues at least 0")


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

    runtimes: tuple[str, ...] = ("onnxruntime-cpu",)
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
    work: Work = field(default_factory=Work)
    metrics: Metrics = field(default_factory=Metrics)
    bundles: Bundles = field(default_factory=Bundles)
    shutdown: Shutdown = field(default_factory=Shutdown)
    log_level: str = "info"

    def __post_init__(self) -> None:
        if self.log_level not in {"debug", "info", "warning", "error"}:
            raise ValueError(f"log_level {self.log_level[:32]!r} is none of debug, info, warning, error")
