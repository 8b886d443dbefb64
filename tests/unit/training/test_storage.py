from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load

from emerit.errors import StateError
from emerit.files import replace_file
from emerit.training.storage import read_tensors, tensor_bytes, write_tensors
from tests.unit.killed import worker

TENSORS = {"z": np.arange(6, dtype=np.int32).reshape(2, 3), "a": np.array([0.5, -1.0, 3.0], dtype=np.float32)}


def test_one_content_has_one_encoding() -> None:
    """The bytes by hand: what anybody else's writer must give for the same CID."""
    header = (
        b'{"__metadata__":{"a":"2","k":"1"},"z":{"dtype":"I32","shape":[2,3],"data_offsets":[0,24]},'
        b'"a":{"dtype":"F32","shape":[3],"data_offsets":[24,36]}}'
    )
    header += b" " * (-len(header) % 8)
    data = b"".join(number.to_bytes(4, "little") for number in range(6))
    data += bytes.fromhex("0000003f 000080bf 00004040".replace(" ", ""))
    assert tensor_bytes(TENSORS, {"k": "1", "a": "2"}) == len(header).to_bytes(8, "little") + header + data


@given(
    st.dictionaries(st.text(st.characters(codec="ascii", min_codepoint=33), min_size=1, max_size=9), st.integers(0, 9)),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=4),
    st.sampled_from(["float32", "int32", "float64", "uint8"]),
)
def test_the_library_reads_it(sizes: dict[str, int], metadata: dict[str, str], kind: str) -> None:
    sizes.pop("__metadata__", None)
    tensors = {name: np.arange(size).astype(kind) for name, size in sizes.items()}
    found = load(tensor_bytes(tensors, metadata))
    assert set(found) == set(tensors)
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype and np.array_equal(found[name], tensor)


def test_views_and_big_endian_tensors_are_written_by_value(tmp_path: Path) -> None:
    wide = np.arange(12, dtype=np.float32).reshape(3, 4)
    want = tensor_bytes({"x": np.ascontiguousarray(wide.T)}, {})
    assert tensor_bytes({"x": wide.T}, {}) == want
    assert tensor_bytes({"x": wide.T.astype(">f4")}, {}) == want


@given(st.data())
def test_one_changed_bit_is_found(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("bits") / "x.safetensors"
    write_tensors(path, TENSORS, {"k": "1"})
    whole = path.read_bytes()
    place, bit = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 7))
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
    with pytest.raises(StateError) as refused:
        read_tensors(path)
    assert refused.value.code == "state-corrupt"


WRITE_FOREVER = """
import sys
from pathlib import Path
import numpy as np
from emerit.training.storage import write_tensors
path, size = Path(sys.argv[1]), int(sys.argv[2])
def work(first):
    number = int(first)
    while True:
        write_tensors(path, {"values": np.full(size, number, dtype=np.int32)}, {"number": str(number)})
        print(number, flush=True)
        number += 1
"""


def test_a_writer_that_is_killed_leaves_a_whole_file(tmp_path: Path) -> None:
    """Killed after different numbers of writes, always in the middle of the next; the file is the last or the next."""
    path = tmp_path / "state.safetensors"
    last = 0
    with worker(WRITE_FOREVER, path, 400_000) as kill_after:
        for writes in (1, 2, 3, 1, 5, 2, 1, 4):
            told = int(kill_after(writes, str(last + 1))[-1])
            assert told == last + writes
            tensors, metadata = read_tensors(path)
            number = int(metadata["number"])
            assert number >= told, "what was said to be written is there"
            assert np.array_equal(tensors["values"], np.full(400_000, number, dtype=np.int32))
            last = number
    replace_file(path, b"new")
    assert [file.name for file in tmp_path.iterdir()] == ["state.safetensors"], "what the dead left behind is gone"


def test_a_digest_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(tensor_bytes(TENSORS, {"content_sha256": hashlib.sha256(b"").hexdigest()}))
    with pytest.raises(StateError, match="hash"):
        read_tensors(path)
    path.write_bytes(tensor_bytes(TENSORS, {}))
    with pytest.raises(StateError, match="hash"):
        read_tensors(path)
