"""The compiled contracts that the package carries (written by `scripts/compile_contracts`)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

from eth_abi.abi import encode

from emerit.chain.abi import Abi
from emerit.errors import PreconditionError

CONTRACTS: Final = (
    "EmeritToken",
    "Stakes",
    "Rewards",
    "Penalties",
    "Disputes",
    "Settlement",
    "TrainingRun",
    "Reputation",
    "ReputationAdapter",
    "RunFactory",
)


@dataclass(frozen=True)
class Artifact:
    """One compiled contract; `immutables` are the spans of the code that are filled in at deployment.

    The interface of `TrainingRun` is all that a run's address answers, by its own code or by what it delegates to.
    """

    name: str
    abi: Abi
    bytecode: bytes
    runtime: bytes
    immutables: tuple[tuple[int, int], ...]
    compiler: str
    source_hash: str

    def creation(self, *args: Any) -> bytes:
        """Return the data of the transaction that deploys it with these constructor arguments."""
        return self.bytecode + encode(self.abi.constructor, args)

    def matches(self, code: bytes) -> bool:
        """Return whether `code` on chain is this contract, whatever its immutable values are."""
        return len(code) == len(self.runtime) and self._masked(code) == self._masked(self.runtime)

    def _masked(self, code: bytes) -> bytes:
        masked = bytearray(code)
        for start, length in self.immutables:
            masked[start : start + length] = bytes(length)
        return bytes(masked)


@cache
def load_artifact(name: str) -> Artifact:
    """Return the artifact of one of `CONTRACTS`.

    Raises PreconditionError `artifact-missing` when the package has been built without it.
    """
    resource = files("emerit.chain").joinpath("artifacts", f"{name}.json")
    if not resource.is_file():
        raise PreconditionError(
            "artifact-missing", f"The compiled contract {name} is not in the package.", "Run make contracts."
        )
    fields = json.loads(resource.read_text(encoding="utf-8"))
    return Artifact(
        name=name,
        abi=Abi.from_json(fields["abi"]),
        bytecode=_code(fields["bytecode"]),
        runtime=_code(fields["deployedBytecode"]),
        immutables=_spans(fields["immutableReferences"]),
        compiler=str(fields["compiler"]),
        source_hash=str(fields["sourceHash"]),
    )


def load_abi(name: str) -> Abi:
    """Return the interface of one of `CONTRACTS`."""
    return load_artifact(name).abi


def _code(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def _spans(references: Mapping[str, Sequence[Mapping[str, int]]]) -> tuple[tuple[int, int], ...]:
    spans = [(int(each["start"]), int(each["length"])) for places in references.values() for each in places]
    return tuple(sorted(spans))
