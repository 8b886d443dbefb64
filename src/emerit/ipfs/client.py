"""The blob store: a Kubo daemon's RPC, with a deadline, a size limit and a named error on every call."""

from __future__ import annotations

import math
import re
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeVar

import ipfshttpclient
from ipfshttpclient import exceptions as rpc_errors

from emerit.errors import PreconditionError, RefusedError, UnavailableError, UsageError
from emerit.ipfs import cid as cids
from emerit.ipfs.transport import Transport

_T = TypeVar("_T")
MAX_ADD_BYTES: Final = 64 << 20
_READY_SECONDS: Final = 5.0
_CONNECT_SECONDS: Final = 5.0
_GRACE_SECONDS: Final = 1.0  # what our socket waits beyond the deadline that the daemon itself was given
_SEND_BYTES: Final = 256 << 10
_MULTIADDR: Final = re.compile(r"(/[A-Za-z0-9._:%-]+){2,16}", re.ASCII)
_ABSENT: Final = ("could not find", "not found")
_NOT_IN_TIME: Final = ("deadline exceeded", "context canceled", "timed out", *_ABSENT)
_NOT_A_FILE: Final = ("is a directory", "not a file", "not part of a file", "unrecognized node type", "not unixfs")


@dataclass(frozen=True)
class NodeId:
    """A daemon's peer id and the multiaddresses it can be dialled at, each ending in `/p2p/PEER_ID`."""

    peer_id: str
    addresses: tuple[str, ...]


