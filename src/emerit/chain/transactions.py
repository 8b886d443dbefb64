"""Transactions: refused before they cost gas, sent once, and waited for until they are mined."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from eth_account.signers.local import LocalAccount
from eth_utils.address import to_checksum_address

from emerit.chain.records import Block, Log, Receipt
from emerit.chain.reverts import RpcFailure, revert_error
from emerit.chain.rpc import Chain, refused
from emerit.errors import ChainError, PreconditionError, UnavailableError

MAX_GAS: Final = 1 << 24  # EIP-7825: no transaction may ask for more
_DEFAULT_TIP_WEI: Final = 10**9
_NONCE_ATTEMPTS: Final = 4
_MIN_BLOCK_SECONDS: Final = 0.5
_MAX_BLOCK_SECONDS: Final = 15.0

# Nodes word the same refusal differently; these are compared with the message in lower case, without spaces
# and underscores.
_NONCE_USED: Final = ("noncetoolow", "oldnonce", "noncealreadyused", "nonceisbelow", "invalidnonce")
_NONCE_PENDING: Final = (
    "replacementtransactionunderpriced",
    "replacementunderpriced",
    "replacementnotallowed",
)
_KNOWN: Final = ("alreadyknown", "alreadyimported", "knowntransaction", "alreadyexists")
_NO_FUNDS: Final = ("insufficientfunds", "insufficientbalance", "insufficientmaxfee", "upfrontcost")


def _says(failure: RpcFailure, phrases: tuple[str, ...]) -> bool:
    message = failure.message.lower().replace(" ", "").replace("_", "")
    return any(phrase in message for phrase in phrases)


@dataclass(frozen=True, slots=True)
class Fees:
    """EIP-1559 fees of one transaction, in wei per unit of gas."""

    max_fee_wei: int
    tip_wei: int

    def raised(self) -> Fees:
        """Return fees a quarter higher: enough for any node to accept a replacement."""
        return Fees(self.max_fee_wei * 5 // 4 + 1, self.tip_wei * 5 // 4 + 1)


@dataclass(slots=True)
class _Pending:
    """A transaction under way: one nonce, and the hashes of every version of it that was broadcast."""

    message: dict[str, Any]
    fees: Fees
    raw: str = ""
    hashes: list[str] = field(default_factory=list)
    overtaken: bool = False


class Sender:
    """Sends transactions of one key, one nonce after the other; safe to share between threads.

    Two processes share a key only by accident; the nonce then is read again from the chain ("nonce too low"),
    and a transaction that another one displaced is reported as `nonce-taken`. A transaction that is not mined
    within `bump_after_seconds` is replaced by the same one with a quarter more fees, never duplicated.
    """

    def __init__(
        self,
        chain: Chain,
        account: LocalAccount,
        deadline_seconds: float = 120.0,
        bump_after_seconds: float = 30.0,
        nonce_lock: threading.Lock | None = None,
    ) -> None:
        self.chain = chain
        self.address: str = account.address
        self.account = account
        self._deadline_seconds = deadline_seconds
        self._bump_after_seconds = bump_after_seconds
        self._lock = nonce_lock or threading.Lock()
        self._next_nonce: int | None = None
        self._block_seconds: float | None = None

    # ---- public

    def send(self, to: str, data: bytes, value_wei: int = 0, extra_gas: int = 0) -> Receipt:
        """Execute a call as a transaction and return its receipt once it is mined.

        The call is tried without a transaction first, so a refusal that is known costs nothing. `extra_gas`
        is asked for on top of the estimate, for calls that may do more by the time they are mined.

        Raises ChainError: the decoded custom error; `insufficient-gas-funds`; `nonce-taken`; `out-of-gas`;
        `transaction-reverted`; `transaction-refused`. UnavailableError: `transaction-pending` when it was
        not mined in time, or a code of the transport.
        """
        return self._send({"to": to_checksum_address(to), "data": "0x" + data.hex(), "value": value_wei}, extra_gas)

    def transfer(self, to: str, amount_wei: int) -> Receipt:
        """Send some of the chain's own currency. Raises as `send`."""
        return self.send(to, b"", amount_wei)

    def deploy(self, creation: bytes) -> Receipt:
        """Deploy a contract; the receipt's `contract_address` is set. Raises as `send`."""
        return self._send({"data": "0x" + creation.hex(), "value": 0}, 0)

    def balance_wei(self) -> int:
        """Return what the key has for gas."""
        return self.chain.balance_wei(self.address)

    # ---- preparation

    def _send(self, message: dict[str, Any], extra_gas: int) -> Receipt:
        call = {**message, "from": self.address, "value": hex(message["value"])}
        self._try(call)
        gas = self._gas(call, extra_gas)
        head = self.chain.head()
        fees = self._fees(head)
        self._require_funds(gas * fees.max_fee_wei + message["value"])
        pending = _Pending(
            {**message, "gas": gas, "chainId": self.chain.chain_id, "type": 2},
            fees,
        )
        self._start(pending)
        return self._finish(call, self._await(pending, self._block_time(head)), gas)

    def _try(self, call: Mapping[str, Any]) -> None:
        answer = self.chain.ask("eth_call", [call, "latest"])
        if answer.failure is not None:
            raise self._refusal("eth_call", answer.failure)

    def _gas(self, call: Mapping[str, Any], extra_gas: int) -> int:
        answer = self.chain.ask("eth_estimateGas", [call, "latest"])
        if answer.failure is not None:
            raise self._refusal("eth_estimateGas", answer.failure)
        estimate = int(answer.result, 16)
        return max(estimate, min(estimate * 5 // 4 + extra_gas, MAX_GAS))

    def _refusal(self, method: str, failure: RpcFailure) -> ChainError | UnavailableError:
        if _says(failure, _NO_FUNDS) and not failure.data:
            return self._no_funds(None)
        return revert_error(failure) or refused(method, failure)

    def _fees(self, head: Block) -> Fees:
        if head.base_fee_wei is None:
            raise PreconditionError(
                "chain-too-old",
                f"{self.chain.display_url} has no base fee (EIP-1559).",
                "Use a chain with the Osaka rules or later.",
            )
        answer = self.chain.ask("eth_maxPriorityFeePerGas")
        tip = _DEFAULT_TIP_WEI if answer.failure else int(answer.result, 16)
        return Fees(2 * head.base_fee_wei + tip, tip)

    def _require_funds(self, needed_wei: int) -> None:
        if self.balance_wei() < needed_wei:
            raise self._no_funds(needed_wei)

    def _no_funds(self, needed_wei: int | None) -> ChainError:
        have = self.balance_wei()
        most = f", and this transaction may need {needed_wei} wei" if needed_wei is not None else ""
        return ChainError(
            "insufficient-gas-funds",
            f"{self.address} has {have} wei for gas on chain {self.chain.chain_id}{most}.",
            f"Send some of the chain's currency to {self.address}.",
        )

    def _block_time(self, head: Block) -> float:
        if self._block_seconds is None:
            span = min(head.number, 20)
            past = self.chain.block(head.number - span) if span else None
            seconds = (head.timestamp - past.timestamp) / span if past else 1.0
            self._block_seconds = min(max(seconds, _MIN_BLOCK_SECONDS), _MAX_BLOCK_SECONDS)
        return self._block_seconds

    # ---- broadcast

    def _start(self, pending: _Pending) -> None:
        """Give the transaction a nonce and broadcast it; holds the lock so that nonces go out in order."""
        with self._lock:
            for _ in range(_NONCE_ATTEMPTS):
                if self._next_nonce is None:
                    self._next_nonce = self.chain.nonce(self.address)
                nonce = pending.message["nonce"] = self._next_nonce
                failure = self._broadcast(pending, pending.fees)
                if failure is None:
                    self._next_nonce = nonce + 1
                    return
                pending.hashes.clear()
                self._next_nonce = None
                if _says(failure, _NONCE_PENDING):
                    self._next_nonce = max(nonce + 1, self.chain.nonce(self.address))
                elif not _says(failure, _NONCE_USED):
                    raise self._not_sent(failure)
        raise ChainError(
            "nonce-taken",
            f"Other transactions of {self.address} keep taking its nonces.",
            "Use each key in one program only.",
        )

    def _broadcast(self, pending: _Pending, fees: Fees) -> RpcFailure | None:
        """Sign and broadcast; None means that the node has it, or may have it (no answer in time)."""
        signed = self.account.sign_transaction(
            {**pending.message, "maxFeePerGas": fees.max_fee_wei, "maxPriorityFeePerGas": fees.tip_wei}
        )
        pending.raw = "0x" + signed.raw_transaction.hex().removeprefix("0x")
        pending.hashes.append("0x" + signed.hash.hex().removeprefix("0x"))
        pending.fees = fees
        return self._rebroadcast(pending)

    def _rebroadcast(self, pending: _Pending) -> RpcFailure | None:
        try:
            failure = self.chain.ask("eth_sendRawTransaction", [pending.raw]).failure
        except UnavailableError:
            return None
        return None if failure is None or _says(failure, _KNOWN) else failure

    def _not_sent(self, failure: RpcFailure) -> ChainError:
        if _says(failure, _NO_FUNDS):
            return self._no_funds(None)
        return ChainError(
            "transaction-refused",
            f"{self.chain.display_url} refused the transaction: {failure.message}.",
            "Look the message up in the node's documentation.",
        )

    # ---- waiting

    def _await(self, pending: _Pending, block_seconds: float) -> dict[str, Any]:
        """Return the receipt of whichever version of the transaction is mined."""
        start = time.monotonic()
        expires, bump_at = start + self._deadline_seconds, start + self._bump_after_seconds
        pause = block_seconds / 50
        while True:
            receipt = self._mined(pending)
            if receipt is not None:
                return receipt
            now = time.monotonic()
            if now >= expires:
                raise self._overdue(pending)
            if now >= bump_at:
                self._push(pending)
                bump_at = now + self._bump_after_seconds
            time.sleep(max(0.0, min(pause, expires - now, bump_at - now)))
            pause = min(pause * 1.6, block_seconds / 3)

    def _mined(self, pending: _Pending) -> dict[str, Any] | None:
        for tx_hash in reversed(pending.hashes):
            try:
                answer = self.chain.ask("eth_getTransactionReceipt", [tx_hash])
            except UnavailableError:
                return None
            if answer.failure is None and answer.result:
                return dict(answer.result)
        return None

    def _push(self, pending: _Pending) -> None:
        """Replace the transaction by one with higher fees; note when its nonce has gone to another one."""
        if pending.overtaken:
            self._forget_nonce()
            raise ChainError(
                "nonce-taken",
                f"Another transaction of {self.address} took nonce {pending.message['nonce']}.",
                "Use each key in one program only, then try again.",
            )
        earlier_raw, earlier_fees = pending.raw, pending.fees
        failure = self._broadcast(pending, pending.fees.raised())
        if failure is None:
            return
        pending.hashes.pop()
        pending.raw, pending.fees = earlier_raw, earlier_fees
        pending.overtaken = _says(failure, _NONCE_USED)
        if not pending.overtaken:
            self._rebroadcast(pending)

    def _forget_nonce(self) -> None:
        with self._lock:
            self._next_nonce = None

    def _overdue(self, pending: _Pending) -> UnavailableError:
        self._forget_nonce()
        return UnavailableError(
            "transaction-pending",
            f"Transaction {pending.hashes[-1]} was not mined within {self._deadline_seconds:g} s.",
            "It may still be mined. Check the chain's fees and the state of the run before sending again.",
        )

    def _finish(self, call: Mapping[str, Any], fields: Mapping[str, Any], gas: int) -> Receipt:
        if int(fields["status"], 16) == 1:
            return _receipt(fields)
        block = int(fields["blockNumber"], 16)
        where = f"Transaction {fields['transactionHash']} was mined in block {block}, but "
        if int(fields["gasUsed"], 16) >= gas:
            raise ChainError("out-of-gas", f"{where}ran out of its {gas} gas.", "Try again.")
        answer = self.chain.ask("eth_call", [call, fields["blockNumber"]])
        error = revert_error(answer.failure) if answer.failure else None
        if error is not None:
            raise ChainError(error.code, f"{where}the contract refused it: {error.cause}", error.fix)
        raise ChainError(
            "transaction-reverted",
            f"{where}reverted.",
            "The state changed between the check and the block; look at the run's status and try again.",
        )


def _receipt(fields: Mapping[str, Any]) -> Receipt:
    created = fields.get("contractAddress")
    return Receipt(
        tx_hash=fields["transactionHash"],
        block=int(fields["blockNumber"], 16),
        gas_used=int(fields["gasUsed"], 16),
        logs=tuple(Log.from_json(item) for item in fields["logs"]),
        contract_address=to_checksum_address(created) if created else None,
    )
