from __future__ import annotations

import pytest

from emerit.run.catch_up import CatchUp, progress_text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "about 1 s left"),
        (89, "about 89 s left"),
        (90, "about 2 min left"),
        (360, "about 6 min left"),
        (5300, "about 88 min left"),
        (9000, "about 2.5 h left"),
    ],
)
def test_the_time_left_is_in_the_unit_that_people_would_use(seconds: float, words: str) -> None:
    assert progress_text(41, 97, seconds) == f"round 41 of 97, {words}"


def test_without_a_pace_and_at_the_end_no_time_is_given() -> None:
    assert progress_text(41, 97, None) == "round 41 of 97"
    assert progress_text(97, 97, 5.0) == "round 97 of 97"


def told(steps: list[tuple[float, int, int]], every_seconds: float = 5.0) -> list[str]:
    """What is said when (time, applied, total) happen."""
    times = iter([time for time, _, _ in steps])
    said: list[str] = []
    progress = CatchUp(said.append, every_seconds, lambda: next(times))
    for _, applied, total in steps:
        progress(applied, total)
    return said


def test_the_pace_counts_from_the_first_round_applied() -> None:
    steps = [(100.0 + 10 * n, 40 + n, 97) for n in range(3)]
    assert told(steps) == [
        "round 40 of 97",
        "round 41 of 97, about 9 min left",
        "round 42 of 97, about 9 min left",
    ]


def test_it_speaks_seldom_and_always_at_the_end() -> None:
    assert told([(n / 10, n, 100) for n in range(1, 101)]) == [
        "round 1 of 100",
        "round 51 of 100, about 5 s left",
        "round 100 of 100",
    ]


def test_one_round_is_no_catch_up() -> None:
    assert told([(0.0, 7, 7), (9.0, 8, 8)]) == []


def test_a_second_catch_up_has_a_pace_of_its_own() -> None:
    steps = [(0.0, 1, 3), (100.0, 3, 3), (200.0, 4, 9), (206.0, 6, 9)]
    assert told(steps)[-2:] == ["round 4 of 9", "round 6 of 9, about 9 s left"]