class BlobStore:
    """Blobs by content on one Kubo daemon, reached at `api_url`; calls may come from several threads.

    `api_url` is `http(s)://[user:password@]host:port[/prefix]` or a multiaddress such as `/ip4/127.0.0.1/tcp/5001`.
    Nothing is contacted before the first call. `deadline_seconds` holds for a whole call unless it is given one.

    All calls raise UnavailableError `ipfs-unreachable` when the daemon does not answer, `ipfs-timeout` when it does
    not get the content in time and `ipfs-failed` with the daemon's own words otherwise; those that take a CID raise
    RefusedError `cid-invalid`. No error text holds the credentials. UsageError `ipfs-url-invalid` is raised here.
    """

    def __init__(self, api_url: str, deadline_seconds: float = 30.0) -> None:
        address = _parse_api_url(api_url)
        self.address = address.shown
        self._deadline_seconds = deadline_seconds
        options: dict[str, Any] = {"auth": address.credentials, "timeout": deadline_seconds}
        try:
            self._client: Any = ipfshttpclient.Client(
                address.multiaddr, address.base, chunk_size=_SEND_BYTES, **options
            )
        except rpc_errors.AddressError:
            raise _bad_url() from None
        self._client._client = Transport(address.multiaddr, address.base, **options)
        # The client makes its sections on first use, which is not safe from two threads at once.
        self._sections = (self._client.pin, self._client.files, self._client.swarm)

    def add(self, data: bytes) -> str:
        """Store, pin and offer `data`; return its CID, which equals `cid_of(data)`.

        Raises RefusedError `blob-too-large` over 64 MiB and PreconditionError `ipfs-cid-differs` when the daemon
        imports in another way than every other node (it is then useless to the run).
        """
        if len(data) > MAX_ADD_BYTES:
            raise _too_large(MAX_ADD_BYTES)
        expected = cids.cid_of(data)
        options = {**cids.KUBO_ADD_OPTIONS, "pin": "true"}
        got = self._call(self._deadline_seconds, self._client.add_bytes, data, opts=options)
        if got != expected:
            raise PreconditionError(
                "ipfs-cid-differs",
                f"The IPFS daemon stored {expected} as {ascii(got)[:64]}.",
                "Use Kubo 0.22 or newer, whose import options the run needs.",
            )
        return expected

    def cid_of(self, data: bytes) -> str:
        """Return the CID that `add(data)` will give; computed here, so that nothing is stored or announced."""
        return cids.cid_of(data)

    def get(self, cid: str, max_bytes: int, deadline_seconds: float | None = None, *, canonical: bool = False) -> bytes:
        """Return the blob, fetched from peers if need be; at most `max_bytes` + 1 bytes are taken.

        With `canonical`, a CID that is not `cid_of` the bytes is refused: its tree may hold more than the bytes show,
        which makes it unsafe to `pin`. Raises RefusedError `blob-too-large`, `blob-not-a-file` or `cid-not-canonical`,
        and UnavailableError `ipfs-timeout` or `ipfs-incomplete` (the daemon stopped in the middle), which say nothing
        about the blob.
        """
        text = str(cids.parse_cid(cid))
        end = time.monotonic() + self._seconds(deadline_seconds)
        data = self._read(text, max_bytes, end)
        if len(data) > max_bytes:
            raise _too_large(max_bytes)
        if cids.cid_of(data) != text:
            # Kubo reports an error in mid-stream in a trailer that HTTP clients do not show.
            if len(data) != self._stat(text, end, offline=False).size_bytes:
                raise UnavailableError("ipfs-incomplete", f"The IPFS daemon gave {cid} only in part.", "Try again.")
            if canonical:
                raise RefusedError("cid-not-canonical", f"{cid} is not the CID that adding its bytes gives.")
        return data

    def pin(self, cid: str, deadline_seconds: float | None = None) -> None:
        """Keep the blob, fetching what is missing of it; it stays until `unpin`, through restarts.

        A daemon fetches the whole tree under the CID: pin a stranger's only after a `canonical` get.
        """
        text = str(cids.parse_cid(cid))
        self._call(self._seconds(deadline_seconds), self._client.pin.add, text)

    def unpin(self, cid: str) -> None:
        """Allow the daemon to drop the blob; one that is not pinned is left as it is."""
        text = str(cids.parse_cid(cid))
        try:
            self._call(self._deadline_seconds, self._client.pin.rm, text)
        except UnavailableError as error:
            if "not pinned" not in error.cause:
                raise

    def has_local(self, cid: str) -> bool:
        """Say whether every block of the blob is on the daemon already; asks no peer."""
        text = str(cids.parse_cid(cid))
        try:
            stat = self._stat(text, time.monotonic() + self._deadline_seconds, offline=True)
        except UnavailableError as error:
            if error.code != "ipfs-timeout" or not any(words in error.cause for words in _ABSENT):
                raise
            return False
        return stat.local

    def id(self) -> NodeId:
        """Return the daemon's peer id and addresses."""

        def identity(**options: Any) -> NodeId:
            answer = self._client.id(**options)
            suffix = f"/p2p/{answer['ID']}"
            addresses = [str(address).removesuffix(suffix) + suffix for address in answer["Addresses"] or []]
            return NodeId(str(answer["ID"]), tuple(addresses))

        return self._call(self._deadline_seconds, identity)

    def connect(self, multiaddr: str) -> None:
        """Dial a peer at `/ip4/HOST/tcp/PORT/p2p/ID`; raises UnavailableError `ipfs-connect-failed`."""
        if len(multiaddr) > 512 or not _MULTIADDR.fullmatch(multiaddr) or "/p2p/" not in multiaddr:
            raise UsageError(
                "ipfs-address-invalid",
                f"{ascii(multiaddr)[:120]} is not a peer's address.",
                "Give the whole multiaddress, such as /ip4/127.0.0.1/tcp/4001/p2p/PEER_ID.",
            )
        try:
            self._call(self._deadline_seconds, self._client.swarm.connect, _OneAddress(multiaddr))
        except UnavailableError as error:
            if error.code == "ipfs-unreachable":
                raise
            raise UnavailableError(
                "ipfs-connect-failed", f"The IPFS daemon could not reach {multiaddr}.", "Is that peer running?"
            ) from error

    def version(self) -> str:
        """Return the daemon's version, such as `0.33.0`."""
        return self._version(self._deadline_seconds)

    def ready(self) -> None:
        """Return when the daemon answers; raises UnavailableError `ipfs-unreachable` with the fix if it does not."""
        self._version(min(_READY_SECONDS, self._deadline_seconds))

    def _version(self, seconds: float) -> str:
        return self._call(seconds, lambda **options: str(self._client.version(**options)["Version"]))

    def _seconds(self, deadline_seconds: float | None) -> float:
        return self._deadline_seconds if deadline_seconds is None else deadline_seconds

    def _read(self, cid: str, max_bytes: int, end: float) -> bytes:
        def read(**options: Any) -> bytes:
            options["opts"]["length"] = str(max_bytes + 1)
            data = bytearray()
            with closing(self._client.cat(cid, stream=True, **options)) as stream:
                for part in _until(stream, end + _GRACE_SECONDS):
                    data += part
                    if len(data) > max_bytes:
                        break
            return bytes(data[: max_bytes + 1])

        return self._call(end - time.monotonic(), read)

    def _stat(self, cid: str, end: float, offline: bool) -> _Stat:
        options = {"with-local": "true", "offline": "true"} if offline else {}

        def stat(path: str, **more: Any) -> _Stat:
            answer = self._client.files.stat(path, **more)
            return _Stat(int(answer["Size"]), bool(dict(answer).get("Local", False)))

        return self._call(end - time.monotonic(), stat, f"/ipfs/{cid}", opts=options)

    def _call(self, seconds: float, call: Callable[..., _T], *arguments: Any, **keywords: Any) -> _T:
        """Make one call that the daemon is told to end after `seconds`, and translate every error."""
        seconds = max(0.001, seconds)
        options = {**keywords.pop("opts", {}), "timeout": f"{math.ceil(seconds * 1000)}ms"}
        timeout = (min(_CONNECT_SECONDS, seconds), seconds + _GRACE_SECONDS)
        try:
            return call(*arguments, opts=options, timeout=timeout, **keywords)
        except rpc_errors.ErrorResponse as error:
            self._raise_daemon_error(str(error)[:300], seconds, error)
        except rpc_errors.StatusError as error:
            code = getattr(getattr(error.original, "response", None), "status_code", None)
            if code == 413:
                raise _too_large(MAX_ADD_BYTES) from error
            raise UnavailableError(
                "ipfs-failed",
                f"{self.address} answered with HTTP status {code}.",
                "Is it a Kubo RPC, and are the credentials right?",
            ) from error
        except (rpc_errors.TimeoutError, TimeoutError) as error:
            cause = f"The IPFS daemon did not answer within {seconds:.1f} s."
            raise UnavailableError("ipfs-timeout", cause, "Try again, or allow more time.") from error
        except (rpc_errors.CommunicationError, OSError) as error:
            raise UnavailableError(
                "ipfs-unreachable",
                f"No IPFS daemon answers at {self.address}.",
                "Start one (`python -m emerit.ipfs.local_node`, or `ipfs daemon`), or set its address.",
            ) from error
        except (rpc_errors.Error, AssertionError, KeyError, TypeError, ValueError, AttributeError) as error:
            # The client asserts on answers of another shape than Kubo's.
            raise UnavailableError("ipfs-failed", f"{self.address} does not answer as a Kubo RPC does.") from error

    def _raise_daemon_error(self, words: str, seconds: float, error: Exception) -> NoReturn:
        if any(part in words for part in _NOT_A_FILE):
            raise RefusedError("blob-not-a-file", f"The CID is not of a file: {words}.") from error
        if any(part in words for part in _NOT_IN_TIME):
            cause = f"The IPFS daemon did not get the content within {seconds:.1f} s: {words}."
            raise UnavailableError("ipfs-timeout", cause, "Try again, or allow more time.") from error
        raise UnavailableError("ipfs-failed", f"The IPFS daemon answered: {words}.", "Try again later.") from error


