"""`emerit model` on files, and on a run whose chain and store live in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import structlog
from safetensors.numpy import load_file

from emerit.cli import model_source
from emerit.cli.main import run as run_command
from emerit.data.tokens import ByteTokenizer
from emerit.model import tensor_table
from emerit.protocol.presets import BYTES
from emerit.training import ModelState, initial_values, write_model
from emerit.training.model_file import ExportedModel
from tests.unit.run.test_checkpoints import Run
from tests.unit.validator.stage import TINY

TEXT = "To be, or not to be, that is the question.\n" * 5
ORIGIN = {"run": "0x1", "chain_id": 31337, "round": 7, "settled_rounds": 6}


@pytest.fixture
def file(tmp_path: Path) -> str:
    values = initial_values(TINY.model, b"seed")
    return str(
        write_model(
            tmp_path / "made" / "model.safetensors",
            ExportedModel(TINY.model, BYTES, ByteTokenizer(), ModelState(values)),
            ORIGIN,
        )[0]
    )


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """A run of eleven settled rounds that the commands find behind every address."""
    made = Run(11)
    made.client.chain = SimpleNamespace(chain_id=31337, block=lambda number: None)
    settings = SimpleNamespace(data_dir=Path("home"), log_level="info", log_format="auto")
    where: Any = SimpleNamespace(chain=lambda: None, run_client=lambda chain: made.client, settings=settings)
    monkeypatch.setattr("emerit.cli.model.place", lambda *_, **__: where)
    monkeypatch.setattr(model_source, "context_of", lambda where, client: made.context)
    yield made
    structlog.reset_defaults()


def answer(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    assert run_command(["model", *words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_a_sample_from_a_file_needs_no_chain(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("sample", file, "--prompt", "To be", "--tokens", "40", "--seed", "5")
    found = answer(capsys, *words)
    assert found == answer(capsys, *words)
    assert (found["prompt"], found["settled_rounds"], found["file"]) == ("To be", 6, file)
    assert found["text"] != answer(capsys, *words[:-1], "6")["text"]
    assert run_command(["model", *words]) == 0
    assert capsys.readouterr().out == f"To be{found['text']}\n"


def test_a_loss_of_a_file_needs_a_text(file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(capsys, "eval", file, code=2)["error"]["code"] == "text-needed"
    (tmp_path / "text.txt").write_text(TEXT)
    found = answer(capsys, "eval", file, "--text", str(tmp_path / "text.txt"))
    assert found["bytes"] == found["tokens"] == len(TEXT) - 1
    assert 4 < found["loss"] < 7 and 0 < found["loss_se"] < 1
    assert found["bits_per_byte"] == pytest.approx(found["loss"] / np.log(2))
    assert run_command(["model", "eval", file, "--text", str(tmp_path / "text.txt")]) == 0
    shown = capsys.readouterr().out
    assert f"{found['loss']:.4f} ± {found['loss_se']:.4f} nats a token" in shown
    assert f"{found['bits_per_byte']:.4f} ± " in shown and "after 6 settled rounds" in shown


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("sample", "absent.safetensors"), "model-file-invalid"),
        (("eval", "FILE", "--round", "3"), "round-of-file"),
        (("sample", "FILE", "--prompt", ""), "prompt-empty"),
        (("eval", "FILE", "--text", "absent.txt"), "file-unusable"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    file: str, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: str
) -> None:
    given = [file if word == "FILE" else word for word in words]
    assert run_command(["model", *given, "--json"]) in (1, 2, 3)
    assert json.loads(capsys.readouterr().out)["error"]["code"] == code


def test_a_run_is_exported_with_its_root(settled: Run, capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, "export", "-o", "out/model.safetensors")
    root = "0x" + settled.roots[11].hex()
    assert (found["state_root"], found["round"], found["settled_rounds"]) == (root, 10, 11)
    config = json.loads(Path("out/config.json").read_text())
    assert (config["state_root"], config["run"], config["chain_id"]) == (root, settled.client.address, 31337)
    assert config["tokenizer"]["name"] == "bytes" and config["model"]["layers"] == TINY.model.layers


def test_an_earlier_round_can_be_exported_exactly(settled: Run, capsys: pytest.CaptureFixture[str]) -> None:
    answer(capsys, "export")  # what is kept here is newer then
    found = answer(capsys, "export", "--round", "4", "--int32")
    assert (found["round"], found["settled_rounds"], found["weights"]) == (4, 5, "int32")
    tensors = load_file("model.safetensors")
    flat = np.concatenate([tensors[entry.name].ravel() for entry in tensor_table(TINY.model)])
    assert np.array_equal(flat, settled.states[5])
    assert answer(capsys, "export", "--round", "99", code=2)["error"]["code"] == "round-not-settled"


def test_export_starts_from_a_checkpoint(settled: Run, capsys: pytest.CaptureFixture[str]) -> None:
    settled.publish(9)
    settled.store.asked.clear()
    assert answer(capsys, "export")["state_root"] == "0x" + settled.roots[11].hex()
    assert len(settled.store.asked) == 3


def test_a_run_and_its_export_write_and_measure_alike(
    settled: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(capsys, "export", "--int32")
    (tmp_path / "text.txt").write_text(TEXT)
    for words in (("sample", "--seed", "3"), ("eval", "--text", str(tmp_path / "text.txt"))):
        of_run, of_file = answer(capsys, *words), answer(capsys, words[0], "model.safetensors", *words[1:])
        assert of_file.pop("file") == "model.safetensors"
        assert of_run.pop("manifest_sha256")
        assert of_run == of_file


def test_a_run_is_measured_on_its_validation_split(settled: Run, capsys: pytest.CaptureFixture[str]) -> None:
    some, every = answer(capsys, "eval", "--sequences", "20"), answer(capsys, "eval", "--sequences", "0")
    total = settled.context.manifest.corpus.validation_sequences
    assert (some["sequences"], every["sequences"]) == (20, total)
    assert every["loss_se"] < some["loss_se"]
    assert abs(some["loss"] - every["loss"]) < 5 * some["loss_se"]
