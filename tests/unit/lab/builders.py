"""Experiments small enough for tests: the tiny preset, six trainers, few rounds."""

from __future__ import annotations

from emerit.lab.arena import Arena, Corpus
from emerit.lab.attack import Attack
from emerit.lab.catalogue import find_attack, find_defence
from emerit.lab.defence import Defence
from emerit.lab.play import Cast, Play, Played, play
from emerit.lab.settings import Settings

PRESET = "tiny"


def small(attack: str = "none", defence: str = "ours", rounds: int = 2, seed: int = 0, **other: object) -> Settings:
    fraction = 0.0 if attack == "none" else 0.34
    settings = {"trainers": 6, "validators": 4, "preset": PRESET, "fraction": fraction} | other
    return Settings(attack=attack, defence=defence, rounds=rounds, seed=seed, **settings)  # type: ignore[arg-type]


def arena_of(settings: Settings, corpus: Corpus) -> Arena:
    attack = find_attack(settings.attack)
    return Arena.build(settings, corpus, isinstance(attack, Attack) and attack.by_document)


def played(settings: Settings, corpus: Corpus) -> Played:
    return play(arena_of(settings, corpus), find_attack(settings.attack), find_defence(settings.defence))


def game(settings: Settings, corpus: Corpus, defence: Defence | None = None) -> Play:
    arena = arena_of(settings, corpus)
    return Play(arena, Cast.of(arena, find_attack(settings.attack)), defence or find_defence(settings.defence))
