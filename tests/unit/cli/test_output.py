"""Amounts are read and shown exactly; errors are a sentence for people and JSON for programs."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.cli.output import print_error, print_json, print_record, progress, to_wei, tokens
from emerit.errors import UsageError

MOST = (1 << 128) - 1


@given(st.integers(0, MOST))
def test_any_amount_survives_being_written_and_read(wei: int) -> None:
    assert to_wei(f"{wei // 10**18}.{wei % 10**18:018d}") == wei


@pytest.mark.parametrize(
    ("text", "wei"),
    [
        ("0", 0),
        ("1", 10**18),
        (" 12.5 ", 125 * 10**17),
        ("0.000000000000000001", 1),
        ("12345678901.123456789012345678", 12345678901123456789012345678),
    ],
)
def test_amounts_are_exact(text: str, wei: int) -> None:
    assert to_wei(text) == wei


@pytest.mark.parametrize(
    "text",
    ["", "-1", "+1", "1e3", "nan", "inf", "1,000", "1_000", ".5", "1.", "0.0000000000000000001", "١", "9" * 31, "1 0"],
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        to_wei(text)
    assert caught.value.code == "amount-invalid"
    assert repr(text) in caught.value.cause


def test_an_amount_fits_the_contracts() -> None:
    assert to_wei(f"{MOST // 10**18}.{MOST % 10**18:018d}") == MOST
    with pytest.raises(UsageError):
        to_wei(f"{MOST // 10**18 + 1}")


def test_zero_can_be_ruled_out() -> None:
    with pytest.raises(UsageError) as caught:
        to_wei("0.0", zero_allowed=False)
    assert "above 0" in caught.value.fix


@pytest.mark.parametrize(
    ("wei", "text"),
    [
        (0, "0.0000 EMR"),
        (10**18, "1.0000 EMR"),
        (1234567 * 10**18 + 10**14, "1,234,567.0001 EMR"),
        (10**14 - 1, "0.0000 EMR"),
        (29999999999999999999, "29.9999 EMR"),
    ],
)
def test_amounts_for_people_are_rounded_down(wei: int, text: str) -> None:
    assert tokens(wei) == text


def test_an_error_is_a_sentence_and_its_fix(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(UsageError("some-code", "It is [/wrong].", "Do it right."), as_json=False)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "error some-code: It is [/wrong].\n  fix: Do it right.\n"


def test_an_error_as_json_is_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(UsageError("some-code", "It is wrong.", "Do it right."), as_json=True)
    printed = capsys.readouterr()
    assert printed.err == ""
    assert json.loads(printed.out) == {"error": {"code": "some-code", "cause": "It is wrong.", "fix": "Do it right."}}


def test_records_line_up_and_json_shows_bytes_as_hex(capsys: pytest.CaptureFixture[str]) -> None:
    print_record({"a": 1, "long": "x"})
    assert capsys.readouterr().out == "a     1\nlong  x\n"
    print_json({"root": b"\x01\xff"})
    assert json.loads(capsys.readouterr().out) == {"root": "0x01ff"}


def test_progress_is_silent_off_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    progress("applying:")(1, 2)
    printed = capsys.readouterr()
    assert printed.out + printed.err == ""
