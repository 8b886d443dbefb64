"""The processes of one node, one for each device: their group, and how rank 0 tells the others what to do.

Orders go through the store that the launcher (torchrun) or rank 0 keeps, as fixed rows of numbers; tensors go through
collectives. Nothing is pickled. A rank waits for an order as long as it takes, looking up often enough to end when
the store is gone, and for a collective no longer than the group's deadline.
"""

from __future__ import annotations

import os
import signal
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from types import FrameType
from typing import Final, NamedTuple

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from emerit.errors import StateError, UnavailableError, UsageError
from emerit.out_of_memory import out_of_memory

COLLECTIVE_SECONDS: Final = 300.0
"""What a rank waits for the others within a collective, and for all to be there at the start."""
GRACE_SECONDS: Final = 10.0
"""How long a rank that was told to stop still waits for rank 0's next order, unless it is given another time."""
MAX_MANIFEST_BYTES: Final = 1 << 24
_FAREWELL_SECONDS: Final = 5.0
_LOOK_UP_SECONDS: Final = 1.0
_ORDER: Final = struct.Struct("<4qd")


class Act(IntEnum):
    """What rank 0 may ask for; what all ranks then do together."""

    BEGIN = 1
    STEP = 2
    END = 3
    QUIT = 4
    LOAD = 5
    MEASURE = 6


class Order(NamedTuple):
    """One order: of BEGIN `steps` is the steps done, -1 for moments that stay; of STEP the shape of the batch.

    A trainer's are BEGIN, STEP and END. A validator's are LOAD, with the shape of the random sequences and in `steps`
    the bytes of a token, and MEASURE, with the bytes of what is to be measured in `rows`. QUIT is for all.
    """

    act: Act
    steps: int = 0
    rows: int = 0
    columns: int = 0
    factor: float = 0.0


@dataclass(frozen=True)
class Place:
    """Which of how many processes this is, as torchrun says: `rank` of all, `local_rank` on this machine."""

    rank: int
    local_rank: int
    size: int


def place_from_environment() -> Place | None:
    """Return this process's place among torchrun's; None when it is the only one.

    Raises:
        UsageError: `ranks-invalid`, when torchrun's variables are not all there or are not what torchrun sets.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return None
    try:
        place = Place(*(int(os.environ[name]) for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE")))
        int(os.environ["MASTER_PORT"])
        found = bool(os.environ["MASTER_ADDR"])
    except (KeyError, ValueError):
        found = False
    if not found or not 0 <= place.local_rank <= place.rank < place.size:
        raise UsageError(
            "ranks-invalid",
            "WORLD_SIZE is set, but it and RANK, LOCAL_RANK, MASTER_ADDR, MASTER_PORT are not what torchrun sets.",
            "Start with torchrun, or unset WORLD_SIZE.",
        )
    return place


class Ranks:
    """This process's membership in the group, with a mesh over all devices; made by `joined`."""

    def __init__(self, place: Place, mesh: DeviceMesh, store: dist.Store) -> None:  # type: ignore[name-defined]
        self.place = place
        self.mesh = mesh
        self._store = store
        self._orders = 0
        self._stop_asked = False
        self._grace_seconds = GRACE_SECONDS
        self._told_manifest = False

    @property
    def device(self) -> torch.device:
        """The device of this rank."""
        if self.mesh.device_type == "cuda":
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("cpu")

    def publish_manifest(self, manifest: bytes) -> None:
        """Rank 0: tell the others what is trained or measured."""
        self._told_manifest = True
        with told_when_lost():
            self._store.set("manifest", manifest)

    def manifest(self) -> bytes | None:
        """Other ranks: wait for the run's manifest; None when rank 0 ended before it had one."""
        data = self._await("manifest")
        if len(data) > MAX_MANIFEST_BYTES:
            raise _lost("it sent no manifest")
        return data or None

    def order(self, order: Order) -> None:
        """Rank 0: tell the others what all do next."""
        with told_when_lost():
            self._store.set(f"order/{self._orders}", _ORDER.pack(*order))
            if self._orders > 1:  # all have read it: they took part in a collective since
                self._store.delete_key(f"order/{self._orders - 2}")
        self._orders += 1

    def next_order(self) -> Order:
        """Other ranks: wait for rank 0's next order.

        Raises:
            UnavailableError: `leader-lost`, when rank 0 or the store is gone, or this rank was told to stop and hears
                nothing more for its time of grace.
        """
        data = self._await(f"order/{self._orders}")
        self._orders += 1
        try:
            act, steps, rows, columns, factor = _ORDER.unpack(data)
            return Order(Act(act), steps, rows, columns, factor)
        except (struct.error, ValueError) as error:
            raise _lost("it sent something that is no order") from error

    def dismiss(self) -> None:
        """Rank 0: send the others home; does nothing when they cannot hear it any more."""
        with suppress(RuntimeError):
            if not self._told_manifest:
                self._store.set("manifest", b"")
            self._store.set(f"order/{self._orders}", _ORDER.pack(*Order(Act.QUIT)))
            # The store may end with this process: not before the others have heard it.
            farewells = [f"farewell/{rank}" for rank in range(1, self.place.size)]
            self._store.wait(farewells, timedelta(seconds=_FAREWELL_SECONDS))

    def farewell(self) -> None:
        """Other ranks: tell rank 0 that this one is leaving."""
        with suppress(RuntimeError):
            self._store.set(f"farewell/{self.place.rank}", b"1")

    def ignore_signals(self, grace_seconds: float = GRACE_SECONDS) -> None:
        """Other ranks: leave Ctrl-C and SIGTERM to rank 0, which needs this rank until it has stopped.

        After one this rank waits so long for rank 0's next order.
        """
        self._grace_seconds = grace_seconds

        def note(_number: int, _frame: FrameType | None) -> None:
            self._stop_asked = True

        signal.signal(signal.SIGINT, note)
        signal.signal(signal.SIGTERM, note)

    def _await(self, key: str) -> bytes:
        stop_by: float | None = None
        while True:
            try:
                self._store.wait([key], timedelta(seconds=_LOOK_UP_SECONDS))
                return bytes(self._store.get(key))
            except dist.DistStoreError:  # nothing yet
                if self._stop_asked and stop_by is None:
                    stop_by = time.monotonic() + self._grace_seconds
                if stop_by is not None and time.monotonic() > stop_by:
                    raise _lost("this process was told to stop, and it says nothing more") from None
            except RuntimeError as error:
                raise _lost("the store through which it speaks is gone") from error


