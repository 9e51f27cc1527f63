"""Files that want to cost more than they are worth: each is refused by name within the limits of time and memory that the settings name."""

import time
from collections.abc import Callable, Iterator

import pytest
from stowplan_fleet.errors import GraphRefused
from stowplan_predictor.errors import GraphTooLarge
from stowplan_predictor.serving.readers import Readers
from stowplan_predictor.serving.settings import Analysis
from support.hostile_models import HOSTILE, chain, weighted

DEFAULTS = Analysis()
# Of a process that has read nothing yet: Python, NumPy, ONNX and ONNX Runtime, loaded.
IDLE_BYTES = 110 << 20


@pytest.fixture(scope="module")
def readers() -> Iterator[Readers]:
    """One process with the default limits."""
    found = Readers(DEFAULTS, 1)
    yield found
    found.close()


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_within_time_and_memory(readers: Readers, name: str) -> None:
    """By the error that says what is wrong, in a fraction of the time allowed; the process holds no more than its memory and lives on."""
    make, wanted = HOSTILE[name]
    file = make()
    replaced, readers.peak_bytes = readers.replaced, 0
    started = time.monotonic()

    with pytest.raises(GraphRefused) as refusal:
        readers(file, {})

    assert type(refusal.value).__name__ == wanted
    assert len(str(refusal.value)) < 1000
    assert time.monotonic() - started < DEFAULTS.timeout_s / 2
    assert 0 < readers.peak_bytes < IDLE_BYTES + DEFAULTS.memory_bytes
    assert readers.replaced <= replaced + 1


def test_a_file_that_takes_too_long_is_refused_and_the_next_is_read() -> None:
    """Its process is ended, and a fresh one answers: also where the file breaks none of the counts."""
    readers = Readers(Analysis(timeout_s=0.3), 1)
    try:
        assert readers(chain(3), {}).summary.operators == 3
        started = time.monotonic()
        with pytest.raises(GraphTooLarge, match=r"longer than 0\.3 s"):
            readers(chain(30_000), {})
        assert time.monotonic() - started < 5
        assert readers(chain(3), {}).summary.operators == 3
        assert readers.replaced == 1
    finally:
        readers.close()


@pytest.mark.parametrize("make", [lambda: weighted(80 << 20), lambda: chain(40_000)], ids=["the file", "what it unpacks to"])
def test_a_file_that_takes_too_much_memory_is_refused_and_the_next_is_read(make: Callable[[], bytes]) -> None:
    """The limit holds where the file itself does not fit, and where only what it unpacks to does not."""
    readers = Readers(Analysis(memory_bytes=64 << 20), 1)
    try:
        with pytest.raises(GraphTooLarge, match=f"more than {64 << 20} bytes of memory"):
            readers(make(), {})
        assert readers(chain(3), {}).summary.operators == 3
    finally:
        readers.close()


def test_weights_take_no_more_memory_than_the_file() -> None:
    """A hundred megabytes of weights are passed by: nothing of them is unpacked or copied."""
    readers = Readers(DEFAULTS, 1)
    try:
        assert readers(weighted(100 << 20), {}).summary.parameter_bytes == 100 << 20
        assert readers.peak_bytes < IDLE_BYTES + (110 << 20)
    finally:
        readers.close()
