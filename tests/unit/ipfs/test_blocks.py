"""Walking files block by block: limits, shared and abandoned downloads. Blocks lie in a folder as Kubo lays them."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from emerit.errors import EmeritError, RefusedError, UnavailableError
from emerit.ipfs.blocks import BlockSource, read_file, stat_file
from emerit.ipfs.cid import CHUNK_BYTES, CODEC_RAW, Cid
from emerit.ipfs.library import KuboLibrary


class Peers:
    """Stands for the library: downloads wait until the block is `offered` or the node is restarted."""

    def __init__(self) -> None:
        self.offered: dict[str, bytes] = {}
        self.changed = threading.Condition()
        self.generation = 0
        self.downloads: list[str] = []

    def download(self, cid: str, path: Path) -> bool:
        with self.changed:
            self.downloads.append(cid)
            self.changed.notify_all()
            begun = self.generation
            self.changed.wait_for(lambda: cid in self.offered or self.generation != begun)
            if cid not in self.offered:
                return False
            path.write_bytes(self.offered[cid])
            return True

    def restart(self) -> None:
        with self.changed:
            self.generation += 1
            self.changed.notify_all()

    def offer(self, cid: Cid, block: bytes) -> None:
        with self.changed:
            self.offered[str(cid.as_raw_block())] = block
            self.changed.notify_all()

    def wait_for_downloads(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.downloads) >= count, 10)


class Folder:
    """A repository's blocks, and a maker of dag-pb nodes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "scratch").mkdir()
        self.peers = Peers()
        self.source = self.with_limit(8)

    def with_limit(self, most: int) -> BlockSource:
        return BlockSource(cast(KuboLibrary, self.peers), self.path, self.path / "scratch", most)

    def put(self, block: bytes, codec: int = 0x70) -> Cid:
        cid = cid_for(block, codec)
        name = base64.b32encode(cid.multihash).decode().rstrip("=")
        folder = self.path / "blocks" / name[-3:-1]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.data").write_bytes(block)
        return cid


def cid_for(block: bytes, codec: int = 0x70) -> Cid:
    return Cid(0 if codec == 0x70 else 1, codec, b"\x12\x20" + hashlib.sha256(block).digest())


def varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)


def field(number: int, value: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(value)) + value


def node(children: Sequence[Cid], data: bytes = b"", declared_bytes: int = 0, kind: int = 2) -> bytes:
    def link(child: Cid) -> bytes:
        raw = child.multihash if child.version == 0 else b"\1" + varint(child.codec) + child.multihash
        return field(2, field(1, raw) + field(2, b"") + b"\x18\x00")

    unixfs = b"\x08" + varint(kind) + (field(2, data) if data else b"") + b"\x18" + varint(declared_bytes)
    return b"".join(map(link, children)) + field(1, unixfs)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def soon(seconds: float = 10) -> float:
    return time.monotonic() + seconds


def test_reads_data_before_children_and_children_in_order(folder: Folder) -> None:
    leaves = [folder.put(node((), letter.encode())) for letter in "cde"]
    inner = folder.put(node(leaves[:2], b"b"))
    root = folder.put(node([inner, leaves[2]], b"a", 5))
    assert read_file(folder.source, root, 100, soon()) == b"abcde"
    assert read_file(folder.source, root, 3, soon()) == b"abc"
    assert read_file(folder.source, root, 0, soon()) == b""


def test_reads_raw_leaves(folder: Folder) -> None:
    leaves = [folder.put(b"x" * 10, CODEC_RAW), folder.put(b"y" * 5, CODEC_RAW)]
    assert read_file(folder.source, folder.put(node(leaves)), 100, soon()) == b"x" * 10 + b"y" * 5


def test_nothing_beyond_the_length_is_waited_for(folder: Folder) -> None:
    here, absent = folder.put(node((), b"here")), cid_for(node((), b"absent"))
    assert read_file(folder.source, folder.put(node([here, absent])), 4, soon(5)) == b"here"


