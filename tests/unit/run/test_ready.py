"""What would fail in the first round is said before anybody joins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from emerit.errors import PreconditionError, RefusedError
from emerit.model.table import parameter_count
from emerit.out_of_memory import out_of_memory
from emerit.protocol.manifest import LimitsSpec
from emerit.protocol.presets import PRESETS, preset
from emerit.run import memory, process
from emerit.run.context import RunContext
from emerit.run.memory import check_memory, memory_limit_bytes, trainer_need, validator_need
from emerit.run.ready import check_numbers, check_ready
from tests.unit.run.test_create import Store, build_manifest, context, plan, text_folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RunContext:
    folder, store = text_folder(tmp_path_factory.mktemp("text") / "corpus", words=9000), Store()
    return context(store, build_manifest(store, plan(folder, tokenizer="bpe", vocabulary=300)))


def test_a_run_that_can_be_played_is_ready(made: RunContext) -> None:
    for role in ("trainer", "validator"):
        check_ready(made, role)


def test_every_preset_allows_its_own_contributions(made: RunContext) -> None:
    for item in PRESETS.values():
        check_numbers(
            replace(
                made.manifest,
                model=replace(item.model, context=32, vocabulary=320),
                codec=item.codec,
                limits=item.limits,
            )
        )


def test_a_contribution_that_no_limit_allows_is_told(made: RunContext) -> None:
    narrow = replace(made.manifest, limits=LimitsSpec(max_blob_bytes=1024))
    with pytest.raises(RefusedError, match="run-impossible"):
        check_numbers(narrow)


def test_a_corpus_with_no_work_for_one_trainer_is_told(made: RunContext) -> None:
    manifest = made.manifest
    much = replace(manifest.training, assigned_sequences=1 << 20, inner_steps=1 << 10, batch_sequences=1 << 10)
    with pytest.raises(RefusedError, match=r"one trainer needs 1048592"):
        check_numbers(replace(manifest, training=much))


def test_a_tokenizer_of_somebody_else_is_refused(made: RunContext) -> None:
    store = Store()
    store.blobs = {cid: data + b" " for cid, data in made.store.blobs.items()}  # type: ignore[attr-defined]
    with pytest.raises(RefusedError, match="content-hash-mismatch"):
        context(store, made.manifest).tokenizer()
    with pytest.raises(RefusedError, match="content-hash-mismatch"):
        check_ready(context(store, made.manifest), "trainer")


def test_too_little_memory_is_told_before_it_is_used() -> None:
    demo, large = preset("demo"), preset("124m")
    check_memory(trainer_need(demo.model, demo.training, demo.outer), "trainer", 2 << 30)
    need = trainer_need(large.model, large.training, large.outer)
    with pytest.raises(PreconditionError, match=r"memory-too-small") as caught:
        check_memory(need, "trainer", 4 << 30)
    assert "4.0 GiB" in caught.value.cause and "emerit doctor" in caught.value.fix
    check_memory(need, "trainer", need.total_bytes)


@given(st.sampled_from(sorted(PRESETS)), st.integers(1, 64))
def test_more_work_never_needs_less(name: str, more: int) -> None:
    item = preset(name)

    def need(**changed: Any) -> int:
        asked = {"spec": item.model, "training": item.training, "outer": item.outer} | changed
        return trainer_need(**asked).total_bytes

    usual = need()
    assert need(training=replace(item.training, batch_sequences=item.training.batch_sequences * more)) >= usual
    deeper = replace(item.model, layers=item.model.layers + more)
    assert need(spec=deeper) > usual
    assert validator_need(deeper, item.outer).total_bytes > validator_need(item.model, item.outer).total_bytes


@given(st.sampled_from(sorted(PRESETS)))
def test_what_a_run_keeps_besides_is_counted(name: str) -> None:
    """By hand: a momentum is three vectors of four bytes a parameter, the work ahead three too."""
    item = preset(name)
    vector = 4 * parameter_count(item.model)
    momentum = replace(item.outer, momentum_numerator=9, momentum_denominator=10)
    plain = replace(item.outer, momentum_numerator=0, momentum_denominator=1, nesterov=False)
    ahead, alone = (replace(item.training, overlap_rounds=rounds) for rounds in (1, 0))
    least = trainer_need(item.model, alone, plain).parameter_bytes
    assert trainer_need(item.model, alone, momentum).parameter_bytes == least + 3 * vector
    assert trainer_need(item.model, ahead, plain).parameter_bytes == least + 3 * vector
    assert validator_need(item.model, momentum).parameter_bytes == (
        validator_need(item.model, plain).parameter_bytes + 3 * vector
    )


def test_a_container_s_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = memory_limit_bytes()
    for text, expected in (("123456789\n", 123_456_789), ("max\n", None), (str(1 << 62), None)):
        (tmp_path / "memory.max").write_text(text)
        monkeypatch.setattr(memory, "_CGROUP", (tmp_path / "memory.max", tmp_path / "absent"))
        limit = memory_limit_bytes()
        assert limit == expected if expected else limit >= whole


def test_memory_that_ran_out_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "setup_logging", lambda **_: None)
    failures = []
    for allocate in (lambda: np.empty(1 << 60, dtype=np.uint8), lambda: torch.empty(1 << 60, dtype=torch.uint8)):
        with pytest.raises((MemoryError, RuntimeError)) as caught:
            allocate()
        failures.append(caught.value)
    for failure in failures:
        told = out_of_memory(failure)
        assert told is not None and told.code == "out-of-memory" and "emerit doctor" in told.fix

        def fail(error: BaseException = failure) -> None:
            raise error

        with capture_logs() as logged:
            assert process.run_process("trainer", fail) == 3
        assert [entry["code"] for entry in logged] == ["out-of-memory"]
    assert out_of_memory(RuntimeError("shapes do not match")) is None
    with pytest.raises(RuntimeError, match="shapes"):
        process.run_process("trainer", _shapes)


def _shapes() -> None:
    raise RuntimeError("shapes do not match")
