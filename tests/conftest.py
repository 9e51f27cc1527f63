"""Fixtures that start the real control plane, and the rule about skipping.

A test marked `controlplane` drives real programs, built by `tools/controlplane.py`. It is skipped only where a probe shows that they are neither
built nor can be: no Go, and no way to get it. With CI=true any skip whose reason does not start with `probe:` is an error, so that nothing is lost unseen.
"""

import asyncio
import os
import platform
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))

import certificate_programs
import controlplane_parts as parts
import monitoring_programs
import realnode_images
import realnode_programs
from controlplane_binaries import Binaries, ensure
from controlplane_clusters import Cluster, free_ports
from controlplane_errors import GoMissing
from monitoring_programs import MonitoringPrograms

PROBE_PREFIX = "probe:"

_cluster = pytest.StashKey[Cluster]()
_log_sizes = pytest.StashKey[dict[Path, int]]()
# What a failed test shows of each log, at most: its end.
_SHOWN_LOG_BYTES = 4000
# Of a test on the control plane with all its fixtures.
_LIMIT_S = 600


@pytest.fixture(scope="session", autouse=True)
def main_loop() -> Iterator[None]:
    """The main thread's event loop, closed at the end: pytest-asyncio asks for one before the first test, and nobody closes what is made then."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    loop.close()


@pytest.fixture(scope="session")
def controlplane_binaries() -> Binaries:
    """The control plane's programs; built in `pytest_collection_finish` where they were not yet."""
    try:
        return ensure()
    except GoMissing as missing:
        pytest.skip(f"{PROBE_PREFIX} {missing}")


@pytest.fixture(scope="session")
def image_archive(controlplane_binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All images of a real node in one archive: ours, built without an engine, and those of single programs."""
    here = f"{sys.platform}-{platform.machine()}"
    if here != "linux-x86_64":
        pytest.skip(f"{PROBE_PREFIX} without an engine images are built on linux-x86_64 only, and this is {here}")
    archive = tmp_path_factory.mktemp("image-archive") / "images.tar"
    try:
        realnode_images.write(controlplane_binaries, realnode_programs.ensure(), archive)
    except GoMissing as missing:
        pytest.skip(f"{PROBE_PREFIX} {missing}")
    return archive


@pytest.fixture(scope="session")
def monitoring_tools() -> MonitoringPrograms:
    """Prometheus and promtool."""
    here = f"{sys.platform}-{platform.machine()}"
    if here != monitoring_programs.PLATFORM:
        pytest.skip(f"{PROBE_PREFIX} Prometheus is pinned for {monitoring_programs.PLATFORM} only, and this is {here}")
    return monitoring_programs.ensure()


@pytest.fixture(scope="session")
def monitoring_stack(monitoring_tools: MonitoringPrograms) -> MonitoringPrograms:
    """The same, and the Prometheus operator and discovery; built in `pytest_collection_finish` where they were not yet."""
    try:
        monitoring_programs.operator()
        monitoring_programs.discovery()
    except GoMissing as missing:
        pytest.skip(f"{PROBE_PREFIX} {missing}")
    return monitoring_tools


@pytest.fixture(scope="session")
def cert_manager() -> Path:
    """cert-manager's controller; built in `pytest_collection_finish` where it was not yet."""
    try:
        return certificate_programs.issuing()
    except GoMissing as missing:
        pytest.skip(f"{PROBE_PREFIX} {missing}")


@pytest.fixture(scope="session")
def apiserver(controlplane_binaries: Binaries, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Etcd and the API server with RBAC: enough for CRDs, validation, watches. Nothing runs pods, collects garbage or makes service accounts."""
    cluster = Cluster(controlplane_binaries, tmp_path_factory.mktemp("controlplane"))
    request.config.stash[_cluster] = cluster
    try:
        parts.start_apiserver(cluster)
        yield cluster
    finally:
        cluster.stop_all()


@pytest.fixture(scope="session")
def extender_url() -> str:
    """Where the scheduler named stowplan asks; nobody listens there until a test starts an extender."""
    return f"http://127.0.0.1:{free_ports(1)[0]}"


@pytest.fixture(scope="session")
def controlplane(apiserver: Cluster, extender_url: str) -> Cluster:
    """The whole control plane: also controllers, kwok's nodes, the default scheduler, and an unmodified one named stowplan that asks an extender."""
    parts.start_controller_manager(apiserver)
    parts.start_kwok(apiserver)
    parts.start_scheduler(apiserver, "default-scheduler")
    parts.start_scheduler(apiserver, "stowplan", extender_url)
    return apiserver


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test that drives the control plane waits for its start, too: on a busy machine longer than a test of our own code may take."""
    for item in items:
        if item.get_closest_marker("controlplane") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(_LIMIT_S))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Builds control plane, Prometheus operator and cert-manager before the first test, outside any test's time limit, where collected tests need them."""
    if session.config.option.collectonly or not any(item.get_closest_marker("controlplane") for item in session.items):
        return
    try:
        ensure()
        if any("monitoring_stack" in getattr(item, "fixturenames", ()) for item in session.items):
            monitoring_programs.operator()
            monitoring_programs.discovery()
        if any("cert_manager" in getattr(item, "fixturenames", ()) for item in session.items):
            certificate_programs.issuing()
    except GoMissing:
        return  # the fixture says so in each test's skip


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, bool, bool]:  # noqa: ARG001 -- named by pytest
    """Remembers how long each log was when a test began."""
    cluster = item.config.stash.get(_cluster, None)
    item.stash[_log_sizes] = {log: log.stat().st_size for log in cluster.run_dir.glob("logs/*.log")} if cluster else {}
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:  # noqa: ARG001
    """Shows what the control plane's programs logged during a failed test, and refuses skips that no probe justifies."""
    report = yield
    _refuse_unproven_skip(report)
    cluster = item.config.stash.get(_cluster, None)
    if report.failed and cluster is not None and "apiserver" in getattr(item, "fixturenames", ()):
        for log in sorted(cluster.run_dir.glob("logs/*.log")):
            written = log.read_bytes()[item.stash[_log_sizes].get(log, 0) :]
            if written:
                report.sections.append((f"log of {log.stem}", written[-_SHOWN_LOG_BYTES:].decode(errors="replace")))
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:  # noqa: ARG001
    """Refuses skips of whole modules that no probe justifies."""
    report = yield
    _refuse_unproven_skip(report)
    return report


def _refuse_unproven_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if os.environ.get("CI") != "true" or not report.skipped or hasattr(report, "wasxfail") or not isinstance(report.longrepr, tuple):
        return
    reason = str(report.longrepr[2]).removeprefix("Skipped: ")
    if not reason.startswith(PROBE_PREFIX):
        report.outcome = "failed"
        report.longrepr = f"skipped under CI=true, and the reason does not start with `{PROBE_PREFIX}`: {reason}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says aloud what did not run, and why."""
    skipped = terminalreporter.getreports("skipped")
    if skipped:
        terminalreporter.write_sep("!", f"{len(skipped)} SKIPPED: not shown on this machine", yellow=True, bold=True)
        for reason in sorted({str(report.longrepr[2]) for report in skipped if isinstance(report.longrepr, tuple)}):
            terminalreporter.write_line(f"  {reason}")
