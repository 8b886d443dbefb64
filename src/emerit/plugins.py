"""A user's own model or data set: an entry point of a package that is installed here.

A package offers one in its metadata, in the group `emerit.models` or `emerit.datasets`. A run names it together with
the SHA-256 of its module's source file, and a machine on which there is no such entry point, or whose module is
another, does not take part. Code never comes from the network: a manifest can only name what its reader has installed.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

from emerit.errors import PreconditionError

MODELS: Final = "emerit.models"
DATASETS: Final = "emerit.datasets"


@dataclass(frozen=True)
class Plugin:
    """An entry point that is installed here; `source_sha256` is that of its module's file, in hex."""

    group: str
    name: str
    module: str
    attribute: str
    source_sha256: str


def installed(group: str) -> list[str]:
    """Return the names that packages of this machine offer in a group, sorted."""
    return sorted({entry.name for entry in entry_points(group=group)})


def find_plugin(group: str, name: str) -> Plugin:
    """Return the entry point of that name, its module's source hashed and not yet run.

    Raises:
        PreconditionError: `plugin-missing`; `plugin-ambiguous` when packages offer different ones of this name;
            `plugin-source` when its module is not one file of Python source.
    """
    found = {entry.value: entry for entry in entry_points(group=group, name=name)}
    if not found:
        known = ", ".join(installed(group)) or "none"
        raise PreconditionError(
            "plugin-missing",
            f"No installed package offers {name!r} in {group} (there is: {known}).",
            "Install the package that its author publishes; nothing is ever loaded from the network.",
        )
    if len(found) > 1:
        raise PreconditionError(
            "plugin-ambiguous",
            f"Several packages offer {name!r} in {group}: {', '.join(sorted(found))}.",
            "Uninstall all but one.",
        )
    [entry] = found.values()
    return Plugin(group, name, entry.module, entry.attr, hashlib.sha256(_source(name, entry.module)).hexdigest())


def load_plugin(group: str, name: str, source_sha256: str) -> Any:
    """Return what the entry point names, once its module's source is found to have this hash.

    Raises:
        PreconditionError: as `find_plugin`; `plugin-differs` when the source is another; `plugin-broken` when it cannot
            be imported or lacks what the entry point names.
    """
    plugin = find_plugin(group, name)
    if plugin.source_sha256 != source_sha256:
        raise PreconditionError(
            "plugin-differs",
            f"The installed {name!r} ({plugin.module}) has the SHA-256 {plugin.source_sha256}, the run was made with "
            f"{source_sha256}.",
            "Install the very version of the package that the run's sponsor used.",
        )
    try:
        target: Any = importlib.import_module(plugin.module)
        for part in filter(None, plugin.attribute.split(".")):
            target = getattr(target, part)
    except (ImportError, AttributeError, SyntaxError) as error:
        cause = f"{plugin.module}:{plugin.attribute} cannot be loaded: {error}."
        raise PreconditionError("plugin-broken", cause, "Check the package's installation.") from error
    return target


def _source(name: str, module: str) -> bytes:
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.has_location or not str(spec.origin).endswith(".py"):
        raise PreconditionError(
            "plugin-source",
            f"The module {module} of {name!r} is not installed as a file of Python source.",
            "Install the package as source, the module as one file.",
        )
    return Path(str(spec.origin)).read_bytes()
