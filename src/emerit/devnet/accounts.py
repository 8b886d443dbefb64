"""The account that a devnet funds: public on purpose, worth nothing elsewhere."""

from __future__ import annotations

from eth_account import Account
from eth_account.signers.local import LocalAccount

from emerit.chain.deployment import Deployment
from emerit.chain.rpc import Chain
from emerit.chain.token import Token
from emerit.chain.transactions import Sender

# The mnemonic that every Ethereum devnet uses.
DEVNET_MNEMONIC = "test test test test test test test test test test test junk"


def devnet_account() -> LocalAccount:
    """The account that deploys on a devnet and mints its tokens."""
    Account.enable_unaudited_hdwallet_features()
    account: LocalAccount = Account.from_mnemonic(DEVNET_MNEMONIC)
    return account


def fund(chain: Chain, deployment: Deployment, address: str, *, ether_wei: int, tokens_wei: int) -> None:
    """Send devnet ether and mint devnet tokens to an address."""
    sender = Sender(chain, devnet_account())
    if ether_wei:
        sender.transfer(address, ether_wei)
    if tokens_wei:
        Token(chain, deployment.token).mint(sender, address, tokens_wei)
