"""Byte-pair encoding: exact, the same twice, and nothing but its own canonical list of merges is ever read."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.data import BpeTokenizer
from emerit.data.bpe import MAX_TOKEN_BYTES
from emerit.errors import RefusedError, UsageError
from emerit.protocol.manifest import TokenizerSpec

TEXTS = [
    b"the cat that sat on the mat thought that the rat that it saw was the cat that sat there\n" * 4,
    "Zürich, Straße, größer, naïve, 東京, 🙂🙂\n".encode() * 3,
    b"to be or not to be: that is the question; whether 'tis nobler in the mind to suffer\n" * 4,
]


@cache
def trained() -> BpeTokenizer:
    return BpeTokenizer.train(TEXTS, 320)


def spec_of(data: bytes, vocabulary: int = 320) -> TokenizerSpec:
    return TokenizerSpec("bpe", max(257, vocabulary), "Qm", hashlib.sha256(data).hexdigest())


def by_hand(word: bytes, merges: Sequence[tuple[int, int]], pieces: Sequence[bytes]) -> list[int]:
    """Encode a word without the library: always the merge that was learnt first."""
    ids = {piece: token for token, piece in enumerate(pieces)}
    rank = {pair: place for place, pair in reversed(list(enumerate(merges)))}
    tokens = list(word)
    while True:
        pairs = [(rank[pair], at) for at, pair in enumerate(pairwise(tokens)) if pair in rank]
        if not pairs:
            return tokens
        _, at = min(pairs)
        tokens[at : at + 2] = [ids[pieces[tokens[at]] + pieces[tokens[at + 1]]]]


def test_the_same_text_gives_the_same_tokenizer() -> None:
    again = BpeTokenizer.train(list(TEXTS), 320)
    assert again.to_bytes() == trained().to_bytes()
    assert again.vocabulary == 320
    other = BpeTokenizer.train(TEXTS[:1] + TEXTS[2:], 280)
    assert other.to_bytes() != trained().to_bytes()


def test_training_says_nothing_of_threads_to_anybody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    BpeTokenizer.train(TEXTS, 260)
    assert "TOKENIZERS_PARALLELISM" not in os.environ
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    trained().encode(b"the")
    assert os.environ["TOKENIZERS_PARALLELISM"] == "true"


@given(st.text(max_size=200))
def test_every_text_comes_back(text: str) -> None:
    tokenizer, data = trained(), text.encode()
    tokens = tokenizer.encode(data)
    assert tokens.dtype == np.uint16
    assert tokenizer.decode(tokens) == data
    assert int(tokenizer.token_lengths[tokens.astype(np.int64)].sum()) == len(data)


def test_known_words_take_fewer_tokens_than_bytes() -> None:
    assert len(trained().encode(TEXTS[0])) < 0.5 * len(TEXTS[0])


@given(st.text(st.sampled_from("thecarosuüßi"), min_size=1, max_size=30))
def test_words_are_merged_as_by_hand(word: str) -> None:
    tokenizer = trained()
    pieces = [tokenizer.decode(np.array([token])) for token in range(tokenizer.vocabulary)]
    assert tokenizer.encode(word.encode()).tolist() == by_hand(word.encode(), tokenizer.merges, pieces)


@given(st.data())
def test_any_list_of_merges_means_one_thing(data: st.DataObject) -> None:
    merges: list[tuple[int, int]] = []
    known = [97, 98, 99]
    for _ in range(data.draw(st.integers(1, 12))):
        pair = (data.draw(st.sampled_from(known)), data.draw(st.sampled_from(known)))
        if pair in merges:
            continue
        try:
            made = BpeTokenizer([*merges, pair])
        except ValueError:
            continue  # the token would be too long
        merges.append(pair)
        known = [97, 98, 99, *range(256, made.vocabulary)]
    if not merges:
        return
    tokenizer = BpeTokenizer(merges)
    read = BpeTokenizer.from_bytes(tokenizer.to_bytes(), spec_of(tokenizer.to_bytes(), tokenizer.vocabulary))
    pieces = [read.decode(np.array([token])) for token in range(read.vocabulary)]
    assert len(set(pieces)) == read.vocabulary
    word = data.draw(st.text(st.sampled_from("abc"), min_size=1, max_size=40)).encode()
    assert read.encode(word).tolist() == by_hand(word, merges, pieces)
    assert read.decode(read.encode(word)) == word


def test_a_file_comes_back() -> None:
    data = trained().to_bytes()
    read = BpeTokenizer.from_bytes(data, spec_of(data))
    assert read.merges == trained().merges
    assert read.encode(TEXTS[0]).tolist() == trained().encode(TEXTS[0]).tolist()
    assert len(data) <= spec_of(data).max_file_bytes


def _doubling(count: int) -> list[list[int]]:
    return [[97, 97], *([255 + place, 255 + place] for place in range(1, count))]


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["merges"].append([0, 320]),
        lambda d: d["merges"].append(d["merges"][3]),
        lambda d: d["merges"].append([70_000, 0]),
        lambda d: d["merges"].append([99_999, 99_999]),
        lambda d: d["merges"].append([0, 1, 2]),
        lambda d: d["merges"].append([-1, 0]),
        lambda d: d["merges"].append([0.0, 1]),
        lambda d: d["merges"].append("ab"),
        lambda d: d["merges"].append([0, 1]),
        lambda d: d["merges"].pop(),
        lambda d: d.update(merges=_doubling(64)),
        lambda d: d.update(merges=[]),
        lambda d: d.update(merges={}),
        lambda d: d.update(format="emerit-bpe-2"),
        lambda d: d.update(normalizer="lower"),
        lambda d: d.pop("format"),
    ],
)
def test_a_wrong_file_is_refused(change: Callable[[dict[str, object]], object]) -> None:
    document = json.loads(trained().to_bytes())
    change(document)
    data = json.dumps(document, separators=(",", ":")).encode()
    with pytest.raises(RefusedError) as caught:
        BpeTokenizer.from_bytes(data, spec_of(data))
    assert caught.value.code == "tokenizer-invalid"


@pytest.mark.parametrize(
    ("old", "new"), [(b",", b", "), (b"[[", b"[[0"), (b"]]}", b"]]}\n"), (b'"format"', b'"\\u0066ormat"')]
)
def test_another_spelling_of_a_file_is_refused(old: bytes, new: bytes) -> None:
    data = trained().to_bytes().replace(old, new, 1)
    with pytest.raises(RefusedError, match="tokenizer-invalid"):
        BpeTokenizer.from_bytes(data, spec_of(data))


def test_a_file_that_the_manifest_does_not_name_is_not_read() -> None:
    data = trained().to_bytes()
    with pytest.raises(RefusedError, match="tokenizer-hash"):
        BpeTokenizer.from_bytes(data + b" ", spec_of(data))


def test_a_file_beyond_its_bound_is_not_parsed() -> None:
    data = b"[" * (1024 + 32 * 320 + 1)
    with pytest.raises(RefusedError, match="are allowed"):
        BpeTokenizer.from_bytes(data, spec_of(data))


@given(st.binary(max_size=80))
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(RefusedError, match="tokenizer-invalid"):
        BpeTokenizer.from_bytes(data, spec_of(data))


def test_tokens_are_bounded_in_length() -> None:
    BpeTokenizer([(97, 97), (256, 256), (257, 257), (258, 258), (259, 259), (260, 260)])
    with pytest.raises(ValueError, match=f"more than {MAX_TOKEN_BYTES} bytes"):
        BpeTokenizer([(97, 97), (256, 256), (257, 257), (258, 258), (259, 259), (260, 260), (261, 97)])


def test_two_ways_to_one_token_make_it_once() -> None:
    tokenizer = BpeTokenizer([(97, 98), (98, 99), (256, 99), (97, 257)])
    assert tokenizer.vocabulary == 259
    assert tokenizer.decode(np.array([258])) == b"abc"
    assert tokenizer.encode(b"abc").tolist() == [258]


def test_what_cannot_be_encoded_or_decoded_is_named() -> None:
    with pytest.raises(UsageError, match="text-not-utf8"):
        trained().encode(b"\xff\xfe")
    with pytest.raises(UsageError, match="text-not-utf8"):
        BpeTokenizer.train([b"t\xe9"], 260)
    with pytest.raises(UsageError, match=r"vocabulary-too-large.*--vocabulary"):
        BpeTokenizer.train([b"aaaa bbbb"], 1000)
    for wrong in (320, -1):
        with pytest.raises(UsageError, match="token-range"):
            trained().decode(np.array([0, wrong]))
