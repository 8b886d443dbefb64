"""The training benchmark on a tiny model: a matrix end to end, its resumption, its figures and its page."""

from __future__ import annotations

import importlib
import json
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.codec.lab import DctTopkSign
from emerit.codec.update import SparseUpdate
from emerit.errors import UsageError

SCRIPTS = Path(__file__).parents[3] / "scripts"
TINY = "--preset tiny --rounds 2 --inner-steps 2 --heldout-sequences 16 --curve-sequences 8 --curve-every 1 --k 64"


def module(name: str) -> ModuleType:
    sys.path.insert(0, str(SCRIPTS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(SCRIPTS))


bench, cells, methods, plots, report = map(
    module, ("bench_training", "training_cells", "training_methods", "training_plots", "training_report")
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text that is not random: words of a small vocabulary."""
    random = np.random.default_rng(7)
    words = ["the", "king", "speaks", "and", "all", "his", "men", "listen", "to", "him"]
    path = tmp_path_factory.mktemp("corpus") / "text.txt"
    path.write_text(" ".join(words[place] for place in random.integers(0, len(words), 12_000)))
    return path


def arguments(corpus: Path, out: Path, *more: str) -> list[str]:
    return [*TINY.split(), "--corpus", str(corpus), "--out", str(out), *more]


def played(capsys: pytest.CaptureFixture[str], argv: list[str]) -> dict:
    assert bench.main([*argv, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list:
    """The cells that are really run."""
    ran: list = []
    whole = bench.run_cell

    def run_cell(settings, *rest):
        ran.append(settings)
        return whole(settings, *rest)

    monkeypatch.setattr(bench, "run_cell", run_cell)
    return ran


def test_a_matrix_runs_every_method_once_and_is_resumed(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], counted: list
) -> None:
    first = played(capsys, arguments(corpus, tmp_path, "--workers", "1,2", "--seeds", "0"))
    assert len(counted) == 9  # AdamW is one process, whatever the workers
    assert set(first["methods"]) == set(methods.METHODS)
    for by_workers in first["methods"].values():
        assert set(by_workers) == {"1", "2"}
        for row in by_workers.values():
            keys = {"loss_mean", "loss_spread", "bytes_per_round", "bytes_total", "seconds"}
            assert keys <= row.keys()
            assert 0 < row["loss_mean"] < 7 and row["loss_spread"] == 0
    size = 4 * first["methods"]["adamw"]["2"]["bytes_per_round"] / (2 * 4) / 4
    assert first["methods"]["diloco"]["2"]["bytes_per_round"] == 4 * size
    assert first["methods"]["adamw"]["1"]["bytes_total"] == 0
    assert first["ratios"]["emerit"]["2"]["diloco_bytes_over_its"] > 100

    again = played(capsys, arguments(corpus, tmp_path, "--workers", "1,2", "--seeds", "0"))
    assert len(counted) == 9 and again == first
    next((tmp_path).glob("sign-w2-*")).unlink()
    repeated = played(capsys, arguments(corpus, tmp_path, "--workers", "1,2", "--seeds", "0"))
    assert [(each.method, each.workers) for each in counted[9:]] == [("sign", 2)]
    assert repeated["methods"]["sign"]["2"]["loss_mean"] == first["methods"]["sign"]["2"]["loss_mean"]
    played(capsys, arguments(corpus, tmp_path, "--workers", "2", "--seeds", "0", "--methods", "sign", "--rounds", "1"))
    assert len(counted) == 11  # other settings are another cell


def test_a_stopped_matrix_keeps_what_is_finished(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = bench.run_cell

    def stopped(settings, *rest):
        if settings.seed == 1:
            raise KeyboardInterrupt
        return whole(settings, *rest)

    argv = arguments(corpus, tmp_path, "--workers", "1", "--seeds", "0,1", "--methods", "emerit")
    monkeypatch.setattr(bench, "run_cell", stopped)
    assert bench.main([*argv, "--json"]) == 130
    assert "stopped" in capsys.readouterr().err
    assert [path.name[:12] for path in tmp_path.iterdir()] == ["emerit-w1-s0"]


def test_several_processes_find_what_one_finds(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    more = ("--workers", "2", "--seeds", "0", "--methods", "emerit")
    alone = played(capsys, arguments(corpus, tmp_path / "one", *more))
    apart = played(capsys, arguments(corpus, tmp_path / "two", *more, "--jobs", "2"))
    assert alone["methods"]["emerit"]["2"]["loss_mean"] == apart["methods"]["emerit"]["2"]["loss_mean"]


def test_workers_that_do_not_divide_the_batch_are_refused() -> None:
    with pytest.raises(UsageError, match="shared by 3 workers"):
        cells.settings_for(cells.Choices(), "emerit", 3, 0, "")
    with pytest.raises(UsageError, match="no method"):
        cells.settings_for(cells.Choices(), "emerti", 4, 0, "")


def test_settings_that_a_method_does_not_use_make_no_new_cell() -> None:
    plain, other = cells.Choices(), cells.Choices(k=32, feedback_decay=0.5, divisor_floor=3)
    for method in ("adamw", "diloco"):
        assert cells.settings_for(plain, method, 4, 0, "") == cells.settings_for(other, method, 4, 0, "")
    assert cells.settings_for(plain, "emerit", 4, 0, "") != cells.settings_for(other, "emerit", 4, 0, "")
    settings = cells.settings_for(other, "emerit", 4, 0, "")
    assert cells.read_settings(json.loads(json.dumps(cells.asdict(settings)))) == settings


def test_the_inverse_transform_is_that_of_the_codec() -> None:
    values = np.random.default_rng(3).normal(size=128).astype(np.float32)
    update, _ = DctTopkSign().compress(values, 64, 8)
    assert isinstance(update.coefficients, SparseUpdate)
    basis = methods.cosines(8)
    blocks = update.coefficients.dense().reshape(-1, 8, 8)
    ours = np.matmul(np.matmul(basis.T, blocks), basis).reshape(-1)
    np.testing.assert_allclose(ours, update.dense(), atol=1e-6)


POINTS = st.lists(st.tuples(st.floats(1, 1e9), st.floats(0.1, 20)), min_size=1, max_size=9)


@given(POINTS, st.booleans())
def test_plots_are_well_formed_and_draw_inside_their_frame(points: list[tuple[float, float]], log_x: bool) -> None:
    axes = plots.Axes("loss <&>", "x", "y", log_x=log_x)
    root = ElementTree.fromstring(plots.point_plot({"emerit": [("w<4", point) for point in points]}, axes))
    circles = root.findall("{http://www.w3.org/2000/svg}circle")
    assert len(circles) == len(points)
    assert all(
        0 <= float(c.attrib["cx"]) <= plots.WIDTH and 0 <= float(c.attrib["cy"]) <= plots.HEIGHT for c in circles
    )
    ElementTree.fromstring(plots.line_plot({"emerit": points}, axes))


@given(st.floats(-100, 100), st.floats(0.001, 1000))
def test_ticks_are_few_and_inside(low: float, span: float) -> None:
    found = plots.ticks(low, low + span)
    assert 1 <= len(found) <= 9
    assert all(low - 1e-6 * span <= tick <= low + span + 1e-6 * span for tick in found)


def test_the_page_is_made_of_the_cells_beside_it() -> None:
    docs = SCRIPTS.parent / "docs"
    kept = report.load(docs)
    text = (docs / report.PAGE).read_text()
    assert kept and report.page(text, kept) == text, "run scripts/plot_training"
    for name, drawn in report.plots(kept).items():
        assert (docs / name).read_text() == drawn, "run scripts/plot_training"
        assert name in text
