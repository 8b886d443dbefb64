"""One chain behind one JSON-RPC address: calls with deadlines, typed answers, errors that say what to do."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from web3.types import RPCEndpoint

from emerit.chain.abi import AbiFunction
from emerit.chain.records import Block, Log
from emerit.chain.reverts import RpcFailure, failure_from, revert_error
from emerit.chain.transport import DeadlineProvider
from emerit.errors import ChainError, PreconditionError, UnavailableError
from emerit.telemetry import mask_url

BlockTag = int | str
Observer = Callable[[str, str], None]
Topics = Sequence[bytes | Sequence[bytes] | None]

_LOG_SPAN_BLOCKS = 10_000
_SPANS_BEFORE_WIDER = 16
# Limit exceeded (EIP-1474), and what providers answer under load.
_PASSING_CODES = frozenset({-32005, -32016, -32603, 429})
_SPAN_TROUBLE = ("rpc-timeout", "rpc-response-too-large", "rpc-http-error")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a JSON-RPC call gave: a result, or the node's refusal."""

    result: Any
    failure: RpcFailure | None


def _quantity(value: str) -> int:
    return int(value, 16)


def _bytes(value: str) -> bytes:
    return bytes.fromhex(value[2:])


class Chain:
    """A connection to one chain; safe to share between threads (each thread has its own socket).

    `observe(method, outcome)` is called once per request with outcome ok, error or unavailable.

    Raises on construction: UsageError `rpc-url-invalid`; UnavailableError `rpc-unreachable` (or another of
    the transport's codes); PreconditionError `wrong-chain` when the chain id is not the expected one.
    """

    def __init__(
        self,
        rpc_url: str,
        expected_chain_id: int | None = None,
        deadline_seconds: float = 20.0,
        observe: Observer | None = None,
    ) -> None:
        self.display_url = mask_url(rpc_url)
        self.deadline_seconds = deadline_seconds
        self._provider = DeadlineProvider(rpc_url, deadline_seconds)
        self._observe = observe
        self._log_span_blocks = _LOG_SPAN_BLOCKS
        self._good_spans = 0
        self.chain_id = self._checked_chain_id(expected_chain_id)

    def close(self) -> None:
        """Close this thread's connection."""
        self._provider.close()

    # ---- requests

    def ask(self, method: str, params: Sequence[Any] = ()) -> Answer:
        """Send one request; a refusal of the node is returned, a failure to reach it is raised.

        Raises UnavailableError, see `DeadlineProvider`.
        """
        try:
            response: Any = self._provider.make_request(RPCEndpoint(method), list(params))
        except (UnavailableError, json.JSONDecodeError, UnicodeDecodeError) as error:
            self._count(method, "unavailable")
            if isinstance(error, UnavailableError):
                raise
            raise self._not_json_rpc() from error
        if not isinstance(response, dict) or ("result" not in response and not response.get("error")):
            self._count(method, "unavailable")
            raise self._not_json_rpc()
        failure = failure_from(response["error"]) if response.get("error") else None
        self._count(method, "error" if failure else "ok")
        return Answer(response.get("result"), failure)

    def request(self, method: str, params: Sequence[Any] = ()) -> Any:
        """Send one request and return its result.

        Raises UnavailableError, or ChainError: the decoded revert, or `rpc-refused` with the node's message.
        """
        answer = self.ask(method, params)
        if answer.failure is not None:
            raise revert_error(answer.failure) or refused(method, answer.failure)
        return answer.result

    def _count(self, method: str, outcome: str) -> None:
        if self._observe is not None:
            self._observe(method, outcome)

    def _not_json_rpc(self) -> UnavailableError:
        return UnavailableError(
            "rpc-http-error",
            f"{self.display_url} answered with something that is not JSON-RPC.",
            "Check rpc_url.",
        )

    def _checked_chain_id(self, expected: int | None) -> int:
        chain_id = _quantity(self.request("eth_chainId"))
        if expected is not None and chain_id != expected:
            raise PreconditionError(
                "wrong-chain",
                f"{self.display_url} is chain {chain_id}, but chain {expected} is expected.",
                "Correct rpc_url, or use the deployment file of this chain.",
            )
        return chain_id

    def client_version(self) -> str:
        """Return what the node says it is."""
        return str(self.request("web3_clientVersion"))

    # ---- reads

    def block(self, which: BlockTag = "latest") -> Block | None:
        """Return a block by number or tag, or None if the chain does not have it."""
        answer = self.request("eth_getBlockByNumber", [_tag(which), False])
        return None if answer is None else Block.from_json(answer)

    def head(self) -> Block:
        """Return the latest block."""
        block = self.block("latest")
        if block is None:
            raise UnavailableError("rpc-syncing", f"{self.display_url} has no latest block yet.", "Wait for it.")
        return block

    def block_number(self) -> int:
        """Return the number of the latest block."""
        return _quantity(self.request("eth_blockNumber"))

    def timestamp(self) -> int:
        """Return the time of the latest block, in unix seconds."""
        return self.head().timestamp

    def balance_wei(self, address: str, which: BlockTag = "latest") -> int:
        """Return an account's balance in the chain's own currency."""
        return _quantity(self.request("eth_getBalance", [address, _tag(which)]))

    def nonce(self, address: str, which: BlockTag = "pending") -> int:
        """Return how many transactions an account has sent."""
        return _quantity(self.request("eth_getTransactionCount", [address, _tag(which)]))

    def code(self, address: str) -> bytes:
        """Return the runtime code at an address; empty for an account without code."""
        return _bytes(self.request("eth_getCode", [address, "latest"]))

    def call_raw(self, to: str, data: bytes, sender: str | None = None, which: BlockTag = "latest") -> bytes:
        """Execute a call without a transaction and return its raw answer.

        Raises ChainError with the decoded custom error when the call reverts.
        """
        message = {"to": to, "data": "0x" + data.hex()}
        if sender is not None:
            message["from"] = sender
        return _bytes(self.request("eth_call", [message, _tag(which)]))

    def call(
        self,
        to: str,
        function: AbiFunction,
        *args: Any,
        sender: str | None = None,
        which: BlockTag = "latest",
    ) -> tuple[Any, ...]:
        """Call a view function and return its decoded values.

        Raises ChainError: the decoded custom error, `no-contract` or `call-undecodable`.
        """
        return function.decode(self.call_raw(to, function.encode(*args), sender, which), to)

    # ---- logs

    def logs(
        self,
        address: str | Sequence[str],
        from_block: int,
        to_block: int,
        topics: Topics = (),
    ) -> list[Log]:
        """Return the logs of the blocks from_block..to_block (both included), in the order of the chain.

        The range is split when the node refuses it, whatever its reason (providers' limits are as different
        as their messages); the span that worked is remembered, and widened
        again after a while.

        Raises ChainError `logs-refused` when even a single block is refused, or UnavailableError.
        """
        found: list[Log] = []
        start = from_block
        while start <= to_block:
            end = min(to_block, start + self._log_span_blocks - 1)
            part = self._logs_of_span(address, start, end, topics)
            if part is None:
                self._log_span_blocks = max(1, (end - start + 1) // 2)
                self._good_spans = 0
                continue
            found += part
            self._note_good_span(end - start + 1)
            start = end + 1
        return found

    def logs_of_block(self, address: str | Sequence[str], block_hash: bytes, topics: Topics = ()) -> list[Log] | None:
        """Return the logs of exactly this block, or None if the node refuses (it may not have it any more)."""
        query = {"address": address, "blockHash": "0x" + block_hash.hex(), "topics": _topics(topics)}
        answer = self.ask("eth_getLogs", [query])
        return None if answer.failure or answer.result is None else _logs(answer.result)

    def first_log(self, address: str, from_block: int) -> Log | None:
        """Return the first log of an address in or after a block, or None. Raises as `logs`."""
        last = self.block_number()
        for start in range(from_block, last + 1, _LOG_SPAN_BLOCKS):
            found = self.logs(address, start, min(last, start + _LOG_SPAN_BLOCKS - 1))
            if found:
                return found[0]
        return None

    def _note_good_span(self, blocks: int) -> None:
        """Try a wider span again after a while: a refusal may have had a passing reason."""
        if blocks < self._log_span_blocks:
            return
        self._good_spans += 1
        if self._good_spans >= _SPANS_BEFORE_WIDER:
            self._log_span_blocks = min(_LOG_SPAN_BLOCKS, self._log_span_blocks * 2)
            self._good_spans = 0

    def _logs_of_span(
        self,
        address: str | Sequence[str],
        start: int,
        end: int,
        topics: Sequence[bytes | Sequence[bytes] | None],
    ) -> list[Log] | None:
        query = {
            "address": address,
            "fromBlock": hex(start),
            "toBlock": hex(end),
            "topics": _topics(topics),
        }
        try:
            answer = self.ask("eth_getLogs", [query])
        except UnavailableError as error:
            if error.code in _SPAN_TROUBLE and end > start:
                return None
            raise
        if answer.failure is None:
            return _logs(answer.result)
        if end > start:
            return None
        raise ChainError(
            "logs-refused",
            f"{self.display_url} refuses the logs of block {start}: {answer.failure.message}",
            "Use an RPC that keeps the logs of these blocks.",
        )


def refused(method: str, failure: RpcFailure) -> ChainError | UnavailableError:
    """Return the error for a refusal that is not a revert; one that passes by itself (rate limits) is "try later"."""
    if failure.code in _PASSING_CODES:
        return UnavailableError(
            "rpc-busy",
            f"The node refused {method} for now: {failure.message} ({failure.code}).",
            "Try again; if it stays, use an RPC with a higher limit.",
        )
    return ChainError(
        "rpc-refused",
        f"The node refused {method}: {failure.message} ({failure.code}).",
        "Use an RPC that offers this method, or look the message up in its documentation.",
    )


def _tag(which: BlockTag) -> str:
    return hex(which) if isinstance(which, int) else which


def _topics(topics: Topics) -> list[str | list[str] | None]:
    return [_topic(topic) for topic in topics]


def _topic(topic: bytes | Sequence[bytes] | None) -> str | list[str] | None:
    if topic is None:
        return None
    if isinstance(topic, bytes):
        return "0x" + topic.hex()
    return ["0x" + each.hex() for each in topic]


def _logs(items: Sequence[dict[str, Any]]) -> list[Log]:
    return [Log.from_json(item) for item in items if not item.get("removed")]
