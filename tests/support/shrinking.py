"""Shrinking: from an input that fails to a small one that fails alike. Chunks are cut out, large ones first, for as long as the same kind of error comes."""

from collections.abc import Callable


def shrunk(data: bytes, run: Callable[[bytes], None]) -> bytes:
    """The smallest input found; the input itself where it does not fail."""
    kind = _failure(data, run)
    if kind is None:
        return data
    size = max(1, len(data) // 2)
    while size:
        start = 0
        while start < len(data):
            shorter = data[:start] + data[start + size :]
            if _failure(shorter, run) == kind:
                data = shorter
            else:
                start += size
        size //= 2
    return data


def _failure(data: bytes, run: Callable[[bytes], None]) -> tuple[type, str] | None:
    """Kind of the error, and the function in which it was raised."""
    try:
        run(data)
    except Exception as error:  # noqa: BLE001 -- whatever it is, it is to be had again
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        return type(error), trace.tb_frame.f_code.co_qualname if trace is not None else ""
    return None
