"""Attacks and defences by name: built in, of installed packages, of a module of one's own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from emerit.errors import EmeritError, PreconditionError, UsageError
from emerit.lab.arena import Corpus
from emerit.lab.attack import Attack
from emerit.lab.catalogue import ATTACKS_GROUP, attacks, defences, find_attack, find_defence, offered
from emerit.lab.play import play
from tests.unit.house.tree import ROOT
from tests.unit.lab.builders import arena_of, small
from tests.unit.packages import install

ASKED = """
free-rider-zeros free-rider-noise free-rider-stale free-rider-aggregate copy-exact copy-noise copy-scaled copy-half
copy-stale mixture sybil-clones sybil-halves sybil-halves-planted sybil-divided sybil-divided-inflated
resemble-rival inflated-scale trial-step
plain-gradient sign-flip scaling alie ipm dmpa label-flip backdoor selective intermittent late-joiner absentee slacker
validator-lazy validator-copy validator-random validator-biased validator-collude honest-half-batch honest-non-iid
"""


def example() -> str:
    text = (ROOT / "docs/lab.md").read_text(encoding="utf-8")
    [block] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    return block


def test_all_attacks_are_there() -> None:
    assert sorted(attacks()) == sorted(ASKED.split())
    assert len(defences()) == 10


def test_every_name_makes_a_new_object() -> None:
    assert all(find_attack(name) is not find_attack(name) for name in attacks())
    assert all(find_defence(name) is not find_defence(name) for name in defences())
    assert find_attack("none") is None


def test_the_documents_example_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, corpus: Corpus) -> None:
    (tmp_path / "my_attack.py").write_text(example())
    monkeypatch.syspath_prepend(str(tmp_path))
    attack = find_attack("my_attack:Sleeper")
    assert isinstance(attack, Attack)
    settings = small("free-rider-noise")
    rounds = play(arena_of(settings, corpus), attack, find_defence("ours")).rounds
    assert all(set(record.weights) == set(range(6)) for record in rounds)


def test_an_installed_package_offers_an_attack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, tmp_path, "their_attack", example(), ATTACKS_GROUP, "sleeper = their_attack:Sleeper")
    assert offered()["attacks"] == ["sleeper"]
    assert isinstance(find_attack("sleeper"), Attack)


@pytest.mark.parametrize(
    "name", ["copy-exakt", "none-such", "json:nothing", "no_such_module:Attack", "json:dumps", ":"]
)
def test_what_is_no_attack_is_refused_with_a_fix(name: str) -> None:
    with pytest.raises(EmeritError) as caught:
        find_attack(name)
    assert isinstance(caught.value, UsageError | PreconditionError)
    assert caught.value.fix


def test_a_misspelt_name_gets_a_suggestion() -> None:
    with pytest.raises(UsageError) as caught:
        find_defence("krumm")
    assert caught.value.code == "lab-unknown" and "'krum'" in caught.value.fix


def test_a_class_that_lacks_what_it_needs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "from emerit.lab.attack import Attack\n\n\nclass Half(Attack):\n    name, source, says = 'half', '', ''\n"
    (tmp_path / "half_made.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(PreconditionError) as caught:
        find_attack("half_made:Half")
    assert caught.value.code == "plugin-broken" and "contribute" in caught.value.cause
