"""Recompute a validator's weights of a past round from chain and IPFS, and say where they differ.

The state before the round, the contributions, the seeds and who is who follow from the chain; what the validator alone
knew (what came in time, what it had time for, its history) from its evidence, see `recorded` and `history_check`.
Measured is by the same code as the validator's, compared is by `emerit.scoring.agreement`.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from emerit.errors import EmeritError, StateError, UnavailableError, UsageError
from emerit.protocol.commitments import unpack_vector
from emerit.protocol.settlement_tree import payable
from emerit.protocol.types import HEALTH_LANE, RegistryEntry, WeightReveal
from emerit.run.catch_up import CatchUp
from emerit.run.context import RunContext
from emerit.run.ledger import Ledger, SettledEntry
from emerit.run.ratings import Ratings, standings
from emerit.run.rollback import take_back_at
from emerit.run.state import StateFollower
from emerit.run.work import past_work_seed
from emerit.scoring.agreement import (
    DIFFERS,
    NO_LANE,
    Difference,
    Lane,
    compare_lanes,
    evidence_differences,
    figure_differences,
)
from emerit.scoring.basis import Basis
from emerit.scoring.clusters import Clusters
from emerit.scoring.evaluate import OnProgress
from emerit.scoring.fast_checks import clip_scales
from emerit.scoring.leave_one_out import LeaveOneOut
from emerit.scoring.recent import ROUNDS, paid_before
from emerit.scoring.similarity import AGGREGATE, Earlier, find_clusters
from emerit.scoring.take_back import votes_to_take_back
from emerit.scoring.trust import trusted
from emerit_validator.guilt import Accused, as_far_as, guilt_differences
from emerit_validator.history_check import (
    exclusion_differences,
    history_differences,
    last_revealed_before,
    starts_anew,
)
from emerit_validator.inquest import shut_out_until
from emerit_validator.measuring import Look, Measured, Measuring
from emerit_validator.recent import last_aggregate
from emerit_validator.recorded import Blobs, Statement, fetch_statement, recorded_view, unjudged_view
from emerit_validator.seeds import RoundSeeds, round_seeds
from emerit_validator.weighing import Figures, Recorded, Scored, weigh

Tell = Callable[[str], None]
SHOWN: Final = 20


@dataclass(frozen=True)
class ReplayedVote:
    """One validator's weights of one round, held against a replay.

    `identical`: vector and evidence are, to the bit, what this machine computes. `error`: why it could not be replayed.
    """

    round: int
    slot: int
    account: str
    lanes: tuple[Lane, ...] = ()
    differences: tuple[Difference, ...] = ()
    notes: tuple[str, ...] = ()
    identical: bool = False
    error: EmeritError | None = None

    @property
    def beyond(self) -> list[Difference]:
        """What is beyond the tolerance."""
        return [item for item in self.differences if item.beyond]

    @property
    def agrees(self) -> bool:
        """Whether it was replayed, and nothing is beyond the tolerance."""
        return self.error is None and not self.beyond and all(lane.verdict != DIFFERS for lane in self.lanes)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "round": self.round,
            "slot": self.slot,
            "account": self.account,
            "agrees": self.agrees,
            "identical": self.identical,
            "lanes": [lane.as_dict() for lane in self.lanes],
            "differences": [item.as_dict() for item in self.differences],
            "notes": list(self.notes),
            "error": None if self.error is None else self.error.as_dict(),
        }


@dataclass
class _Round:
    """What the replays of one round's validators share."""

    number: int
    seeds: RoundSeeds
    trust: dict[int, int]
    blobs: Blobs
    earlier: dict[int, Blobs]
    paid: dict[int, dict[int, int]]
    accused: Accused | None = None
    looked: Look | None = None
    found: LeaveOneOut | None = None
    measured: dict[tuple[tuple[int, ...], tuple[int, ...]], Measured] = field(default_factory=dict)
    clusters: dict[tuple[tuple[int, ...], tuple[tuple[int, int], ...], tuple[int, ...]], Clusters] = field(
        default_factory=dict
    )


