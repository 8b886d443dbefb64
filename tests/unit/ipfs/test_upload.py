"""The multipart body of an `add` request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ipfshttpclient import multipart

from emerit.errors import RefusedError
from emerit.ipfs.upload import MAX_UPLOAD_BYTES, read_body, single_file

HEAD = b'--mark\r\nContent-Disposition: form-data; name="file"; filename="bytes"\r\n\r\n'
KIND = "multipart/form-data; boundary=mark"


@given(st.binary(max_size=2000))
def test_what_the_client_sends_is_read_back(data: bytes) -> None:
    body, headers = multipart.stream_bytes(data)
    assert single_file(headers["Content-Type"], b"".join(body)) == data


@pytest.mark.parametrize("data", [b"", b"\r\n", b"--mark", b"a\r\n--mar", b"\r\n\r\n", b"\r\n--other--\r\n"])
def test_content_that_looks_like_structure(data: bytes) -> None:
    assert single_file(KIND, HEAD + data + b"\r\n--mark--\r\n") == data


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"{}"),
        ("multipart/form-data", HEAD + b"x\r\n--mark--\r\n"),
        (KIND, b""),
        (KIND, HEAD),
        (KIND, HEAD + b"cut sho"),
        (KIND, b"--mark\r\nno end of headers"),
        (KIND, b"preamble\r\n" + HEAD + b"x\r\n--mark--\r\n"),
        (KIND, HEAD + b"one\r\n" + HEAD + b"two\r\n--mark--\r\n"),
    ],
)
def test_other_shapes_are_refused(content_type: str, body: bytes) -> None:
    with pytest.raises(RefusedError) as caught:
        single_file(content_type, body)
    assert caught.value.code == "upload-invalid"


def test_body_is_bounded_while_it_arrives() -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 1 << 20
            yield b"\0" * (1 << 20)

    with pytest.raises(RefusedError, match="at most 67108864 bytes"):
        asyncio.run(read_body(endless(), None))
    assert taken <= MAX_UPLOAD_BYTES + (2 << 20)


def test_declared_length_is_believed_when_too_large() -> None:
    async def nothing() -> AsyncIterator[bytes]:
        raise AssertionError("read although it was declared too large")
        yield b""

    with pytest.raises(RefusedError):
        asyncio.run(read_body(nothing(), MAX_UPLOAD_BYTES * 2))
