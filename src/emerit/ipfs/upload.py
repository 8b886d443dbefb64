"""The body of an `add` request: one file in a multipart form, as every Kubo client sends it, and bounded."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Final

from emerit.errors import RefusedError

MAX_UPLOAD_BYTES: Final = 64 << 20
_MAX_OVERHEAD_BYTES: Final = 64 << 10
_BOUNDARY: Final = re.compile(r'boundary="?([0-9A-Za-z\'()+_,./:=? -]{1,70})"?\s*(?:;|$)', re.IGNORECASE)


async def read_body(chunks: AsyncIterator[bytes], declared_bytes: int | None) -> bytes:
    """Collect a request's body; raises RefusedError `blob-too-large` before more than the limit is held."""
    limit = MAX_UPLOAD_BYTES + _MAX_OVERHEAD_BYTES
    if declared_bytes is not None and declared_bytes > limit:
        raise _too_large()
    body = bytearray()
    async for chunk in chunks:
        if len(body) + len(chunk) > limit:
            raise _too_large()
        body += chunk
    return bytes(body)


def single_file(content_type: str, body: bytes) -> bytes:
    """Return the content of the one file in a `multipart/form-data` body.

    Raises RefusedError `upload-invalid` for any other shape, `blob-too-large` over 64 MiB.
    """
    match = _BOUNDARY.search(content_type)
    if not content_type.lower().startswith("multipart/") or match is None:
        raise RefusedError("upload-invalid", "The body must be multipart form data with one file.")
    mark = b"--" + match.group(1).encode("ascii")
    head_end = body.find(b"\r\n\r\n", 0, _MAX_OVERHEAD_BYTES)
    file_start = head_end + 4
    file_end = body.find(b"\r\n" + mark, file_start)
    if not body.startswith(mark + b"\r\n") or head_end < 0 or file_end < 0:
        raise RefusedError("upload-invalid", "The multipart body is cut short or malformed.")
    if not body[file_end + 2 + len(mark) :].startswith(b"--"):
        raise RefusedError("upload-invalid", "One file a request: the multipart body has more parts.")
    content = body[file_start:file_end]
    if len(content) > MAX_UPLOAD_BYTES:
        raise _too_large()
    return content


def _too_large() -> RefusedError:
    return RefusedError("blob-too-large", f"A blob may have at most {MAX_UPLOAD_BYTES} bytes.")