def test_file_that_unfolds_without_end_is_cut(folder: Folder) -> None:
    """Ten levels of a hundred links to the same node: 46 characters that stand for 10**20 blocks."""
    tip = folder.put(node((), b""))
    for _ in range(10):
        tip = folder.put(node([tip] * 100))
    with pytest.raises(RefusedError, match="more than 8192 blocks"):
        read_file(folder.source, tip, 1000, soon())
    with pytest.raises(RefusedError, match="more than 8192 blocks"):
        stat_file(folder.source, tip)


def test_big_repeated_leaf_stops_at_the_length(folder: Folder) -> None:
    leaf = folder.put(node((), b"z" * CHUNK_BYTES))
    root = folder.put(node([leaf] * 174))
    assert len(read_file(folder.source, root, 1_000_000, soon())) == 1_000_000


@pytest.mark.parametrize("kind", [1, 4, 5])
def test_directories_and_symlinks_are_refused(folder: Folder, kind: int) -> None:
    with pytest.raises(RefusedError) as caught:
        read_file(folder.source, folder.put(node((), b"t", kind=kind)), 10, soon())
    assert caught.value.code == "blob-not-a-file"


def test_stat_tells_what_is_local(folder: Folder) -> None:
    leaf, absent = folder.put(node((), b"here")), cid_for(node((), b"absent"))
    whole, half = folder.put(node([leaf], declared_bytes=4)), folder.put(node([leaf, absent]))
    whole_stat, half_stat = stat_file(folder.source, whole), stat_file(folder.source, half)
    assert whole_stat is not None and whole_stat.local and whole_stat.declared_bytes == 4
    assert half_stat is not None and not half_stat.local
    assert stat_file(folder.source, absent) is None
    assert folder.peers.downloads == []


def test_absent_block_is_given_up_at_the_deadline(folder: Folder) -> None:
    started = time.monotonic()
    with pytest.raises(UnavailableError) as caught:
        folder.source.get(cid_for(b"nobody"), soon(0.2))
    assert caught.value.code == "ipfs-timeout"
    assert 0.2 <= time.monotonic() - started < 2


def test_waiters_share_one_download_and_it_may_come_late(folder: Folder) -> None:
    block = node((), b"late")
    cid = cid_for(block)
    for _ in range(3):
        with pytest.raises(UnavailableError):
            folder.source.get(cid, soon(0.01))
    folder.peers.wait_for_downloads(1)
    assert folder.peers.downloads == [str(cid.as_raw_block())]
    folder.peers.offer(cid, block)
    assert folder.source.get(cid, soon()) == block


def test_abandoned_downloads_are_dropped_and_a_waiter_goes_on(folder: Folder) -> None:
    wanted = node((), b"wanted")
    answers: list[bytes] = []
    waiter = threading.Thread(target=lambda: answers.append(folder.source.get(cid_for(wanted), soon())))
    waiter.start()
    folder.peers.wait_for_downloads(1)
    for number in range(8):
        with pytest.raises(UnavailableError) as caught:
            folder.source.get(cid_for(b"bogus %d" % number), soon(0.01))
        assert caught.value.code == "ipfs-timeout"
    assert folder.peers.generation == 1
    folder.peers.offer(cid_for(wanted), wanted)
    waiter.join(10)
    assert answers == [wanted]


def test_too_many_who_really_wait_is_busy(folder: Folder) -> None:
    source = folder.with_limit(2)
    refused: list[EmeritError] = []

    def wait(number: int) -> None:
        try:
            source.get(cid_for(b"%d" % number), soon())
        except EmeritError as error:
            refused.append(error)

    waiters = [threading.Thread(target=wait, args=(number,)) for number in range(2)]
    for waiter in waiters:
        waiter.start()
    folder.peers.wait_for_downloads(2)
    with pytest.raises(UnavailableError) as caught:
        source.get(cid_for(b"third"), soon())
    assert caught.value.code == "ipfs-busy"
    for number in range(2):
        folder.peers.offer(cid_for(b"%d" % number), b"")
    for waiter in waiters:
        waiter.join(10)
    assert refused == []


def test_oversized_block_is_refused(folder: Folder) -> None:
    cid: Any = folder.put(b"\0" * ((4 << 20) + 1), CODEC_RAW)
    with pytest.raises(RefusedError):
        folder.source.get(cid, soon())
