"""Entry points of packages that are really installed, into a folder on sys.path."""

from __future__ import annotations

from pathlib import Path

import pytest

from emerit.errors import PreconditionError
from emerit.plugins import DATASETS, MODELS, find_plugin, installed, load_plugin
from tests.unit.packages import DATASET, MODEL, install


def code_of(group: str, name: str, sha256: str = "") -> str:
    with pytest.raises(PreconditionError) as caught:
        load_plugin(group, name, sha256)
    assert caught.value.fix
    return caught.value.code


def test_an_installed_package_is_found_and_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = install(monkeypatch, tmp_path, "poem_texts", DATASET, DATASETS, "poems = poem_texts:poems")
    assert "poems" in installed(DATASETS)
    plugin = find_plugin(DATASETS, "poems")
    assert (plugin.module, plugin.attribute, plugin.source_sha256) == ("poem_texts", "poems", digest)
    assert len(list(load_plugin(DATASETS, "poems", digest)())) == 9


def test_what_is_not_installed_is_never_looked_for_elsewhere() -> None:
    assert code_of(MODELS, "not-here") == "plugin-missing"


def test_another_source_is_refused_before_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = tmp_path / "ran"
    source = f"open({str(marker)!r}, 'w').close()\nx = 1\n"
    digest = install(monkeypatch, tmp_path / "site", "loud_module", source, MODELS, "loud = loud_module:x")
    assert code_of(MODELS, "loud", "00" * 32) == "plugin-differs"
    assert not marker.exists()
    assert load_plugin(MODELS, "loud", digest) == 1
    assert marker.exists()


def test_one_changed_byte_is_another_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = install(monkeypatch, tmp_path, "own_model", MODEL, MODELS, "bigram = own_model:Architecture")
    install(monkeypatch, tmp_path, "own_model", MODEL + "\n", MODELS, "bigram = own_model:Architecture")
    assert code_of(MODELS, "bigram", digest) == "plugin-differs"


@pytest.mark.parametrize(
    ("source", "entry", "code"),
    [
        ("x = 1\n", "it = some_module:y", "plugin-broken"),
        ("import not_there_at_all\n", "it = some_module:x", "plugin-broken"),
        ("this is no Python\n", "it = some_module:x", "plugin-broken"),
        ("x = 1\n", "it = not_there_at_all:x", "plugin-source"),
        ("x = 1\n", "it = sys:path", "plugin-source"),
    ],
)
def test_what_cannot_be_loaded_is_named(
    source: str, entry: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = install(monkeypatch, tmp_path, "some_module", source, MODELS, entry)
    assert code_of(MODELS, "it", digest) == code


def test_two_packages_of_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, tmp_path / "a", "module_a", "x = 1\n", MODELS, "twice = module_a:x")
    install(monkeypatch, tmp_path / "b", "module_b", "x = 2\n", MODELS, "twice = module_b:x")
    assert code_of(MODELS, "twice") == "plugin-ambiguous"
