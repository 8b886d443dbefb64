"""What a round says about its members."""

from __future__ import annotations

from dataclasses import replace

import pytest

from emerit.api.digest import EVIDENCE_MISSING, NOT_ACTIVE, RoundDigest, digest, tally, why
from emerit.protocol.settlement import ValidatorOutcome
from emerit.protocol.types import RegistryEntry, Role
from emerit.scoring.reasons import REASONS
from tests.unit.api.builders import LOSS_UNIT, address, evidence_hash, evidence_record, registry, settled_entry

MEMBERS = registry(trainers=3, validators=3)
ROW = (300, 100, 1)


def worked_out(entry: object, records: dict[bytes, dict[str, object]] | None = None) -> RoundDigest:
    return digest(entry, records or {}, LOSS_UNIT)  # type: ignore[arg-type]


def test_the_reason_is_what_most_stake_says() -> None:
    entry = settled_entry(MEMBERS, 0, [ROW, ROW, ROW], stakes=[100, 60, 30])
    records = {
        evidence_hash(0, 0): evidence_record(ROW, s2="low-gap"),
        evidence_hash(0, 1): evidence_record(ROW, s2="duplicate"),
        evidence_hash(0, 2): evidence_record(ROW, s2="duplicate"),
    }
    part = worked_out(entry, records).parts[2]
    assert part.reason == "low-gap" and part.took_part and part.weight == 1
    del records[evidence_hash(0, 0)]
    assert worked_out(entry, records).parts[2].reason == "duplicate"


def test_equal_stakes_are_decided_by_the_code() -> None:
    entry = settled_entry(MEMBERS, 0, [ROW, ROW, None])
    for first, second in (("low-gap", "duplicate"), ("duplicate", "low-gap")):
        records = {
            evidence_hash(0, 0): evidence_record(ROW, s0=first),
            evidence_hash(0, 1): evidence_record(ROW, s0=second),
        }
        assert worked_out(entry, records).parts[0].reason == "duplicate"


def test_without_evidence_the_weights_on_chain_are_there() -> None:
    part = worked_out(settled_entry(MEMBERS, 0, [ROW, (1, None, 1), ROW])).parts[1]
    assert part.reason == EVIDENCE_MISSING and part.score is None
    assert [(o.validator, o.weight, o.record) for o in part.opinions] == [
        (3, 100, None),
        (4, None, None),
        (5, 100, None),
    ]


def test_scores_are_medians_of_those_who_measured() -> None:
    entry = settled_entry(MEMBERS, 0, [ROW, ROW, (None, 100, 1)])
    records = {evidence_hash(0, slot): evidence_record(ROW) for slot in range(2)}
    records[evidence_hash(0, 2)] = evidence_record((None, 100, 1))
    parts = worked_out(entry, records).parts
    assert [parts[slot].score for slot in range(3)] == [pytest.approx(0.01 * (slot + 1)) for slot in range(3)]


def test_who_revealed_nothing_is_told_from_who_was_no_member() -> None:
    late = RegistryEntry(2, MEMBERS[2].account, MEMBERS[2].operator, Role.TRAINER, 2, active_from=5)
    members = (*MEMBERS[:2], late, *MEMBERS[3:])
    entry = settled_entry(members, 0, [ROW, ROW, ROW], revealed=[0])
    found = digest(entry, {}, LOSS_UNIT).parts
    assert (found[1].reason, found[1].took_part) == ("not-revealed", False)
    assert 2 not in found


def test_validators_have_the_outcome_of_the_settlement() -> None:
    rows = [ROW, ROW, (300, None, 1), None]
    members = registry(trainers=3, validators=5)
    entry = settled_entry(members, 0, [*rows, ROW], stakes=[150, 150, 100, 30, 0])
    found = digest(entry, {}, LOSS_UNIT).parts
    outcomes = [found[index].reason for index in range(3, 7)]
    assert outcomes == ["paid", "paid", "not-covered", "no-reveal"]
    assert [found[index].took_part for index in range(3, 7)] == [True, True, True, False]
    assert 7 not in found, "without a vote in the epoch it has no part in the round"


def test_a_slot_is_the_member_that_is_active_in_the_round() -> None:
    """Slot 1 was another trainer's before; the old one keeps its leaf and has no part."""
    gone = replace(MEMBERS[1], active_until=4)
    heir = RegistryEntry(6, address(6), address(60), Role.TRAINER, 1, active_from=4)
    members = (MEMBERS[0], gone, *MEMBERS[2:], heir)
    entry = settled_entry(members, 4, [ROW] * 3)
    found = digest(entry, {}, LOSS_UNIT).parts
    assert 1 not in found and found[6].weight == 100 and found[6].took_part
    before = digest(settled_entry(members, 3, [ROW] * 3), {}, LOSS_UNIT).parts
    assert before[1].weight == 100 and 6 not in before


@pytest.mark.parametrize(("given", "want"), [([4.0, 4.0, 4.0], 4.0), ([None, None, None], None)])
def test_the_agreed_loss_or_that_there_is_none(given: list[float | None], want: float | None) -> None:
    found = worked_out(settled_entry(MEMBERS, 0, [ROW] * 3, base_losses=given)).loss
    assert found is None if want is None else found == pytest.approx(want, rel=1e-3)


def test_tallies_add_rounds_up() -> None:
    records = {evidence_hash(n, slot): evidence_record(ROW, s2="duplicate") for n in range(3) for slot in range(3)}
    entries = [settled_entry(MEMBERS, n, [ROW] * 3, revealed=[0, 2] if n == 1 else None) for n in range(3)]
    tallies = tally([worked_out(entry, records) for entry in entries], len(MEMBERS))
    assert [t.contributions for t in tallies] == [3, 2, 3, 3, 3, 3]
    assert tallies[1].reasons == {"paid": 2, "not-revealed": 1} and tallies[1].last_round == 2
    assert tallies[2].reasons == {"duplicate": 3} and tallies[2].cluster == 1
    assert tallies[0].accepted == 3 and tallies[3].reasons == {"paid": 3}


def test_every_reason_has_its_sentence() -> None:
    for code in (*REASONS, EVIDENCE_MISSING, NOT_ACTIVE):
        assert len(why(Role.TRAINER, code)) > 20
    for outcome in ValidatorOutcome:
        assert len(why(Role.VALIDATOR, str(outcome))) > 20
    assert why(Role.TRAINER, "paid") != why(Role.VALIDATOR, "paid")
