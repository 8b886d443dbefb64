"""No attacks: trainers that are unlike the others and do nothing wrong. Whoever punishes them is wrong."""

from __future__ import annotations

from collections.abc import Mapping

from emerit.lab.attack import Attack, Sent
from emerit.lab.view import RoundView


class _Honest(Attack):
    honest = True
    works = True

    def contribute(self, view: RoundView) -> Mapping[int, Sent]:
        """Work honestly."""
        return {slot: view.honest(place) for place, slot in enumerate(view.slots)}


class HonestHalfBatch(_Honest):
    """Half the compute."""

    name = "honest-half-batch"
    source = "a smaller computer"
    says = "Works honestly with half the batch of the others; to be paid, less."
    machine_share = 0.5


class HonestNonIid(_Honest):
    """Other text for everybody."""

    name = "honest-non-iid"
    source = "McMahan et al., arXiv 1602.05629 (text by author)"
    says = "All trainers work honestly, each on text from one place of the corpus: a scene, not random lines."
    by_document = True
