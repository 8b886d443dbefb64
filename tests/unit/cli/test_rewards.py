"""Why somebody earned what it did: the validators' evidence, and what is said where there is none."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from emerit.cli.following import settled_until
from emerit.cli.rewards import EVIDENCE_MISSING, GIVE_UP_AFTER, SENTENCES, Evidence, _outcome, _sentence
from emerit.errors import EmeritError, RefusedError, UnavailableError, UsageError
from emerit.protocol.settlement import ValidatorOutcome
from emerit.scoring.reasons import REASONS

AWAY = UnavailableError("ipfs-timeout", "Nobody delivered it.")
REFUSED = RefusedError("content-hash-mismatch", "Other bytes.")


class Blobs:
    """What IPFS delivers, by CID: reasons by slot, raw bytes, or an error."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def fetch(self, cid: str, _sha256: bytes, _max_bytes: int, _seconds: float) -> bytes:
        self.asked.append(cid)
        answer = self.answers[cid]
        if isinstance(answer, EmeritError):
            raise answer
        if isinstance(answer, bytes):
            return answer
        return json.dumps({"trainers": {str(slot): {"reason": code} for slot, code in answer.items()}}).encode()


def item(*cids: str, revealed: tuple[int, ...] = (0,)) -> Any:
    return SimpleNamespace(
        contributions=[SimpleNamespace(slot=slot) for slot in revealed],
        weights=[SimpleNamespace(evidence_cid=cid, evidence_hash=bytes(32)) for cid in cids],
    )


def reason(blobs: Blobs, *cids: str, slot: int = 0, **more: Any) -> str:
    return Evidence(blobs).reason(item(*cids, **more), slot)  # type: ignore[arg-type]


def test_most_validators_decide() -> None:
    blobs = Blobs(a={0: "paid"}, b={0: "low-gap"}, c={0: "paid"})
    assert reason(blobs, "a", "b", "c") == "paid"


def test_a_tie_is_decided_the_same_way_every_time() -> None:
    blobs = Blobs(a={0: "paid"}, b={0: "duplicate"})
    assert reason(blobs, "a", "b") == reason(blobs, "b", "a") == "duplicate"


def test_who_revealed_nothing_needs_no_evidence() -> None:
    blobs = Blobs()
    assert reason(blobs, "a", slot=1) == "not-revealed"
    assert blobs.asked == []


@pytest.mark.parametrize("bad", [REFUSED, b"{", b'{"trainers": {"0": {"reason": "<b>"}}}', {1: "paid"}])
def test_evidence_that_cannot_be_used_is_passed_over(bad: Any) -> None:
    assert reason(Blobs(a=bad, b={0: "low-gap"}), "a", "b") == "low-gap"
    assert reason(Blobs(a=bad), "a") == EVIDENCE_MISSING


def test_absent_evidence_costs_a_few_deadlines_only() -> None:
    blobs = Blobs(**dict.fromkeys("abcdef", AWAY))
    evidence = Evidence(blobs)  # type: ignore[arg-type]
    for _ in range(4):
        assert evidence.reason(item(*"abcdef"), 0) == EVIDENCE_MISSING
    assert len(blobs.asked) == GIVE_UP_AFTER


def test_a_validator_without_a_seat_has_a_reason() -> None:
    entry = SimpleNamespace(slot=2)
    outcomes = {2: ValidatorOutcome.PAID}
    for seat, expected in ((None, "no-stake"), (2, "paid")):
        members = SimpleNamespace(seat_of=lambda _entry, seat=seat: seat)
        item = SimpleNamespace(members=members, settlement=SimpleNamespace(validator_outcomes=outcomes))
        assert _outcome(item, entry) == expected  # type: ignore[arg-type]


def test_every_reason_has_a_sentence() -> None:
    for outcome in ValidatorOutcome:
        assert _sentence(str(outcome), trainer=False) == SENTENCES[f"validator:{outcome}"]
    for code, text in REASONS.items():
        assert _sentence(code, trainer=True) == text
    assert _sentence(EVIDENCE_MISSING, trainer=True) == SENTENCES[EVIDENCE_MISSING]


def settled(*rounds: int) -> Any:
    items = [SimpleNamespace(round=number) for number in rounds]
    return SimpleNamespace(state_chain=lambda: items)


def test_settled_rounds_up_to_one() -> None:
    client = settled(0, 2, 3)  # round 1 was void
    assert len(settled_until(client, None)) == 3
    assert [each.round for each in settled_until(client, 2)] == [0, 2]


@pytest.mark.parametrize(("rounds", "named"), [((), "none"), ((0, 2, 3), "0, 2, 3"), (tuple(range(5, 30)), "5 to 29")])
def test_a_round_that_has_not_settled(rounds: tuple[int, ...], named: str) -> None:
    with pytest.raises(UsageError) as caught:
        settled_until(settled(*rounds), 1)
    assert caught.value.code == "round-not-settled"
    assert named in caught.value.fix
