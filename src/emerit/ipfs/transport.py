"""The HTTP layer under `ipfshttpclient`: two faults of it mended, nothing else changed.

It passes urllib3 an option that makes each request warn, and it reads a body in one piece however long it is, so
that neither a size limit nor a deadline could hold while reading.
"""

from __future__ import annotations

import ipaddress
import urllib.parse
from collections.abc import Generator
from typing import Any, Final

import urllib3.exceptions
from ipfshttpclient import exceptions as rpc_errors
from ipfshttpclient.http_requests import ClientSync

_READ_BYTES: Final = 256 << 10


class Transport(ClientSync):
    """A session a request, so that threads share nothing; bodies are handed over as they arrive."""

    __slots__ = ()

    def _make_session(self) -> Any:
        session = super()._make_session()
        # A proxy for the outside world is no way to a daemon on this machine.
        session.trust_env = not _is_loopback(self._base_url)
        for adapter in session.adapters.values():
            adapter.poolmanager.connection_pool_kw.pop("strict", None)
        return session

    def _request(self, *arguments: Any, **options: Any) -> tuple[Any, Generator[bytes]]:
        closables, _ = super()._request(*arguments, **options)
        return closables, _as_it_arrives(closables[0].raw)


def _as_it_arrives(raw: Any) -> Generator[bytes]:
    """Yield what each single read of the socket gives; every read has the request's timeout."""
    try:
        while part := raw.read1(_READ_BYTES, decode_content=True):
            yield part
    except urllib3.exceptions.ReadTimeoutError as error:
        raise rpc_errors.TimeoutError(error) from error
    except urllib3.exceptions.HTTPError as error:
        raise rpc_errors.ProtocolError(error) from error


def _is_loopback(base_url: str) -> bool:
    host = urllib.parse.urlsplit(base_url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
