from __future__ import annotations

import json
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

from emerit.cli import doctor
from emerit.cli.main import run as command
from emerit.protocol.manifest import LimitsSpec
from emerit.protocol.presets import preset
from emerit.run.create import build_manifest
from emerit.run.doctor import Workload, diagnose, measured
from tests.unit.run.test_create import Store, context, plan, text_folder

TINY = preset("tiny")


def load(train_seconds: int = 60, score_seconds: int = 60, trainers: int = 3, name: str = "tiny") -> Workload:
    item = preset(name)
    return Workload(
        item.model, item.training, item.codec, item.outer, item.scoring, train_seconds, score_seconds, trainers
    )


def ticking(step: float = 0.5):  # type: ignore[no-untyped-def]
    numbers = count()
    return lambda: next(numbers) * step


def test_time_is_what_the_steps_took_and_what_the_round_asks() -> None:
    speed = measured(load(), ticking())
    assert speed.step_seconds == speed.compress_seconds == 0.5
    assert speed.forward_seconds == 0.25
    found = diagnose(load(), timer=ticking())
    assert found.trainer.seconds == 4 * 4 * 0.5 + 0.5
    assert found.validator.seconds == 0.25 * (16 * (2 + 3) + 2 * 8 * 3)
    assert found.parameters == 21_600
    assert found.problems == []


def test_a_machine_that_is_too_slow_is_told() -> None:
    found = diagnose(load(train_seconds=10, score_seconds=20), timer=ticking())
    assert ["its phase has 10 s" in problem for problem in found.problems] == [True]
    assert ["its phase has 20 s" in problem for problem in found.validator.problems] == [True]
    assert diagnose(load(train_seconds=11), timer=ticking()).problems == []


def test_what_does_not_fit_is_not_tried() -> None:
    def never() -> float:
        raise AssertionError("measured")

    found = diagnose(load(name="124m"), limit_bytes=2 << 30, timer=never)
    assert found.speed is None and found.trainer.seconds is None
    assert "2.0 GiB" in found.problems[0]
    assert diagnose(load(), measure=False, timer=never).speed is None


def test_a_larger_batch_takes_longer() -> None:
    more = replace(load(), training=replace(TINY.training, batch_sequences=8))
    assert diagnose(more, timer=ticking()).trainer.seconds == 4 * 8 * 0.5 + 0.5


def test_the_command_answers_for_a_preset(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["doctor", "--preset", "tiny", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["parameters"] == 21_600 and record["fits"] is True
    assert set(record["tools"]) == {"node", "anvil", "ipfs"}
    assert 0 < record["trainer"]["seconds_per_round"] < record["trainer"]["phase_seconds"] == 300
    assert record["trainer"]["problems"] == []
    assert command(["doctor", "--preset", "tiny", "--no-measure"]) == 0
    text = capsys.readouterr().out
    assert "21,600 parameters" in text and "A trainer fits." in text
    assert command(["doctor", "--preset", "huge", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "preset-unknown"


def test_the_command_answers_for_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store()
    manifest = build_manifest(store, plan(text_folder(tmp_path / "text")))
    client = SimpleNamespace(address="0x" + "12" * 20, active_counts=lambda: (5, 2))
    times = SimpleNamespace(train_seconds=77, score_seconds=88)
    here = replace(context(store, manifest), params=times)  # type: ignore[arg-type]
    where = SimpleNamespace(chain=lambda: None, run_client=lambda _chain: client)
    monkeypatch.setattr(doctor, "place", lambda *_: where)
    monkeypatch.setattr(doctor, "context_of", lambda *_: here)
    assert command(["doctor", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["for"], record["trainers"]) == (f"run {client.address}", 5)
    assert (record["trainer"]["phase_seconds"], record["validator"]["phase_seconds"]) == (77, 88)
    small = replace(manifest, limits=LimitsSpec(max_blob_bytes=1024))
    monkeypatch.setattr(doctor, "context_of", lambda *_: replace(here, manifest=small))
    assert command(["doctor", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "run-impossible"


def test_the_command_fails_where_a_trainer_does_not_fit(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emerit.run.doctor.memory_limit_bytes", lambda: 1 << 30)
    assert command(["doctor", "--preset", "124m"]) == 3
    assert "does not fit: a trainer needs" in capsys.readouterr().out
