"""Evidence is a stranger's JSON: whatever it holds, a reader gets a checked record or a named refusal."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.errors import RefusedError
from emerit.scoring.evidence import read_evidence

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
)


def refused(data: bytes) -> bool:
    try:
        read_evidence(data)
    except RefusedError as error:
        assert error.code == "evidence-invalid"
        return True
    return False


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    assert refused(data)


@pytest.mark.parametrize("digits", ["9" * 81, "-" + "9" * 310, "9" * 4000])
def test_a_figure_that_no_float_holds_is_refused(digits: str) -> None:
    record = '{"trainers":{"0":{"reason":"paid","s":%s}}}'
    assert refused((record % digits).encode())
    assert not refused((record % ("9" * 80)).encode())


@given(JSON | st.fixed_dictionaries({"reason": st.just("paid")}, optional={"s": JSON, "cluster": JSON, "other": JSON}))
def test_any_json_as_a_trainer_is_read_or_refused(value: object) -> None:
    data = json.dumps({"trainers": {"0": value}}).encode()
    if refused(data):
        return
    view = read_evidence(data)["trainers"]["0"]
    assert isinstance(view["reason"], str)
    assert view["cluster"] is None or type(view["cluster"]) is int
    assert view["s"] is None or (type(view["s"]) in (int, float) and math.isfinite(view["s"]))


@pytest.mark.parametrize(
    "view",
    [
        {"reason": "paid", "s": "1"},
        {"reason": "paid", "s": True},
        {"reason": "paid", "cluster": 1.5},
        {"reason": "<script>"},
        {"reason": None},
        {},
        [],
    ],
)
def test_a_record_of_another_shape_is_refused(view: object) -> None:
    assert refused(json.dumps({"trainers": {"0": view}}).encode())
    assert not refused(json.dumps({"trainers": {"0": {"reason": "paid", "s": 1}}}).encode())


def test_nan_is_refused() -> None:
    assert refused(b'{"trainers":{"0":{"reason":"paid","s":NaN}}}')


@pytest.mark.parametrize(
    "reader",
    [
        "emerit.scoring.evidence import read_evidence as read",
        "emerit.protocol.manifest import Manifest; read = Manifest.from_bytes",
    ],
)
def test_deep_nesting_does_not_end_a_process_that_has_the_chain_imported(reader: str) -> None:
    program = (
        "import emerit.chain.rpc\nfrom emerit.errors import RefusedError\n"
        f"from {reader}\n"
        "for data in (b'[' * 200_000, b'{\"a\":' * 200_000):\n"
        "    try:\n        read(data)\n    except RefusedError as error:\n        print(error.code)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 2
