"""A revealed CID is a stranger's bytes: whatever they are, everybody's event reading goes on."""

from __future__ import annotations

from eth_abi import encode
from hypothesis import given
from hypothesis import strategies as st

from emerit.chain.artifacts import load_abi
from emerit.chain.records import Log


def reveal_log(cid: bytes) -> Log:
    event = load_abi("TrainingRun").events["ContributionRevealed"]
    data = encode(["bytes32", "bytes"], [b"\x01" * 32, cid])
    return Log("0x" + "00" * 20, (event.topic, bytes(32), bytes(32)), data, 1, bytes(32), "0x", 0)


@given(st.binary(max_size=128))
def test_any_bytes_as_a_cid_are_read_and_can_be_printed(cid: bytes) -> None:
    decoded = load_abi("TrainingRun").events["ContributionRevealed"].decode(reveal_log(cid))["cid"]
    assert isinstance(decoded, str)
    decoded.encode("utf-8")


@given(st.text(max_size=40).filter(lambda text: text.isprintable()))
def test_good_utf8_comes_as_it_is(text: str) -> None:
    assert load_abi("TrainingRun").events["ContributionRevealed"].decode(reveal_log(text.encode()))["cid"] == text