class _OneAddress(str):
    """An address that the client's `swarm.connect` sends whole: it would append what iterating it yields."""

    __slots__ = ()

    def __iter__(self) -> Iterator[str]:
        return iter(())


@dataclass(frozen=True)
class _Stat:
    size_bytes: int
    local: bool


@dataclass(frozen=True)
class _ApiAddress:
    multiaddr: str
    base: str
    credentials: tuple[str, str] | None
    shown: str


def _parse_api_url(api_url: str) -> _ApiAddress:
    if api_url.startswith("/"):
        if not _MULTIADDR.fullmatch(api_url):
            raise _bad_url()
        return _ApiAddress(api_url, "api/v0", None, api_url)
    try:
        parts = urllib.parse.urlsplit(api_url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise _bad_url() from None
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise _bad_url()
    kind = "ip6" if ":" in host else "ip4" if re.fullmatch(r"[0-9.]+", host) else "dns"
    port = port or (443 if parts.scheme == "https" else 5001)
    prefix = parts.path.strip("/").removesuffix("api/v0").strip("/")
    credentials = None
    if parts.username is not None:
        credentials = (urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or ""))
    shown_host = f"[{host}]" if kind == "ip6" else host
    shown = f"{parts.scheme}://{shown_host}:{port}" + (f"/{prefix}" if prefix else "")
    base = f"{prefix}/api/v0" if prefix else "api/v0"
    return _ApiAddress(f"/{kind}/{host}/tcp/{port}/{parts.scheme}", base, credentials, shown)


def _bad_url() -> UsageError:
    return UsageError(
        "ipfs-url-invalid",
        "The address of the IPFS daemon is neither a URL nor a multiaddress.",
        "Give one such as http://127.0.0.1:5001 or /ip4/127.0.0.1/tcp/5001.",
    )


def _until(stream: Iterator[bytes], end: float) -> Iterator[bytes]:
    for part in stream:
        if time.monotonic() > end:
            raise TimeoutError
        yield part


def _too_large(limit_bytes: int) -> RefusedError:
    return RefusedError("blob-too-large", f"The blob has more than {limit_bytes} bytes.")
