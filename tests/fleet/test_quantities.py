"""Kubernetes quantities."""

import contextlib
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.utils import parse_quantity as reference
from stowplan_fleet import quantities
from stowplan_fleet.errors import QuantityRefused

_numbers = st.one_of(
    st.integers(0, 10**15).map(str),
    st.decimals(0, 10**9, places=3, allow_nan=False).map(lambda number: format(number, "f")),
)
_suffixes = st.sampled_from(["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "e3", "E-2", "e+6"])


@given(_numbers, _suffixes)
def test_quantities_mean_what_the_official_client_says(number: str, suffix: str) -> None:
    """Every well-formed quantity has exactly the value the official client gives it."""
    if suffix[:1] in {"e", "E"} and len(suffix) > 1 and not suffix.endswith("i"):
        expected = reference(number) * reference("1") * 10 ** int(suffix[1:]) if int(suffix[1:]) >= 0 else reference(number) / 10 ** -int(suffix[1:])
    else:
        expected = reference(number + suffix)

    assert quantities.parse_quantity(number + suffix) == expected


@given(st.text(string.printable, max_size=12))
def test_any_text_is_a_quantity_or_refused_by_name(text: str) -> None:
    """Whatever is written, the answer is a number or a QuantityRefused, never another error."""
    with contextlib.suppress(QuantityRefused):
        assert quantities.parse_quantity(text).is_finite()


@pytest.mark.parametrize("text", ["", "m", "1 Gi", "1GiB", "NaN", "inf", "0x10", "1e999", "--1", "1" * 31, "\u0661"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    """Near misses are refused, not read as something else."""
    with pytest.raises(QuantityRefused):
        quantities.parse_quantity(text)


@given(st.integers(0, 10**9))
def test_millicores_survive_being_written(value: int) -> None:
    """The shortest spelling reads back as the same number."""
    assert quantities.millicores(quantities.format_millicores(value)) == value


@pytest.mark.parametrize(("text", "expected"), [("1500u", 2), ("0.5", 500), ("1n", 1), ("2", 2000)])
def test_millicores_round_up(text: str, expected: int) -> None:
    """A fraction of a thousandth counts as a whole one, as the API server does it."""
    assert quantities.millicores(text) == expected