@dataclass(frozen=True)
class _Again:
    """What a validator's weights follow from: as it is found again (`ours`), and as its evidence tells it (`told`)."""

    taken: Recorded
    ours: Figures
    told: Figures
    differences: list[Difference]
    notes: list[str]


class Replayer:
    """Replays rounds of one run; model, corpus and state are kept between them, in `folder` across commands."""

    def __init__(
        self, context: RunContext, folder: Path, corpus: Path, tell: Tell, on_progress: OnProgress = lambda *_: None
    ) -> None:
        """`tell` hears what takes a while, `on_progress` of every contribution measured."""
        self._context = context
        self._ledger = Ledger(context.client)
        self._follower = StateFollower.open(context, folder)
        self._measuring = Measuring(context.manifest, context.dataset(corpus))
        self._tell = tell
        self._on_progress = on_progress

    def round(self, number: int, only: RegistryEntry | None = None) -> list[ReplayedVote]:
        """Replay a round's validators, or `only` one, in the order in which they revealed.

        Raises:
            StateError: `round-unknown`; `state-root-mismatch`.
            UsageError: `no-weights-revealed`.
            UnavailableError: `aggregate-unavailable`, when the state cannot be built; the chain did not answer.
        """
        client = self._context.client
        members = client.members_in(number)
        reveals = [
            item
            for item in client.weight_reveals(number)
            if only is None or (item.slot == only.slot and members.seat_of(only) is not None)
        ]
        if not reveals:
            raise _nothing_revealed(number, only, [item.slot for item in client.weight_reveals(number)])
        self._tell(f"round {number}: building the state before it")
        self._follow(number)
        prepared = self._prepare(number)
        return [self._vote(prepared, item) for item in reveals]

    def _follow(self, number: int) -> None:
        """Bring the state to what it was before the round, with the step that led to it."""
        follower = self._follower
        settled = [item for item in self._context.client.state_chain() if item.round < number]
        progress, root = CatchUp(self._tell), self._context.params.initial_state_root
        nothing_before = not settled or take_back_at(settled, len(settled) - 1, root) is not None
        is_there = follower.settled == len(settled) and (follower.previous is not None or nothing_before)
        if not is_there:
            follower.advance(settled[:-1], on_step=progress)
        follower.from_checkpoints, kept = False, follower.from_checkpoints  # a checkpoint would hide the last step
        try:
            follower.advance(settled, on_step=progress)
        finally:
            follower.from_checkpoints = kept

    def _prepare(self, number: int) -> _Round:
        client, manifest = self._context.client, self._context.manifest
        eval_seed = client.drawn(number)
        if eval_seed is None:
            raise StateError("round-unknown", f"Round {number} has no evaluation seed yet.", "Wait for its scores.")
        reveals = {item.slot: item for item in client.reveals(number)}
        assign_seed = past_work_seed(client, manifest.training, number)
        coverage, members = self._ledger.coverage(number), client.members_in(number)
        self._ledger.update()
        entries = [entry for entry in self._ledger.entries if entry.round < number]
        known = standings(entries[-1] if entries else None, members, Ratings().after(entries))
        judged = self._ledger.last_judged(number)
        seeds = round_seeds(client, number, assign_seed, eval_seed, set(reveals), coverage, known, judged)
        blobs = Blobs(self._context, members, self._follower.root, reveals)
        latest = [entry for entry in entries if any(map(payable, entry.settlement.weights))][-ROUNDS:]
        earlier = {entry.round: self._blobs_of(entry) for entry in latest}
        paid = {
            entry.round: {slot: weight for slot, weight in enumerate(entry.settlement.weights) if payable(weight)}
            for entry in latest
        }
        undone = self._ledger.taken_back_before(number)
        accused = None
        if undone is not None:
            root = self._root_before(undone.taken_back)
            accused = Accused.of(self._context, self._ledger, undone, root)
        return _Round(number, seeds, self._ledger.trust(number), blobs, earlier, paid, accused)

    def _blobs_of(self, entry: SettledEntry) -> Blobs:
        reveals = {item.slot: item for item in entry.contributions}
        return Blobs(self._context, entry.members, self._root_before(entry.round), reveals)

    def _root_before(self, number: int) -> bytes:
        roots = [item.header.body.state_root for item in self._context.client.state_chain() if item.round < number]
        return roots[-1] if roots else self._context.params.initial_state_root

    def _vote(self, it: _Round, reveal: WeightReveal) -> ReplayedVote:
        entry = self._context.client.members_in(it.number).validator_in(reveal.slot)
        assert entry is not None
        try:
            return self._replayed(it, reveal, entry)
        except EmeritError as error:
            return ReplayedVote(it.number, reveal.slot, entry.account, error=error)

    def _replayed(self, it: _Round, reveal: WeightReveal, entry: RegistryEntry) -> ReplayedVote:
        manifest = self._context.manifest
        statement = fetch_statement(self._context, reveal)
        theirs = statement.basis
        takes_back = theirs.health is not None and votes_to_take_back(theirs.health, manifest)
        again = (self._unjudged if takes_back else self._judged)(it, statement)
        differences = again.differences
        if theirs.health is not None and self._looked(it).harm is None:
            differences.append(Difference(HEALTH_LANE, "health", f"{theirs.health:.9g}", "no aggregate to judge"))
        trust = trusted(it.trust, theirs.shut_out)
        ours = weigh(manifest, it.seeds, again.taken, trust, again.ours)
        derived = weigh(manifest, it.seeds, again.taken, trust, again.told)
        found = Basis(again.ours.base_loss, again.ours.harm, again.ours.measured)
        told = Basis(again.told.base_loss, again.told.harm, again.told.measured)
        differences += figure_differences(told, found, statement.slopes, again.ours.first_order)
        differences += evidence_differences(statement.record, json.loads(derived.evidence))
        history, notes = self._history(it, entry, statement)
        differences += history
        revealed = unpack_vector(reveal.vector, it.seeds.trainer_slots)
        lanes, broken = compare_lanes(revealed, derived.vector, ours.vector, differences)
        return ReplayedVote(
            it.number,
            reveal.slot,
            entry.account,
            tuple(lanes),
            (*differences, *broken),
            (*again.notes, *notes),
            _identical(ours, revealed, reveal),
        )

    def _unjudged(self, it: _Round, statement: Statement) -> _Again:
        """Replay a vote to take the last aggregate back: nothing but the state is looked at."""
        theirs, looked = statement.basis, self._looked(it)
        ours = Figures(looked.loss, looked.harm, {}, theirs.before, Clusters(), shut_out=theirs.shut_out)
        assert theirs.health is not None
        told = replace(ours, base_loss=theirs.base_loss, harm=theirs.health)
        note = f"it votes to take the last aggregate back, for a harm of {theirs.health:.6g} nats"
        return _Again(unjudged_view(statement, it.blobs), ours, told, [], [note])

    def _judged(self, it: _Round, statement: Statement) -> _Again:
        """Replay weights of contributions."""
        theirs = statement.basis
        taken, differences, believed = recorded_view(statement, it.blobs, it.blobs.reveals)
        differences += _measured_wrongly(theirs, taken, it.seeds)
        differences += self._compared_wrongly(it, theirs)
        guilt, wrong, notes = self._guilt(it, statement)
        differences += wrong
        measured = {slot: item for slot, item in theirs.measured.items() if slot in taken.accepted}
        clusters = self._clusters(it, taken, theirs)
        found = self._measure(it, taken, sorted(measured), theirs.shut_out)
        ours = Figures(
            found.losses.base_loss,
            None if theirs.health is None else self._looked(it).harm,
            {slot: found.losses.measurements[slot] for slot in measured},
            theirs.before,
            clusters,
            theirs.compared_with,
            found.first_order if statement.slopes else {},
            theirs.shut_out,
            guilt,
        )
        told = replace(
            ours,
            base_loss=theirs.base_loss,
            harm=theirs.health,
            measured=measured,
            first_order=statement.slopes,
            found=statement.found,
        )
        if believed:
            notes.append(f"{believed} refused contributions are gone; their refusal is its word")
        return _Again(taken, ours, told, differences, [*self._word(it, taken, theirs), *notes])

    def _looked(self, it: _Round) -> Look:
        if it.looked is None:
            it.looked = self._measuring.look(it.seeds, self._follower)
        return it.looked

    def _guilt(self, it: _Round, statement: Statement) -> tuple[LeaveOneOut | None, list[Difference], list[str]]:
        """Look again for who made an aggregate harmful that was taken back, where the validator says it did.

        Returns what is found as far as the validator came, what differs, and what is its word.
        """
        theirs, accused = statement.found, it.accused
        if theirs is None:
            return None, [], [] if accused is None else [f"it did not look for who did harm in {accused.name}"]
        if accused is None or theirs.round != accused.undone.taken_back:
            was = "none" if accused is None else accused.name
            return theirs, [Difference(NO_LANE, "taken back", f"round {theirs.round}", was)], []
        notes = [] if theirs.is_complete else ["it had no time to find all who did harm"]
        if it.found is None:
            try:
                updates = accused.updates()
            except UnavailableError as error:
                return theirs, [], [*notes, f"whom it holds guilty of the harm is its word: {error.cause}"]
            looked, stop = self._looked(it), lambda: False
            it.found = self._measuring.inquire(looked, self._follower, accused.undone.taken_back, updates, stop)
        ours = as_far_as(it.found, theirs)
        return ours, list(guilt_differences(theirs, ours)), notes

    def _clusters(self, it: _Round, taken: Recorded, theirs: Basis) -> Clusters:
        key = tuple(sorted(taken.accepted)), theirs.compared_with, tuple(sorted(theirs.shut_out))
        if key not in it.clusters:
            manifest, earlier = self._context.manifest, list[Earlier]()
            for number in dict.fromkeys(number for number, _ in theirs.compared_with):
                earlier += _paid_in(it, number, [slot for each, slot in theirs.compared_with if each == number])
            if any(slot == AGGREGATE for _, slot in theirs.compared_with):
                earlier += last_aggregate(self._follower)
            trust = trusted(it.trust, theirs.shut_out)
            it.clusters[key] = find_clusters(
                clip_scales(taken.accepted, trust),
                trust,
                manifest.codec.chunk,
                manifest.codec.k_in(it.number),
                seed=it.seeds.eval_seed,
                earlier=earlier,
            )
        return it.clusters[key]

    def _measure(self, it: _Round, taken: Recorded, slots: Sequence[int], shut_out: Collection[int] = ()) -> Measured:
        """Measure the slots; who accepted the same contributions, and shut out the same, shares what was measured."""
        key = tuple(sorted(taken.accepted)), tuple(sorted(shut_out))
        known = it.measured.get(key)
        if known is None or not set(slots) <= set(known.losses.measurements):
            order = sorted({*slots, *(known.losses.measurements if known else ())})
            began = time.monotonic()
            trust = trusted(it.trust, shut_out)
            updates = clip_scales(taken.accepted, trust)
            it.measured[key] = self._measuring.measure(
                it.seeds,
                self._looked(it),
                updates,
                order,
                trust,
                on_progress=self._on_progress,
                should_stop=lambda: False,
            )
            self._tell(f"round {it.number}: {len(order)} contributions measured in {time.monotonic() - began:.0f} s")
        return it.measured[key]

    def _compared_wrongly(self, it: _Round, theirs: Basis) -> list[Difference]:
        """What it cannot have compared with: contributions that were not paid, or an aggregate it says it had not."""
        step = {pair for pair in theirs.compared_with if pair[1] == AGGREGATE}
        strange = sorted(set(theirs.compared_with) - _paid(it) - step)
        found = []
        if strange:
            found.append(Difference(NO_LANE, "compared with", f"{strange} (round, slot)", "none that was paid"))
        had_step = theirs.health is not None and bool(last_aggregate(self._follower))
        if step != ({(it.seeds.settled_round, AGGREGATE)} if had_step else set()):
            have = "with" if step else "without"
            found.append(Difference(NO_LANE, "compared with", f"{have} the last aggregate", "as its health lane says"))
        return found

    def _word(self, it: _Round, taken: Recorded, theirs: Basis) -> list[str]:
        """What is taken from its evidence because nothing else says it."""
        notes = []
        if taken.unavailable:
            notes.append(f"it abstained from slots {sorted(taken.unavailable)}, which it could not fetch in time")
        left = sorted(set(taken.accepted) - set(theirs.measured) - _left_out(it.seeds, taken))
        if left:
            notes.append(f"it abstained from slots {left}, which it had no time to measure")
        missing = sorted(_paid(it) - set(theirs.compared_with))
        if missing:
            notes.append(f"it did not know these paid contributions of earlier rounds (round, slot): {missing}")
        if theirs.health is None and self._follower.previous is not None:
            notes.append("it did not know the state before the last aggregate, so its health lane abstains")
        return notes

    def _history(self, it: _Round, entry: RegistryEntry, statement: Statement) -> tuple[list[Difference], list[str]]:
        client, theirs, owners = self._context.client, statement.basis, it.seeds.owners
        before, notes = last_revealed_before(client, it.number, entry), list[str]()
        earlier, earlier_owners = None, dict[int, int]()
        if before is not None and starts_anew(theirs):
            notes.append(f"its history starts anew, although it revealed weights in round {before.round}")
        elif before is not None:
            try:
                earlier = fetch_statement(self._context, before).basis
            except EmeritError as error:
                return [], [f"its history was not held against round {before.round}: {error.cause}"]
            earlier_owners = {item.slot: item.index for item in client.members_in(before.round).active_trainers()}
        guilty = () if statement.found is None or it.accused is None else statement.found.guilty
        until = shut_out_until(self._context.manifest, it.number)
        fresh = {it.accused.owners[slot]: until for slot in guilty if it.accused and slot in it.accused.owners}
        found = history_differences(theirs, owners, earlier, earlier_owners)
        return found + exclusion_differences(theirs, owners, earlier, earlier_owners, fresh, it.number), notes


