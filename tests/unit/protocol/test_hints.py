from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.ipfs.cid import cid_of
from emerit.protocol.hints import MAX_HINT_BYTES, Hint
from emerit.protocol.run_model import base

CIDS = st.binary(max_size=8).map(cid_of)


@given(CIDS, st.none() | CIDS)
def test_a_hint_comes_back_and_fits_the_contract(aggregate: str, checkpoint: str | None) -> None:
    text = str(Hint(aggregate, checkpoint))
    assert len(text.encode()) <= MAX_HINT_BYTES == base.MAX_CID_BYTES
    assert Hint.parse(text) == Hint(aggregate, checkpoint)


def test_a_single_cid_is_what_it_was_before_checkpoints() -> None:
    assert str(Hint("QmAggregate")) == "QmAggregate"
    assert Hint.parse("QmAggregate") == Hint("QmAggregate", None)


def test_a_checkpoint_that_does_not_fit_is_left_out() -> None:
    assert str(Hint("a" * 63, "b" * 64)) == f"{'a' * 63} {'b' * 64}"
    assert str(Hint("a" * 64, "b" * 64)) == "a" * 64


@pytest.mark.parametrize("text", ["", " ", "a ", " b", "a b c", "a  b", "a\tb", "a ../b", "é b", "a " + "b" * 127])
def test_other_texts_name_no_checkpoint(text: str) -> None:
    assert Hint.parse(text) == Hint(text, None)


@given(st.text(max_size=200))
def test_no_text_is_too_odd_to_be_read(text: str) -> None:
    hint = Hint.parse(text)
    assert hint.checkpoint_cid is None or hint.checkpoint_cid.isalnum()
    assert str(hint) == text
