"""Numbers in what others wrote: what is none that a program measures is refused where it is read."""

import msgspec
import pytest

from ncclprobe.decoding import finite, from_json, is_measured


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (1, 1.0), ("12.5", 12.5), (-0.0, 0.0), ("1e100", 1e100), (1e101, None), ("1e309", None), ("9" * 4000, None),
        (10**400, None), (float("nan"), None), ("nan", None), ("inf", None), (True, None), (None, None), ([], None),
        ("x", None),
    ],
)  # fmt: skip
def test_a_finite_number_is_one_that_can_be_calculated_with(value, number):
    assert finite(value) == number


@pytest.mark.parametrize("value", [0.0, -1.0, 1e-320, 1e300, float("inf"), float("nan")])
def test_what_has_no_logarithm_or_inverse_is_not_measured(value):
    assert not is_measured(value)
    assert is_measured(1e-9) and is_measured(1e9)


@pytest.mark.parametrize(
    "number",
    [
        "18446744073709551616", "-9223372036854775809", "9" * 4000, "1e101", "-1e200", "1E+101", "0.1e102",
        "12345678901234567e85", "9" * 101 + ".0",
    ],
)  # fmt: skip
def test_numbers_that_no_program_of_ours_writes_are_refused_wherever_they_stand(number):
    with pytest.raises(msgspec.DecodeError, match="is too large a number"):
        from_json(f'{{"a": [1, {{"b": {number}}}]}}', dict)


def test_counters_of_64_bits_are_read():
    largest = (1 << 64) - 1
    assert from_json(f"[{largest}, {-(1 << 63)}, 1e100]", list) == [largest, -(1 << 63), 1e100]
    assert from_json('{"7": 1}', dict[int, int]) == {7: 1}
