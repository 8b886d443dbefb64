"""How to write an attack: a class with a name, a source, a sentence, and one method.

A trainers' attack has `contribute`, a validators' attack `vote`. One object plays all of the attacker's identities for
a whole experiment and may keep what it likes between rounds. docs/lab.md has an example.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from emerit.codec.update import SparseUpdate
from emerit.lab.view import RoundView, VoteView

Sent = SparseUpdate | bytes
"""What an identity sends: an update, which the lab encodes, or the bytes of a blob as they are."""


class Attack(ABC):
    """Trainers that cheat.

    Attributes:
        name: kebab case, as the command line has it.
        source: where the attack is described.
        says: what it does, in a sentence.
        one_machine: whether all identities have one machine between them; else each could do honest work.
        machine_share: how much of an honest trainer's compute each of its machines has.
        works: whether it does what its machines can, so that it may earn what they would honestly.
        honest: whether it does nothing wrong: a trainer that is unlike the others, and must not be punished for it.
        by_document: whether everybody's text comes from one place of the corpus (text that is not alike).
        commits: when its identities commit: `drawn` like everybody else, `first` or `last`. Whoever copies what he
            has seen is last; first is more than a run would allow him.
    """

    name: ClassVar[str]
    source: ClassVar[str]
    says: ClassVar[str]
    one_machine: ClassVar[bool] = False
    machine_share: ClassVar[float] = 1.0
    works: ClassVar[bool] = False
    honest: ClassVar[bool] = False
    by_document: ClassVar[bool] = False
    commits: ClassVar[str] = "drawn"

    @abstractmethod
    def contribute(self, view: RoundView) -> Mapping[int, Sent]:
        """Return what each of `view.slots` sends in this round; who is missing sends nothing."""


class ValidatorAttack(ABC):
    """Validators that cheat.

    Attributes:
        friends: what the attacker's trainers do, None where it has none. They are as large a part of the trainers as
            its validators are of the validators.
    """

    name: ClassVar[str]
    source: ClassVar[str]
    says: ClassVar[str]
    friends: ClassVar[type[Attack] | None] = None

    @abstractmethod
    def vote(self, view: VoteView) -> Mapping[int, tuple[int, ...]]:
        """Return the vector of codes of each of `view.slots`; who is missing reveals nothing."""


AnyAttack = Attack | ValidatorAttack