def _paid(it: _Round) -> set[tuple[int, int]]:
    """Round and slot of all that the last rounds paid."""
    return {(number, slot) for number, weights in it.paid.items() for slot in weights}


def _paid_in(it: _Round, number: int, slots: Sequence[int]) -> list[Earlier]:
    """Return those of the slots that a round paid, as something that must not come again."""
    weights = it.paid.get(number, {})
    sent = {slot: it.earlier[number].get(slot) for slot in slots if slot in weights}
    return paid_before({slot: item for slot, item in sent.items() if not isinstance(item, str)}, weights)


def _measured_wrongly(theirs: Basis, taken: Recorded, seeds: RoundSeeds) -> list[Difference]:
    """What it cannot have measured: what it had not, and what the round's sample leaves out."""
    strange = sorted(set(theirs.measured) - set(taken.accepted))
    outside = sorted(set(theirs.measured) & _left_out(seeds, taken))
    found = []
    if strange:
        found.append(Difference(NO_LANE, "measured", f"slots {strange}", "none that it had accepted"))
    if outside:
        found.append(Difference(NO_LANE, "measured", f"slots {outside}", "the sample that the seed draws"))
    return found


def _left_out(seeds: RoundSeeds, taken: Recorded) -> set[int]:
    return set() if seeds.sample is None else set(taken.accepted) - set(seeds.sample.slots)


def _identical(ours: Scored, revealed: Sequence[int], reveal: WeightReveal) -> bool:
    same = tuple(revealed) == ours.vector
    return same and hashlib.sha256(ours.evidence).digest() == reveal.evidence_hash


def _nothing_revealed(number: int, only: RegistryEntry | None, slots: Sequence[int]) -> UsageError:
    who = "Nobody" if only is None or not slots else f"Validator {only.account}"
    fix = f"Validator slots that did: {sorted(slots)}." if slots else "Take a round whose weights were revealed."
    return UsageError("no-weights-revealed", f"{who} revealed weights in round {number}.", fix)
