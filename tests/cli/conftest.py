"""A desk to sit at: a small model, a made-up device and a made-up bundle as files, and the command line as people reach it."""

import asyncio
from collections.abc import Iterator

import pytest
from stowplan_cli.main import build
from stowplan_fleet import descriptors
from support.command_lines import Desk, Outcome, Run
from support.synthetic_bundles import DEVICE, chain_model, write_synthetic_bundle
from typer.testing import CliRunner


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A model, a bundle and a device; nobody writes to them."""
    folder = tmp_path_factory.mktemp("desk")
    found = Desk(folder / "chain.onnx", folder / "bundle", folder / "device.json")
    found.model.write_bytes(chain_model())
    write_synthetic_bundle(found.bundle)
    found.device.write_bytes(descriptors.write_device(DEVICE))
    return found


def _runner(*, plugin: bool) -> Run:
    def invoke(*arguments: object) -> Outcome:
        result = CliRunner().invoke(build(plugin=plugin), [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Outcome(result.exit_code, result.stdout, result.stderr)

    return invoke


@pytest.fixture
def run() -> Run:
    """Runs a command in this process; errors that no command expects are raised."""
    return _runner(plugin=False)


@pytest.fixture
def plugin() -> Run:
    """The same for the plugin of kubectl."""
    return _runner(plugin=True)


@pytest.fixture(autouse=True)
def closed_loop() -> Iterator[None]:
    """The looptime plugin makes a loop before a synchronous test; the command's `asyncio.run` would drop it unclosed."""
    try:
        loop = asyncio.get_event_loop_policy().get_event_loop()
    except RuntimeError:
        yield
        return
    yield
    loop.close()
    asyncio.set_event_loop(None)
