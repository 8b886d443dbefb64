"""Play an experiment: rounds of contributions, votes, settlement and state, as a run has them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from emerit.codec.aggregate import decode_aggregate, encode_aggregate
from emerit.codec.blob import decode_blob, encode_blob, largest_blob_bytes
from emerit.codec.update import UNIT, SparseUpdate
from emerit.errors import RefusedError
from emerit.lab.arena import Arena
from emerit.lab.attack import AnyAttack, Attack, Sent, ValidatorAttack
from emerit.lab.defence import Defence, Opinion
from emerit.lab.machine import Machine
from emerit.lab.view import PastRound, RoundView, Seen, VoteView
from emerit.model.flat import FlatModel
from emerit.model.table import table_hash
from emerit.protocol import minifloat
from emerit.protocol.consensus import Votes, aggregated_slots
from emerit.protocol.rollback import takes_back
from emerit.protocol.seeds import derive
from emerit.protocol.settlement import Settlement, SettlementInputs, settle
from emerit.protocol.types import HEALTH_LANE, ZERO_HASH, Leaf
from emerit.scoring.fast_checks import check_not_empty
from emerit.scoring.losses import sequence_losses
from emerit.training.last_step import LastStep
from emerit.training.state import initial_state, to_float

BUDGET_WEI: Final = 10**18
VALIDATOR_SHARE_BPS: Final = 2000
CURVE_SEQUENCES: Final = 128
_MOST_AGGREGATE_BYTES: Final = 1 << 32

OnRound = Callable[[int, int, float], None]
"""Called after each round with (rounds done, rounds in all, held-out loss in nats per token)."""


@dataclass(frozen=True)
class RoundRecord:
    """What a round came to: amounts by registry index, the others by trainer slot (those that sent something).

    `took_back` says that it took the aggregate of the round before back, and judged nobody; `harm_nats` is the honest
    validators' health lane.
    """

    codes: dict[int, str]
    weights: dict[int, int]
    amounts_wei: list[int]
    validator_outcomes: list[str]
    loss: float
    took_back: bool = False
    harm_nats: float = 0.0


@dataclass(frozen=True)
class Played:
    """An experiment's outcome.

    Attributes:
        attackers: trainer slots of the attacker; `attacking_validators` its validator slots.
        machines: how many honest trainers' machines the attacker has.
        idle: identities that would be idle if its machines worked honestly, one identity each.
        final_loss: nats per token on all held-out sequences after the last round.
        state_root: of the last state, in hex.
    """

    attackers: list[int]
    attacking_validators: list[int]
    machines: int
    idle: int
    rounds: list[RoundRecord]
    final_loss: float
    state_root: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Played:
        """Return what `to_dict` gave, also by way of JSON."""
        rounds = [
            RoundRecord(
                {int(slot): code for slot, code in item["codes"].items()},
                {int(slot): weight for slot, weight in item["weights"].items()},
                item["amounts_wei"],
                item["validator_outcomes"],
                item["loss"],
                item.get("took_back", False),
                item.get("harm_nats", 0.0),
            )
            for item in data["rounds"]
        ]
        return cls(**{**data, "rounds": rounds})


@dataclass
class Cast:
    """Who is who in an experiment: slots in ascending order, the attacker's last."""

    attackers: tuple[int, ...]
    workers: dict[int, Machine]
    machines: list[Machine]
    validators: tuple[int, ...]
    trainers_attack: Attack | None
    validators_attack: ValidatorAttack | None
    idle: tuple[int, ...]

    @classmethod
    def of(cls, arena: Arena, attack: AnyAttack | None) -> Cast:
        """Give everybody a part."""
        settings = arena.settings
        by_validators = attack if isinstance(attack, ValidatorAttack) else None
        friends = by_validators.friends if by_validators else None
        by_trainers = attack if isinstance(attack, Attack) else (friends() if friends else None)
        count = settings.identities(settings.trainers) if by_trainers else 0
        attackers = tuple(range(settings.trainers - count, settings.trainers))
        votes = settings.identities(settings.validators) if by_validators else 0
        idle = tuple(range(settings.trainers - settings.idle, settings.trainers))
        honest = [slot for slot in range(settings.trainers) if slot not in attackers and slot not in idle]
        machines = 1 if by_trainers and by_trainers.one_machine else count
        share = by_trainers.machine_share if by_trainers else 1.0
        made = [Machine(arena.manifest, arena.private_seed(attackers[place]), share) for place in range(machines)]
        return cls(
            attackers=attackers,
            workers={slot: Machine(arena.manifest, arena.private_seed(slot)) for slot in honest},
            machines=made,
            validators=tuple(range(settings.validators - votes, settings.validators)),
            trainers_attack=by_trainers,
            validators_attack=by_validators,
            idle=idle,
        )


