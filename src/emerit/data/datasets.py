"""Texts from a user's own data set: an entry point in the group `emerit.datasets`, used when a run is created.

It is a function without arguments that yields `(name, text)` pairs, the text as UTF-8 bytes or str. Nodes never call
it: they read the shards that were cut from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from emerit.data.corpus import TextFile
from emerit.errors import PreconditionError
from emerit.plugins import DATASETS, find_plugin, load_plugin


def dataset_texts(name: str, folder: Path) -> tuple[list[TextFile], str]:
    """Return the data set's texts, sorted by name, written to `folder` one by one; and its module's SHA-256 in hex.

    Raises:
        PreconditionError: as `emerit.plugins.load_plugin`; `dataset-invalid` when it yields anything but texts of
            different names, or nothing.
    """
    source_sha256 = find_plugin(DATASETS, name).source_sha256
    made: Any = load_plugin(DATASETS, name, source_sha256)
    if not callable(made):
        raise _invalid(name, "it is no function")
    texts: dict[str, TextFile] = {}
    for item in _items(name, made):
        title, data = _checked(name, item)
        if title in texts:
            raise _invalid(name, f"two of its texts are called {title!r}")
        if data:
            path = folder / f"{len(texts):08d}.text"
            path.write_bytes(data)
            texts[title] = TextFile.of(title, path)
    if not texts:
        raise _invalid(name, "it has no text")
    return [texts[title] for title in sorted(texts)], source_sha256


def _items(name: str, made: Callable[[], Iterable[Any]]) -> Iterable[Any]:
    items = made()
    if not isinstance(items, Iterable):
        raise _invalid(name, "what it returns cannot be gone through")
    return items


def _checked(name: str, item: Any) -> tuple[str, bytes]:
    title, text = item if isinstance(item, tuple) and len(item) == 2 else (None, None)
    if not (isinstance(title, str) and isinstance(text, bytes | str)):
        raise _invalid(name, "it yields something else than a name and a text")
    return title, text.encode() if isinstance(text, str) else text


def _invalid(name: str, why: str) -> PreconditionError:
    return PreconditionError(
        "dataset-invalid", f"The data set {name!r} cannot be used: {why}.", "Its author has to correct it."
    )
