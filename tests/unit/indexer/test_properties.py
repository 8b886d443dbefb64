"""Whatever the chain does, and wherever a step fails, the index holds exactly one history: that of its cursor."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import event

from emerit.errors import UnavailableError
from emerit.indexer.follow import Spans
from emerit.indexer.index import Index, StepResult
from tests.unit.indexer.model_chain import CONTRACTS, ModelChain, down, row_of

MEMORY = Path("/dev/shm")
SPANS = Spans(near=3, kept=6, stride=8)

contents = st.lists(st.text("rcou", max_size=3), max_size=5)
long_contents = st.lists(st.text("rco", max_size=1), min_size=4, max_size=30)
depths = st.one_of(st.integers(0, 4), st.integers(5, 60))
happenings = st.lists(st.tuples(st.integers(0, 12), depths, contents), max_size=3)


class Crash(Exception):
    """The process dies here."""


@contextlib.contextmanager
def crash_at(index: Index, statement: int) -> Iterator[None]:
    """Let the process die before the given statement of the step reaches the database."""
    left = [statement]

    def before(*_: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Crash

    event.listen(index._engine, "before_cursor_execute", before)
    try:
        yield
    except Crash:
        pass
    finally:
        event.remove(index._engine, "before_cursor_execute", before)


class IndexMachine(RuleBasedStateMachine):
    """The chain grows, shrinks and is rewritten, also in the middle of a step; steps fail and processes die."""

    @initialize(knows_orphans=st.booleans(), start=st.integers(0, 5), first=long_contents)
    def begin(self, knows_orphans: bool, start: int, first: list[str]) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="emerit-index-", dir=MEMORY if MEMORY.is_dir() else None)
        self.chain = ModelChain(knows_orphans)
        self.chain.extend(first)
        self.start = start
        self.opened: list[Index] = []
        self.index = self.open("index")

    def open(self, name: str) -> Index:
        url = f"sqlite:///{Path(self.folder.name) / name}.sqlite"
        self.opened.append(Index(url, self.chain, CONTRACTS, self.start, SPANS))
        return self.opened[-1]

    @rule(contents=st.one_of(contents, long_contents))
    def extend(self, contents: list[str]) -> None:
        self.chain.extend(contents)

    @rule(depth=depths, contents=contents)
    def reorganise(self, depth: int, contents: list[str]) -> None:
        self.chain.reorganise(depth, contents)

    @rule()
    def step(self) -> None:
        before = self.index.head()
        result = self.index.step()
        self.check_step(before, result)

    @rule(first=st.one_of(contents, long_contents), happenings=happenings)
    def step_while_the_chain_changes(self, first: list[str], happenings: list[tuple[int, int, list[str]]]) -> None:
        self.chain.extend(first)
        with self.disturbed({when: (depth, contents) for when, depth, contents in happenings}):
            self.index.step()

    @rule(statement=st.integers(0, 12))
    def crash_in_the_database(self, statement: int) -> None:
        with crash_at(self.index, statement):
            self.index.step()

    @rule(reads=st.integers(0, 12))
    def the_chain_stops_answering(self, reads: int) -> None:
        last = self.chain.reads + reads

        def fail(asked: int) -> None:
            if asked >= last:
                raise down()

        self.chain.before_read = fail
        with contextlib.suppress(UnavailableError):
            self.index.step()
        self.chain.before_read = lambda _reads: None

    @rule()
    def restart(self) -> None:
        self.index.close()
        self.index = self.open("index")

    @rule(when=st.integers(0, 8), happenings=happenings)
    def another_process_steps_meanwhile(self, when: int, happenings: list[tuple[int, int, list[str]]]) -> None:
        other = self.open("index")
        last = self.chain.reads + when

        def step_other(asked: int) -> None:
            if asked == last:
                self.chain.before_read = lambda _reads: None
                with self.disturbed({at: (depth, contents) for at, depth, contents in happenings}):
                    other.step()

        self.chain.before_read = step_other
        self.index.step()
        self.chain.before_read = lambda _reads: None
        other.close()

    @contextlib.contextmanager
    def disturbed(self, plan: dict[int, tuple[int, list[str]]]) -> Iterator[None]:
        began = self.chain.reads

        def disturb(asked: int) -> None:
            if (what := plan.get(asked - began)) is not None:
                self.chain.reorganise(*what)

        self.chain.before_read = disturb
        yield
        self.chain.before_read = lambda _reads: None

    def check_step(self, before: int, result: StepResult) -> None:
        head = self.chain.blocks[-1].number
        if head >= self.start:
            assert result.head == self.index.head() == head
        assert result.kept <= max(before, self.start - 1)
        assert (result.rolled_back_blocks > 0) == (result.kept < max(before, self.start - 1))

    @invariant()
    def holds_the_history_of_its_cursor(self) -> None:
        if not hasattr(self, "index"):
            return
        cursor = self.index._newest()
        logs = [] if cursor.is_origin else self.chain.history(cursor.hash)
        rows = [row for log in logs if log.block_number >= self.start and (row := row_of(log))]
        assert self.index.events(limit=100_000) == rows[::-1]

    @invariant()
    def remembers_enough_and_not_too_much(self) -> None:
        if not hasattr(self, "index"):
            return
        head = self.index.head()
        numbers = [mark.number for mark in self.index._marks()[1:]]
        assert head == (numbers[-1] if numbers else -1)
        assert len(numbers) <= SPANS.kept + 1 + head // SPANS.stride + 1
        want = set(range(0, head + 1, SPANS.stride))
        assert {n for n in want if n >= self.start} <= set(numbers) | {self.start - 1}

    def teardown(self) -> None:
        if not hasattr(self, "folder"):
            return
        self.index.step()
        fresh = self.open("fresh")
        fresh.step()
        assert self.index.events(limit=100_000) == fresh.events(limit=100_000)
        for each in self.opened:
            each.close()
        self.folder.cleanup()


IndexMachine.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestIndex = IndexMachine.TestCase