@contextmanager
def joined(place: Place, collective_seconds: float = COLLECTIVE_SECONDS) -> Iterator[Ranks]:
    """Join the group of all ranks, nccl where every rank has a CUDA device of its own, else gloo; leave it at the end.

    Rank 0 dismisses the others on leaving, whatever the reason.

    Raises:
        UnavailableError: `ranks-missing`, when the others are not there in time.
    """
    deadline = timedelta(seconds=collective_seconds)
    try:
        store, _, _ = next(dist.rendezvous("env://", place.rank, place.size, timeout=deadline))  # type: ignore[attr-defined]
        own = dist.PrefixStore("emerit", store)  # type: ignore[attr-defined]
        own.set(f"devices/{place.rank}", b"1" if torch.cuda.device_count() > place.local_rank else b"0")  # type: ignore[arg-type]
        keys = [f"devices/{rank}" for rank in range(place.size)]
        own.wait(keys, deadline)
        device_type = "cuda" if all(own.get(key) == b"1" for key in keys) else "cpu"
        if device_type == "cuda":
            torch.cuda.set_device(place.local_rank)
        dist.init_process_group(
            "nccl" if device_type == "cuda" else "gloo",
            store=dist.PrefixStore("emerit-group", store),  # type: ignore[attr-defined]
            rank=place.rank,
            world_size=place.size,
            timeout=deadline,
        )
        mesh = init_device_mesh(device_type, (place.size,))
    except RuntimeError as error:
        raise UnavailableError(
            "ranks-missing",
            f"The {place.size} processes of this node did not find each other ({_first_line(error)}).",
            "See what the others say; start all with one torchrun.",
        ) from error
    ranks = Ranks(place, mesh, own)
    try:
        yield ranks
    finally:
        if place.rank == 0:
            ranks.dismiss()
        else:
            ranks.farewell()
        dist.destroy_process_group()


@contextmanager
def told_when_lost() -> Iterator[None]:
    """Name the failure of what the ranks do together.

    Raises:
        StateError: `ranks-lost`, when another rank ended or did not answer before the deadline.
        PreconditionError: `out-of-memory`.
    """
    try:
        yield
    except RuntimeError as error:
        known = out_of_memory(error)
        if known is not None:
            raise known from error
        raise StateError(
            "ranks-lost",
            f"Another process of this node ended, or did not answer in time ({_first_line(error)}).",
            "See its log; start all of them again: the node takes up from its last whole round.",
        ) from error


def _lost(why: str) -> UnavailableError:
    return UnavailableError(
        "leader-lost", f"The node's first process (rank 0) is gone: {why}.", "See its log; start all of them again."
    )


def _first_line(error: RuntimeError) -> str:
    return str(error).strip().partition("\n")[0][:200]
