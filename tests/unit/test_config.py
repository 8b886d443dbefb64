from __future__ import annotations

from pathlib import Path

import pytest

from emerit.config import OTHER_VARIABLES, Settings, load_settings
from emerit.errors import UsageError


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (*Settings.model_fields, "config"):
        monkeypatch.delenv(f"EMERIT_{name.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)


def test_defaults() -> None:
    settings = load_settings()
    assert settings.rpc_url == "http://127.0.0.1:8545"
    assert settings.ipfs_api == "http://127.0.0.1:5001"
    assert (settings.api_host, settings.api_port) == ("127.0.0.1", 8700)
    assert (settings.log_format, settings.log_level) == ("auto", "info")
    assert (settings.poll_seconds, settings.threads) == (0.5, 1)
    assert settings.deployment is None and settings.run is None
    assert settings.data_dir.is_absolute()
    assert set(settings.origins.values()) == {"default"}


def test_flag_beats_environment_beats_file_beats_default(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("emerit.toml").write_text('rpc_url = "http://file:1"\napi_port = 1111\nthreads = 3\n')
    monkeypatch.setenv("EMERIT_RPC_URL", "http://env:2/")
    monkeypatch.setenv("EMERIT_API_PORT", "2222")
    settings = load_settings({"rpc_url": "http://flag:3", "api_port": None})
    assert (settings.rpc_url, settings.api_port, settings.threads) == ("http://flag:3", 2222, 3)
    assert settings.poll_seconds == 0.5
    assert settings.origins["rpc_url"] == "flag"
    assert settings.origins["api_port"] == "EMERIT_API_PORT"
    assert settings.origins["threads"].endswith("emerit.toml")
    assert settings.origins["poll_seconds"] == "default"


def test_given_defaults_stand_below_everything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMERIT_IPFS_API", "http://env:5")
    settings = load_settings({}, {"rpc_url": "http://devnet:1", "ipfs_api": "http://devnet:5"})
    assert (settings.rpc_url, settings.ipfs_api) == ("http://devnet:1", "http://env:5")


@pytest.mark.parametrize(
    ("key", "suggestion"),
    [("rpc_ulr", "rpc_url"), ("poll-seconds", "poll_seconds"), ("apiport", "api_port"), ("LOG_LEVEL", "log_level")],
)
def test_unknown_key_in_the_file_has_a_suggestion(key: str, suggestion: str) -> None:
    Path("emerit.toml").write_text(f"{key} = 1\n")
    with pytest.raises(UsageError) as caught:
        load_settings()
    assert caught.value.code == "config-unknown-key"
    assert caught.value.fix == f"Did you mean {suggestion}?"
    assert key in caught.value.cause and "emerit.toml" in caught.value.cause


def test_unknown_key_without_a_likeness_lists_the_known_ones() -> None:
    Path("emerit.toml").write_text("[zzz]\nx = 1\n")
    with pytest.raises(UsageError) as caught:
        load_settings()
    assert caught.value.code == "config-unknown-key" and "rpc_url" in caught.value.fix


def test_unknown_flag_is_refused() -> None:
    with pytest.raises(UsageError, match="config-unknown-key"):
        load_settings({"colour": "red"})


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("RPC_URL", "ws://host", "rpc_url"),
        ("API_PORT", "70000", "api_port"),
        ("API_PORT", "many", "api_port"),
        ("RUN", "0x12", "run"),
        ("LOG_FORMAT", "xml", "log_format"),
        ("POLL_SECONDS", "0", "poll_seconds"),
        ("THREADS", "0", "threads"),
    ],
)
def test_a_wrong_value_names_the_setting_and_where_it_came_from(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(f"EMERIT_{name}", value)
    with pytest.raises(UsageError) as caught:
        load_settings()
    assert caught.value.code == "config-invalid"
    assert words in caught.value.cause and f"EMERIT_{name}" in caught.value.cause


def test_empty_variables_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMERIT_RUN", "")
    assert load_settings().run is None


def test_named_file_must_exist_and_be_toml(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="config-missing"):
        load_settings(config_file=tmp_path / "absent.toml")
    monkeypatch.setenv("EMERIT_CONFIG", str(tmp_path / "absent.toml"))
    with pytest.raises(UsageError, match="config-missing"):
        load_settings()
    broken = tmp_path / "broken.toml"
    broken.write_text("rpc_url = \n")
    with pytest.raises(UsageError, match="config-unreadable"):
        load_settings(config_file=broken)


def test_paths_of_the_file_are_relative_to_it(tmp_path: Path) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "my.toml").write_text('data_dir = "data"\ndeployment = "/abs/31337.json"\nlog_level = "WARNING"\n')
    settings = load_settings(config_file=folder / "my.toml")
    assert settings.data_dir == folder / "data"
    assert settings.deployment == Path("/abs/31337.json")
    assert settings.log_level == "warning"


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().api_port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("EMERIT_RPC_ULR", "Did you mean EMERIT_RPC_URL?"),
        ("EMERIT_RPCURL", "Did you mean EMERIT_RPC_URL?"),
        ("EMERIT_PASWORD", "Did you mean EMERIT_PASSWORD?"),
        ("emerit_log_levle", "Did you mean EMERIT_LOG_LEVEL?"),
        ("EMERIT_ZZZ", "Unset it. Known: "),
    ],
)
def test_a_misspelt_variable_is_not_ignored(monkeypatch: pytest.MonkeyPatch, name: str, fix: str) -> None:
    monkeypatch.setenv(name, "http://host:1")
    with pytest.raises(UsageError) as caught:
        load_settings()
    assert caught.value.code == "config-unknown-key"
    assert caught.value.fix.startswith(fix)
    assert name in caught.value.cause


def test_variables_that_are_read_elsewhere_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OTHER_VARIABLES:
        monkeypatch.setenv(name, "")
    assert load_settings().run is None
