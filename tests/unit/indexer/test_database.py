"""Opening an index's database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from sqlalchemy import inspect

from emerit.indexer.database import create_tables, open_engine
from emerit.indexer.tables import metadata


def test_several_may_create_the_tables_at_once(tmp_path: Path) -> None:
    """All connect to a new file together, and then create: with a look first, some would find them there."""
    for turn in range(10):
        url = f"sqlite:///{tmp_path / f'{turn}.sqlite'}"
        ready = Barrier(4)

        def create(url: str = url, ready: Barrier = ready) -> set[str]:
            engine = open_engine(url)
            ready.wait(timeout=30)
            with engine.connect():
                ready.wait(timeout=30)
            create_tables(engine, metadata)
            found = set(inspect(engine).get_table_names())
            engine.dispose()
            return found

        with ThreadPoolExecutor(4) as pool:
            creators = [pool.submit(create) for _ in range(4)]
            assert [creator.result() for creator in creators] == [set(metadata.tables)] * 4
