"""A report goes on where it stopped, and says what is missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emerit.cli.main import run
from emerit.errors import UsageError
from emerit.lab.cells import Laboratory, check_room
from emerit.lab.matrix import COMPARED, Plan, collect, run_missing
from emerit.lab.play import BUDGET_WEI
from emerit.lab.report import Report
from emerit.lab.settings import NO_ATTACK, Settings
from tests.unit.lab.builders import small

KEYS = {
    "attacker_share_over_honest_share",
    "honest_income_loss",
    "final_loss_ratio",
    "true_positive_rate",
    "false_positive_rate",
    "rounds_to_detect",
}
SHAPE = ["--preset", "tiny", "--trainers", "6", "--validators", "4", "--rounds", "1"]


def plan() -> Plan:
    return Plan(small(rounds=1, fraction=0.34), 1, ("sign-flip", "sybil-clones"), ("sign-flip",), ("krum",))


def test_the_default_plan_has_every_attack_and_every_reference_once() -> None:
    base = Settings()
    experiments = Plan.default(base, 3).experiments()
    assert len(experiments) == len(set(experiments))
    assert {item.attack for item in experiments if item.defence == "krum"} == {NO_ATTACK, *COMPARED}
    assert len(Plan.default(base, 1, full=True).experiments()) > len(experiments) / 3


def test_a_stopped_report_goes_on_and_says_what_is_missing(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    def stop_at_three(done: int, total: int, _: Settings) -> None:
        seen.append((done, total))
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_missing(plan(), tmp_path, 1, stop_at_three)
    partly = Report.of(plan(), collect(plan(), tmp_path))
    assert partly.missing and "Not complete" in partly.markdown()
    run_missing(plan(), tmp_path, 1, lambda done, total, _: seen.append((done, total)))
    assert [done for done, _ in seen] == list(range(1, len(seen) + 1))
    whole = Report.of(plan(), collect(plan(), tmp_path))
    assert not whole.missing
    files = whole.write(tmp_path / "out")
    assert {path.suffix for path in files} == {".md", ".json", ".svg"}
    assert "| sign-flip |" in whole.markdown() and "krum" in whole.markdown()
    run_missing(plan(), tmp_path, 1, lambda *_: pytest.fail("nothing was missing"))


def test_an_experiment_is_kept_under_its_settings(tmp_path: Path) -> None:
    laboratory = Laboratory(tmp_path)
    settings = small("free-rider-zeros", rounds=1)
    assert laboratory.load(settings) is None
    cell = laboratory.cell(settings)
    assert laboratory.load(settings) == cell
    assert laboratory.load(small("free-rider-zeros", rounds=1, seed=1)) is None


def test_too_many_attackers_are_refused() -> None:
    from emerit.lab.catalogue import find_attack

    with pytest.raises(UsageError) as caught:
        check_room(small("sign-flip", fraction=0.9), find_attack("sign-flip"))
    assert caught.value.code == "lab-settings"


def test_the_command_prints_its_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lab", "run", "--attack", "copy-exact", "--fraction", "0.34", *SHAPE, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record.keys() >= KEYS
    assert record["settings"]["attack"] == "copy-exact"
    earned = [int(amount) for amount in record["trainers_earned_wei"]]
    assert (len(earned), min(earned) >= 0) == (6, True)
    assert BUDGET_WEI * 4 // 5 - 6 <= sum(earned) <= BUDGET_WEI * 4 // 5, "one round, trainers get four fifths"


def test_the_list_names_attacks_and_defences(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lab", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {"sybil-halves", "alie"} <= {item["name"] for item in listed["attacks"]}
    assert {"ours", "gauntlet"} <= {item["name"] for item in listed["defences"]}


def test_an_unknown_attack_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lab", "run", "--attack", "nothing-known", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "lab-unknown"
