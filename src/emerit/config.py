"""Settings: a flag, else `EMERIT_*` in the environment, else `emerit.toml`, else the default.

A key or a variable `EMERIT_*` that nobody knows is an error with a suggestion, because a misspelt setting that is
silently ignored costs hours. Each value remembers where it came from (`Settings.origins`).
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from platformdirs import user_data_path
from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from emerit.errors import UsageError

CONFIG_FILE = "emerit.toml"
ENV_PREFIX = "EMERIT_"
CONFIG_ENV = "EMERIT_CONFIG"
# Variables with our prefix that are no settings: read elsewhere, or by the entry point of the containers.
OTHER_VARIABLES = (
    "EMERIT_CONFIG",
    "EMERIT_DEMO_DIR",
    "EMERIT_HOME",
    "EMERIT_KERNELS",
    "EMERIT_PASSWORD",
    "EMERIT_WALLET",
)

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")


def _http_url(value: str) -> str:
    if not re.match(r"https?://[^/\s]+", value):
        raise ValueError("must be an http:// or https:// URL")
    return value.rstrip("/")


def _address(value: str) -> str:
    if not _ADDRESS.fullmatch(value):
        raise ValueError("must be an address: 0x and 40 hexadecimal digits")
    return value


def _lowered(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _expanded(value: Path) -> Path:
    return value.expanduser()


HttpUrl = Annotated[str, AfterValidator(_http_url)]
HomePath = Annotated[Path, AfterValidator(_expanded)]


class Settings(BaseSettings):
    """All settings that more than one command shares. Seconds are wall-clock; paths may start with `~`."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="forbid", env_ignore_empty=True)

    rpc_url: HttpUrl = "http://127.0.0.1:8545"
    ipfs_api: HttpUrl = "http://127.0.0.1:5001"
    data_dir: HomePath = Field(default_factory=lambda: user_data_path("emerit"))
    deployment: HomePath | None = None
    run: Annotated[str, AfterValidator(_address)] | None = None
    api_host: str = "127.0.0.1"
    api_port: int = Field(default=8700, ge=0, le=65535)
    log_format: Annotated[Literal["auto", "console", "json"], BeforeValidator(_lowered)] = "auto"
    log_level: Annotated[Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(_lowered)] = "info"
    poll_seconds: float = Field(default=0.5, gt=0, le=60)
    threads: int = Field(default=1, ge=1, le=1024)

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def origins(self) -> Mapping[str, str]:
        """Where each setting came from: `flag`, the variable's name, the file's path, or `default`."""
        return self._origins

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take everything from what `load_settings` hands in, which has merged the sources in order."""
        return (init_settings,)


def load_settings(
    flags: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
    config_file: Path | None = None,
) -> Settings:
    """Read the settings.

    `flags` are the command line's values; None means not given. `defaults` stand in for our own defaults (a
    devnet that runs here, for one). The file is `config_file`, else the path in
    `EMERIT_CONFIG`, else `emerit.toml` in the working directory if it is there. A relative path in the file
    is taken from the file's folder.

    Raises UsageError `config-missing`, `config-unreadable`, `config-unknown-key` or `config-invalid`.
    """
    values: dict[str, Any] = {}
    origins = dict.fromkeys(Settings.model_fields, "default")
    _refuse_unknown(defaults or {}, "the defaults")
    _merge(values, origins, defaults or {}, "default")
    path = _config_path(config_file)
    if path is not None:
        _merge(values, origins, _read_file(path), str(path))
    _refuse_unknown_variables()
    for name, value in EnvSettingsSource(Settings)().items():
        _merge(values, origins, {name: value}, ENV_PREFIX + name.upper())
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    _refuse_unknown(given, "the command line")
    _merge(values, origins, given, "flag")
    try:
        settings = Settings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise UsageError(
            "config-invalid",
            f"{name} (from {origins.get(name, 'default')}) is wrong: {_sentence(first['msg'])}.",
            f"Correct {name}.",
        ) from error
    settings._origins.update(origins)
    return settings


def _merge(values: dict[str, Any], origins: dict[str, str], more: Mapping[str, Any], origin: str) -> None:
    for name, value in more.items():
        values[name] = value
        origins[name] = origin


def _sentence(message: str) -> str:
    text = message.removeprefix("Value error, ")
    return text[:1].lower() + text[1:]


def _config_path(config_file: Path | None) -> Path | None:
    named = config_file if config_file is not None else os.environ.get(CONFIG_ENV)
    if not named:
        default = Path(CONFIG_FILE)
        return default if default.is_file() else None
    path = Path(named).expanduser()
    if not path.is_file():
        raise UsageError("config-missing", f"There is no configuration file {path}.", "Correct the path.")
    return path


def _read_file(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError("config-unreadable", f"{path} cannot be read: {error}.", "Correct the file.") from error
    _refuse_unknown(values, str(path))
    for name in ("data_dir", "deployment"):
        if isinstance(values.get(name), str):
            values[name] = path.absolute().parent / Path(values[name]).expanduser()
    return values


def _refuse_unknown_variables() -> None:
    """Refuse variables with our prefix that nothing reads; case does not matter, as for the settings themselves."""
    known = [ENV_PREFIX + name.upper() for name in Settings.model_fields] + list(OTHER_VARIABLES)
    for name in os.environ:
        if not name.upper().startswith(ENV_PREFIX) or name.upper() in known:
            continue
        close = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.75)
        fix = f"Did you mean {close[0]}?" if close else f"Unset it. Known: {', '.join(known)}."
        raise UsageError("config-unknown-key", f"The environment has an unknown variable {name!r}.", fix)


def _refuse_unknown(values: Mapping[str, Any], origin: str) -> None:
    known = list(Settings.model_fields)
    for name in values:
        if name in known:
            continue
        close = difflib.get_close_matches(name.lower().replace("-", "_"), known, n=1, cutoff=0.5)
        fix = f"Did you mean {close[0]}?" if close else f"Known keys: {', '.join(known)}."
        raise UsageError("config-unknown-key", f"{origin} has an unknown key {name!r}.", fix)
