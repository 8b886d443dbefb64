"""docker-compose.yml and the Dockerfiles, read as data: there is no Docker where the tests run."""

from __future__ import annotations

import re
from typing import Any

import pytest
import typer
import yaml

from emerit.cli.main import app
from tests.unit.house.tree import ROOT

COMPOSE = (ROOT / "docker-compose.yml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE)["services"]
ONE_SHOT = {name for name, service in SERVICES.items() if service.get("restart") == "no"}
DOCKERFILES = ("docker/Dockerfile", "node/Dockerfile", "validator/Dockerfile")
VARIABLE = re.compile(r"\$\{(\w+)(?::?[-?+]([^}]*))?\}")


def settings() -> dict[str, str]:
    lines = (ROOT / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def resolved(text: str) -> str:
    """The text with the variables' defaults in their place."""
    return VARIABLE.sub(lambda match: match[2] or "", text)


def test_the_services_that_a_network_needs_are_there() -> None:
    assert set(SERVICES) >= {"chain", "ipfs", "deploy", "api", "trainer", "validator"}
    assert sorted(ONE_SHOT) == ["deploy", "open-run"]
    profiles = {name: set(service.get("profiles", [])) for name, service in SERVICES.items()}
    assert profiles["trainer"] == {"node", "demo"}
    assert profiles["validator"] == {"validator", "demo"}
    assert not any(profiles[name] for name in ("chain", "ipfs", "deploy", "open-run", "api"))


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_says_when_it_is_well_or_ends_by_itself(name: str) -> None:
    service = SERVICES[name]
    if name in ONE_SHOT:
        assert "healthcheck" not in service
        return
    health = service["healthcheck"]
    assert health["test"][0] == "CMD"
    assert {"interval", "timeout", "retries", "start_period"} <= set(health)
    assert "stop_grace_period" in service


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_waits_for_what_it_needs(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        wanted = "service_completed_successfully" if other in ONE_SHOT else "service_healthy"
        assert how["condition"] == wanted, f"{name} -> {other}"


def emerit_words(command: list[str]) -> list[str]:
    return [word for word in command[1:] if not word.startswith("-")]


def lookup(words: list[str]) -> typer.core.TyperCommand:
    command: Any = typer.main.get_command(app)
    for word in words:
        assert hasattr(command, "commands"), f"emerit {' '.join(words)}: nothing follows {command.name}"
        assert word in command.commands, f"emerit has no command {' '.join(words)}"
        command = command.commands[word]
    return command  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", SERVICES)
def test_commands_exist_with_their_options(name: str) -> None:
    service = SERVICES[name]
    for command in (service["command"], service.get("healthcheck", {}).get("test", ["CMD"])[1:]):
        if command[:1] == ["emerit"]:
            found = lookup(emerit_words(command))
            known = {option for parameter in found.params for option in parameter.opts}
            given = {word.split("=")[0] for word in command if word.startswith("--")}
            assert given <= known, f"{name}: {sorted(given - known)}"


def test_the_commands_are_the_ones_that_users_type() -> None:
    typed = {name: " ".join(emerit_words(service["command"])) for name, service in SERVICES.items()}
    assert typed["deploy"] == "deploy"
    assert typed["api"] == "api serve"
    assert typed["trainer"] == "trainer start"
    assert typed["validator"] == "validator start"


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned(name: str) -> None:
    tag = SERVICES[name]["image"].rpartition(":")[2]
    assert re.fullmatch(r"v?\d+(\.\d+)+", tag), tag


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_on_the_loopback_address_only(name: str) -> None:
    ports = SERVICES[name].get("ports", [])
    assert bool(ports) == (name in {"chain", "ipfs", "api"})
    for port in ports:
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", resolved(port)), port
        assert not resolved(port).endswith(":5001"), "the RPC of IPFS is its administration"


@pytest.mark.parametrize("name", SERVICES)
def test_nothing_runs_as_root_or_gains_rights(name: str) -> None:
    service = SERVICES[name]
    assert service["user"].split(":")[0] not in {"root", "0", ""}
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.get("privileged")


def test_every_volume_is_named_and_used() -> None:
    mounted = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    files = {volume for volume in mounted if volume.startswith("./")}
    assert mounted - files == set(yaml.safe_load(COMPOSE)["volumes"])
    assert all((ROOT / file).is_file() for file in files)


def test_every_variable_is_in_the_example_with_the_same_default() -> None:
    example = settings()
    used = {match[1]: match[2] or "" for match in VARIABLE.finditer(COMPOSE)}
    assert set(example) == set(used)
    assert {name: example[name] for name in used} == used


def test_only_secrets_and_choices_have_no_default() -> None:
    assert {name for name, value in settings().items() if not value} == {
        "EMERIT_PASSWORD",
        "EMERIT_RUN",
        "TORCH_INDEX_URL",
    }


@pytest.mark.parametrize("name", DOCKERFILES)
def test_images_are_built_in_stages_and_end_without_root(name: str) -> None:
    text = (ROOT / name).read_text()
    stages = re.split(r"(?m)^FROM ", text)[1:]
    assert len(stages) >= 2
    for stage in stages:
        base = stage.split()[0]
        assert "-slim" in base, base
        assert re.search(r":\d+\.\d+", base), base
    for stage in stages:
        if "ENTRYPOINT" in stage:
            users = re.findall(r"(?m)^USER (\S+)", stage)
            assert users, "an image that runs names its user"
            assert users[-1] != "root"


def stage_of(name: str, title: str) -> str:
    stages = {
        stage.splitlines()[0].split()[-1]: stage for stage in re.split(r"(?m)^FROM ", (ROOT / name).read_text())[1:]
    }
    return stages[title].strip()


def test_the_builder_is_the_same_everywhere() -> None:
    assert len({stage_of(name, "builder") for name in DOCKERFILES}) == 1


def test_what_the_images_copy_is_there_and_sent_to_the_builder() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    for name in DOCKERFILES:
        for sources in re.findall(r"(?m)^COPY (?!--from)(.+) \S+$", (ROOT / name).read_text()):
            for source in sources.split():
                assert (ROOT / source).exists(), f"{name}: {source}"
                assert source in allowed, f".dockerignore leaves out {source}"
