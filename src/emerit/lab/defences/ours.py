"""The run's own rules: the functions that a validator calls, in its order."""

from __future__ import annotations

import numpy as np

from emerit.lab.defence import Defence, Opinion
from emerit.lab.rollback import Rollback
from emerit.lab.view import Seen
from emerit.model.flat import FlatModel
from emerit.scoring.compare import aggregate_vector
from emerit.scoring.evaluate import evaluate_round
from emerit.scoring.fast_checks import clip_scales
from emerit.scoring.history import ScoreHistory
from emerit.scoring.recent import Recent
from emerit.scoring.similarity import AGGREGATE, Earlier, find_clusters
from emerit.scoring.vector import weight_vector
from emerit.scoring.weights import score_round


class Ours(Defence):
    """Loss before and after, unique-work gap, clusters, weights: `emerit.scoring`.

    All honest validators have seen the same and hold the same, to the bit, so one of them stands for all.
    """

    name = "ours"
    source = "docs/economics.md"
    says = "Paired losses on unseen and own text, unique-work gap, similarity clusters, weights by the lower median."

    def __init__(self) -> None:
        """Start with an empty history."""
        self._history = ScoreHistory()
        self._model: FlatModel | None = None
        self.recent = Recent()
        self._rollback = Rollback()

    def weigh(self, seen: Seen) -> Opinion:
        """Measure, compare and weigh as `emerit_validator` does."""
        manifest = seen.arena.manifest
        model = self._model = self._model or FlatModel(manifest.model)
        random_text = seen.random_text()
        take_back = self._rollback.look(seen, model, random_text)
        if take_back is not None:
            return take_back
        seen = self._rollback.trusted(seen)
        updates = clip_scales(seen.updates, seen.trust)
        clusters = find_clusters(
            updates,
            seen.trust,
            manifest.codec.chunk,
            manifest.codec.k_in(seen.number),
            seed=seen.arena.eval_seed(seen.number),
            earlier=self._earlier(seen),
        )
        self.recent.keep(seen.number, seen.updates)
        measured = evaluate_round(
            model,
            updates,
            random_text,
            {slot: seen.own_text(slot) for slot in updates},
            manifest.scoring,
            manifest.outer,
            base_losses=self._rollback.base,
            consensus=seen.trust,
        )
        scores = score_round(
            measured.measurements,
            clusters,
            seen.commit_order,
            self._history,
            seen.trust,
            manifest.scoring,
            refused=seen.refused,
        )
        scores = self._rollback.judged(seen.number, scores)
        self._history = scores.history
        trainers = seen.arena.settings.trainers
        vector = weight_vector(trainers, scores.verdicts, measured.base_loss, self._rollback.harm, (), manifest.scoring)
        return Opinion(vector, {slot: verdict.code for slot, verdict in scores.verdicts.items()})

    def _earlier(self, seen: Seen) -> list[Earlier]:
        """Return what must not come again: what the last rounds paid, and the last step of the state."""
        # A round that took an aggregate back judged nobody; `trust` is of the last one that did.
        settled = next((past.number for past in reversed(seen.past) if not past.took_back), -1)
        found = self.recent.earlier(settled, seen.trust, seen.arena.manifest.outer.max_aggregated)
        if seen.before is not None:
            change = aggregate_vector(np.subtract(seen.before, seen.values, dtype=np.int64))
            found += [Earlier(AGGREGATE, change)] if len(change.indices) else []
        return found