@dataclass
class Play:
    """An experiment in the middle of its rounds."""

    arena: Arena
    cast: Cast
    defence: Defence
    past: list[PastRound] = field(default_factory=list)
    leaves: tuple[Leaf, ...] = ()
    before: NDArray[np.int32] | None = None
    last: LastStep | None = None
    previous_hash: bytes = ZERO_HASH

    def __post_init__(self) -> None:
        """Start from the run's initial state."""
        manifest = self.arena.manifest
        self._table = table_hash(manifest.model)
        self.state = initial_state(manifest.model, manifest.initial_seed_bytes, manifest.outer)
        self.root = self.state.root(self._table)
        self._model = FlatModel(manifest.model)
        self._sent: dict[int, SparseUpdate] = {}

    def round(self, number: int) -> RoundRecord:
        """Play one round."""
        seen = self._reveals(number)
        opinion = self.defence.weigh(seen)
        vectors = self._votes(number, opinion)
        settlement = self._settle(number, vectors, seen)
        took_back = self._takes_back(number, vectors)
        step = self._take_back() if took_back else self._advance(number, seen, settlement)
        base_loss = settlement.consensus.base_loss
        self.past.append(PastRound(number, seen.updates, step, settlement.weights, base_loss, took_back))
        revealed = set(seen.updates) | set(seen.refused)
        return RoundRecord(
            {slot: opinion.codes.get(slot, "") for slot in sorted(revealed)},
            {slot: settlement.weights[slot] for slot in sorted(revealed)},
            list(settlement.amounts_wei),
            [str(settlement.validator_outcomes[slot]) for slot in range(self.arena.settings.validators)],
            self.loss(CURVE_SEQUENCES),
            took_back,
            self._harm_nats(opinion),
        )

    def _harm_nats(self, opinion: Opinion) -> float:
        code = opinion.vector[HEALTH_LANE]
        return 0.0 if code == minifloat.ABSTAIN else minifloat.decode(code) * self.arena.manifest.scoring.loss_unit

    def loss(self, sequences: int | None = None) -> float:
        """Return the state's loss on held-out sequences, evenly spread, in nats per token."""
        text = self.arena.corpus.heldout
        self._model.load(to_float(self.state.values))
        few = text[:: max(1, len(text) // sequences)] if sequences else text
        return float(sequence_losses(self._model.module, few).mean())

    # ---- contributions

    def _reveals(self, number: int) -> Seen:
        """Let everybody work, and check the blobs as validators do."""
        sent: dict[int, Sent] = {
            slot: machine.work(number, self.state.values, self._assigned(number, slot))
            for slot, machine in self.cast.workers.items()
        }
        self._sent = {slot: update for slot, update in sent.items() if isinstance(update, SparseUpdate)}
        if self.cast.trainers_attack is not None:
            sent |= self.cast.trainers_attack.contribute(self._view(number, self._sent))
        updates, refused = {}, {}
        for slot in sorted(sent):
            try:
                updates[slot] = self._checked(number, slot, sent[slot])
            except RefusedError as error:
                refused[slot] = error.code
        judged = next((past for past in reversed(self.past) if not past.took_back), None)
        trust = dict(enumerate(judged.weights)) if judged else {}
        order = self._commit_order(number, sorted(sent))
        values, momentum = self.state.values, self.state.momentum
        return Seen(number, values, self.before, updates, refused, order, trust, self.past, self.arena, momentum)

    def _checked(self, number: int, slot: int, sent: Sent) -> SparseUpdate:
        expected = self.arena.expectation(number, slot, self.root)
        blob = sent if isinstance(sent, bytes) else encode_blob(expected.header(), sent)
        limit = largest_blob_bytes(expected.size, expected.chunk, expected.k, self.arena.manifest.codec.name)
        update = decode_blob(blob, expected, limit)[1]
        check_not_empty(update)
        return update

    def _view(self, number: int, others: Mapping[int, SparseUpdate]) -> RoundView:
        slots = self.cast.attackers
        return RoundView(
            number=number,
            rounds=self.arena.settings.rounds,
            slots=slots,
            values=self.state.values,
            assigned={slot: self._assigned(number, slot) for slot in slots},
            others=others,
            past=self.past,
            machines=self.cast.machines,
            random=self._random("attack", number),
            arena=self.arena,
        )

    def _commit_order(self, number: int, slots: list[int]) -> dict[int, int]:
        """Return a place for each slot that commits: drawn, the attacker's first or last where it says so."""
        attack = self.cast.trainers_attack
        shift = {"first": -1, "last": 1}.get(attack.commits, 0) if attack else 0
        seed = derive(self.arena.assign_seed(number), "emerit/lab/commits")
        order = sorted(
            slots,
            key=lambda slot: (shift * (slot in self.cast.attackers), derive(seed, "emerit/lab/place", slot)),
        )
        return {slot: place for place, slot in enumerate(order)}

    def _assigned(self, number: int, slot: int) -> NDArray[np.uint8]:
        return self.arena.corpus.train[self.arena.assigned(number, slot)]

    # ---- votes, settlement, state

    def _votes(self, number: int, opinion: Opinion) -> dict[int, tuple[int, ...]]:
        """Return what each validator reveals."""
        votes = dict.fromkeys(range(self.arena.settings.validators), opinion.vector)
        attack = self.cast.validators_attack
        if attack is None:
            return votes
        slots = self.cast.validators
        view = VoteView(number, slots, opinion.vector, self.cast.attackers, self.past, self._random("votes", number))
        told = attack.vote(view)
        return {slot: vector for slot, vector in votes.items() if slot not in slots} | {
            slot: told[slot] for slot in slots if slot in told
        }

    def _settle(self, number: int, vectors: dict[int, tuple[int, ...]], seen: Seen) -> Settlement:
        inputs = SettlementInputs(
            run=self.arena.expectation(number, 0, self.root).run,
            round=number,
            attempt=0,
            previous_hash=self.previous_hash,
            reveals_hash=ZERO_HASH,
            members=self.arena.members(number),
            vectors=vectors,
            previous_leaves=self.leaves,
            budget_wei=BUDGET_WEI,
            validator_share_bps=VALIDATOR_SHARE_BPS,
            state_root=self.root,
            aggregate_hash=ZERO_HASH,
            reputation=self.arena.reputation(),
        )
        settlement = settle(inputs)
        self.leaves, self.previous_hash = settlement.leaves, settlement.header_hash
        return settlement

    def _advance(self, number: int, seen: Seen, settlement: Settlement) -> NDArray[np.float32]:
        """Apply the round's aggregate, through its bytes; return it as a vector float32[P]."""
        manifest = self.arena.manifest
        best = aggregated_slots(settlement, manifest.outer.max_aggregated)
        slots = [slot for slot in best if slot in seen.updates]
        positions, deltas = self.defence.combine(seen, slots)
        size = self.state.values.size
        blob = encode_aggregate(number, size, positions, deltas)
        step = decode_aggregate(blob, size, _MOST_AGGREGATE_BYTES, number)
        for slot, machine in self.cast.workers.items():
            if slot not in slots and not settlement.consensus.refused(slot):
                machine.returned(number, self._sent[slot])
        self.before = self.state.values
        self.state, self.last = LastStep.take(
            self.state, step.positions, step.deltas, manifest.outer, self._table, self.root
        )
        self.root = self.last.root_after
        dense = np.zeros(size, dtype=np.float32)
        dense[step.positions] = step.deltas * UNIT
        return dense

    def _takes_back(self, number: int, vectors: dict[int, tuple[int, ...]]) -> bool:
        members = self.arena.members(number)
        votes = Votes(members.trainer_slots, members.stake_lanes, vectors, members.occupied)
        return takes_back(votes, self.arena.manifest.rollback_units, is_possible=self.last is not None)

    def _take_back(self) -> NDArray[np.float32]:
        """Return to the state before the last aggregate; return what that subtracts, float32[P]."""
        assert self.last is not None
        now = self.state
        self.state = self.last.taken_back(now, self.arena.manifest.outer, self._table)
        self.root, self.last, self.before = self.last.root_before, None, None
        for machine in self.cast.workers.values():
            machine.forget()
        change = np.subtract(now.values, self.state.values, dtype=np.int64)
        return (change * UNIT).astype(np.float32)

    def _random(self, what: str, number: int) -> np.random.Generator:
        digest = hashlib.sha256(f"emerit/lab/{what}/{self.arena.settings.seed}/{number}".encode()).digest()
        return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "big")))


def play(arena: Arena, attack: AnyAttack | None, defence: Defence, on_round: OnRound | None = None) -> Played:
    """Play all rounds of an experiment."""
    cast, rounds = Cast.of(arena, attack), arena.settings.rounds
    game = Play(arena, cast, defence)
    records = []
    for number in range(rounds):
        records.append(game.round(number))
        if on_round is not None:
            on_round(number + 1, rounds, records[-1].loss)
    identities, machines = len(cast.attackers), len(cast.machines)
    return Played(
        attackers=list(cast.attackers),
        attacking_validators=list(cast.validators),
        machines=machines,
        idle=identities - machines,
        rounds=records,
        final_loss=game.loss(),
        state_root=game.root.hex(),
    )
