"""Byte-pair encoding: trained on a corpus, published as its list of merges (Sennrich et al., arXiv 1508.07909).

Tokens 0 to 255 are the bytes. Each merge joins two tokens, and makes a new one unless one with the same bytes is there
already; so ids, bytes and order all follow from the list of merges, and the file is that list in one canonical form:
`{"format":"emerit-bpe-1","merges":[[116,104],[256,101],...]}`, ASCII without spaces. Nothing else of a stranger's
tokenizer is ever read: how text falls into words before merging is fixed here (byte level with GPT-2's pattern).

The `tokenizers` library trains and encodes. It runs in one thread here, so that the same text gives the same merges.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from emerit.data.tokens import Tokens, check_tokens
from emerit.errors import RefusedError, UsageError
from emerit.protocol.manifest import BYTE_TOKENS, TokenizerSpec
from emerit.protocol.strangers_json import read_json

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Library

FORMAT: Final = "emerit-bpe-1"
MAX_TOKEN_BYTES: Final = 64
"""Longest token: without a limit, a list of merges that each double their token would fill any memory."""
_FILE: Final = re.compile(rb'\{"format":"emerit-bpe-1","merges":\[(\[\d{1,5},\d{1,5}\](,\[\d{1,5},\d{1,5}\])*)?\]\}')
_THREADS: Final = "TOKENIZERS_PARALLELISM"

Merge = tuple[int, int]


class BpeTokenizer:
    """Byte-pair encoding with a fixed list of merges; see `Tokenizer`."""

    name = "bpe"

    def __init__(self, merges: Sequence[Merge]) -> None:
        """Build the tokens that the merges make; raises ValueError when one is not possible."""
        self.merges = tuple((int(left), int(right)) for left, right in merges)
        self._pieces = _pieces(self.merges)
        self.vocabulary = len(self._pieces)
        self.token_lengths: NDArray[np.int64] = np.array([len(piece) for piece in self._pieces], dtype=np.int64)
        self._library: Library | None = None

    @classmethod
    def train(cls, texts: Iterable[bytes], vocabulary: int) -> BpeTokenizer:
        """Return the tokenizer with `vocabulary` tokens that suits the texts best; one text is in memory at a time.

        Raises:
            UsageError: `text-not-utf8`; `vocabulary-too-large` when the texts have not so many different parts.
        """
        from tokenizers import trainers

        library = _library({}, [])
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary,
            min_frequency=2,
            show_progress=False,
            initial_alphabet=list(_alphabet().values()),
            max_token_length=MAX_TOKEN_BYTES,
        )
        with _one_thread():
            library.train_from_iterator((_text(text) for text in texts), trainer)
        made = cls(_own_merges(json.loads(library.to_str())["model"]["merges"]))
        if made.vocabulary < vocabulary:
            raise UsageError(
                "vocabulary-too-large",
                f"The training text has parts for {made.vocabulary} tokens, not for {vocabulary}.",
                f"Use --vocabulary {max(BYTE_TOKENS + 1, made.vocabulary)} or less, or add text.",
            )
        return made

    @classmethod
    def from_bytes(cls, data: bytes, spec: TokenizerSpec) -> BpeTokenizer:
        """Return the tokenizer that a file holds, once it is found to be the manifest's.

        Raises:
            RefusedError: `tokenizer-hash`, or `tokenizer-invalid` when the file is not in the one canonical form, or
                makes another number of tokens than the manifest says.
        """
        if hashlib.sha256(data).hexdigest() != spec.sha256:
            raise RefusedError("tokenizer-hash", "The tokenizer's file is not what the manifest names.", _NOTHING)
        if len(data) > spec.max_file_bytes:
            raise _invalid(f"it has {len(data)} bytes; {spec.max_file_bytes} are allowed")
        if _FILE.fullmatch(data) is None:
            raise _invalid("it is not a list of merges in canonical form")
        try:
            made = cls([(left, right) for left, right in read_json(data)["merges"]])
        except ValueError as error:
            raise _invalid(str(error)) from error
        if made.to_bytes() != data:
            raise _invalid("it is not in canonical form")
        if made.vocabulary != spec.vocabulary:
            raise _invalid(f"it makes {made.vocabulary} tokens, the manifest says {spec.vocabulary}")
        return made

    def to_bytes(self) -> bytes:
        """Return the file: canonical JSON of the merges."""
        return json.dumps({"format": FORMAT, "merges": self.merges}, separators=(",", ":")).encode("ascii")

    def encode(self, text: bytes) -> Tokens:
        """Return the tokens of UTF-8 text, uint16[]; raises UsageError `text-not-utf8`."""
        if self._library is None:
            self._library = _library_of(self.merges, self._pieces)
        with _one_thread():
            return np.array(self._library.encode_batch_fast([_text(text)])[0].ids, dtype=np.uint16)

    def decode(self, tokens: NDArray[np.integer[Any]]) -> bytes:
        """Return the bytes that tokens stand for; raises UsageError `token-range`."""
        check_tokens(tokens, self.vocabulary)
        return b"".join(self._pieces[token] for token in np.asarray(tokens).tolist())


_NOTHING: Final = "Nothing to do on this side; the sponsor has to publish the right file."


def _pieces(merges: Sequence[Merge]) -> list[bytes]:
    """Return the bytes of every token, by id."""
    pieces = [bytes([value]) for value in range(BYTE_TOKENS)]
    known = set(pieces)
    if len(set(merges)) < len(merges):
        raise ValueError("it has a merge twice")
    for place, (left, right) in enumerate(merges):
        if not (0 <= left < len(pieces) and 0 <= right < len(pieces)):
            raise ValueError(f"merge {place} is of a token that is not there yet")
        joined = pieces[left] + pieces[right]
        if len(joined) > MAX_TOKEN_BYTES:
            raise ValueError(f"merge {place} makes a token of more than {MAX_TOKEN_BYTES} bytes")
        if joined not in known:
            known.add(joined)
            pieces.append(joined)
    return pieces


def _own_merges(merges: Iterable[Sequence[str]]) -> list[Merge]:
    """Return the library's merges, pairs of its spelling, as pairs of our ids."""
    byte_of = {letter: value for value, letter in _alphabet().items()}
    ids: dict[bytes, int] = {bytes([value]): value for value in range(BYTE_TOKENS)}
    out = []
    for pair in merges:
        left, right = (bytes(byte_of[letter] for letter in part) for part in pair)
        out.append((ids[left], ids[right]))
        ids.setdefault(left + right, len(ids))
    return out


