"""What is checked of a run before anything is uploaded."""

from __future__ import annotations

from dataclasses import replace

import pytest

from emerit.codec import largest_blob_bytes
from emerit.errors import RefusedError, UsageError
from emerit.model.table import parameter_count
from emerit.protocol.manifest import CodecSpec, LimitsSpec
from emerit.protocol.presets import PRESETS
from emerit.run.create import check_blobs_fit, chosen_codec


def test_the_presets_have_room_for_their_contributions() -> None:
    for preset in PRESETS.values():
        check_blobs_fit(preset, parameter_count(preset.model))


@pytest.mark.parametrize(("k", "early_k"), [(64, 512), (512, 64)])
def test_the_densest_rounds_must_fit(k: int, early_k: int) -> None:
    size = 100_000
    spec = CodecSpec(name="topk-sign", chunk=4096, k=k, early_rounds=1, early_k=early_k)
    needed = largest_blob_bytes(size, 4096, 512, most_feedback=PRESETS["tiny"].reputation.feedback_peers)
    preset = replace(PRESETS["tiny"], codec=spec, limits=LimitsSpec(needed))
    check_blobs_fit(preset, size)
    with pytest.raises(UsageError, match=rf"blob-limit-too-small.*{needed}"):
        check_blobs_fit(replace(preset, limits=LimitsSpec(needed - 1)), size)


def test_a_sponsor_chooses_codec_and_density() -> None:
    base = PRESETS["demo"].codec
    assert chosen_codec(base, None, None, None, None) == base
    assert chosen_codec(base, "topk-2bit", 64, 50, 256) == CodecSpec("topk-2bit", 4096, 64, 50, 256)
    assert chosen_codec(base, None, 64, None, None) == CodecSpec("topk-sign", 4096, 64, 0, 64)
    assert chosen_codec(base, "ternary", None, None, None) == CodecSpec("ternary", 4096, 4096, 0, 4096)
    for name, code in (("topk", "codec-unknown"), ("dct-topk-sign", "codec-lab-only")):
        with pytest.raises(UsageError, match=code):
            chosen_codec(base, name, None, None, None)
    with pytest.raises(UsageError, match="--early-k"):
        chosen_codec(base, None, 64, 5, None)
    with pytest.raises(RefusedError, match="must be the chunk"):
        chosen_codec(base, "ternary", 64, None, None)
