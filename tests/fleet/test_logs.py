"""Logs as JSON lines."""

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest
from stowplan_fleet import logs
from support.virtual_clocks import HandClock


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where the lines go; the process' own logging is put back afterwards."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    written = io.StringIO()
    logs.configure("info", written)
    yield written
    logging.captureWarnings(False)
    root.handlers[:], root.level = before, level


def test_a_line_is_one_object_with_stable_keys(stream: io.StringIO) -> None:
    """Time, level, logger and message come first; fields follow."""
    logging.getLogger("a.b").info("bound", extra=logs.about("Pod", "n", "p", "u") | {"node": "x"})
    line = json.loads(stream.getvalue())

    assert list(line)[:4] == ["ts", "level", "logger", "msg"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("ts"))
    assert line == {"level": "info", "logger": "a.b", "msg": "bound", "object": {"kind": "Pod", "ns": "n", "name": "p", "uid": "u"}, "node": "x"}


def test_an_exception_stays_on_its_line(stream: io.StringIO) -> None:
    """A traceback is a field, however many lines it has, and what JSON does not know is written as text."""
    try:
        raise ValueError("broken\nfile")
    except ValueError:
        logging.getLogger("a").exception("refused", extra={"what": {1, 2}})
    lines = stream.getvalue().splitlines()

    assert len(lines) == 1
    assert "broken\nfile" in json.loads(lines[0])["exc_info"]


def test_the_level_holds(stream: io.StringIO) -> None:
    """What is below the level is not written."""
    logging.getLogger("a").debug("detail")

    assert stream.getvalue() == ""


def test_seldom_lets_a_few_lines_a_minute_through() -> None:
    """Of a thousand a second three are due in each minute, and each minute's first one knows how many were left out."""
    clock = HandClock()
    seldom = logs.Seldom(3, clock)
    assert [seldom.due() for _ in range(1000)].count(True) == 3
    assert seldom.left_out() == 997
    clock.now = 59.9
    assert not seldom.due()
    clock.now = 60.0
    assert seldom.due()
    assert (seldom.left_out(), seldom.left_out()) == (1, 0)