def _library_of(merges: Sequence[Merge], pieces: Sequence[bytes]) -> Library:
    alphabet = _alphabet()
    spelled = ["".join(alphabet[value] for value in piece) for piece in pieces]
    vocabulary = {text: token for token, text in enumerate(spelled)}
    return _library(vocabulary, [(spelled[left], spelled[right]) for left, right in merges])


def _library(vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> Library:
    from tokenizers import Tokenizer as Library
    from tokenizers import models, pre_tokenizers

    made = Library(models.BPE(vocab=vocabulary, merges=merges))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    return made


def _alphabet() -> dict[int, str]:
    """Return the letter that byte-level encoding writes for each byte: itself if it is visible in Latin-1, else one
    from U+0100 on, in the order of the bytes (Radford et al. 2019).
    """
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return {value: chr(value if value in visible else next(others)) for value in range(BYTE_TOKENS)}


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let the library use one thread: its setting is a variable of the environment."""
    before = os.environ.get(_THREADS)
    os.environ[_THREADS] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_THREADS]
        else:
            os.environ[_THREADS] = before


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(
            "text-not-utf8",
            f"The text is not UTF-8: byte {data[error.start]:#04x} stands where none may.",
            "Convert it to UTF-8, or use --tokenizer bytes.",
        ) from error


def _invalid(why: str) -> RefusedError:
    return RefusedError("tokenizer-invalid", f"The tokenizer's file is refused: {why}.", _NOTHING)
