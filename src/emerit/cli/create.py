"""`emerit run create`: what a sponsor fixes for good."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emerit.cli.options import (
    DeploymentOption,
    IpfsOption,
    JsonOption,
    PasswordOption,
    RpcOption,
    WalletDirOption,
    WalletOption,
)
from emerit.cli.output import print_json, print_record, say, say_step, to_wei, tokens
from emerit.cli.place import Place, place, sender_for
from emerit.cli.training_options import (
    DivisorFloorOption,
    FeedbackDecayOption,
    LearningRateOption,
    NesterovOption,
    OptimiserOption,
    OuterMomentumOption,
    OuterRateOption,
    OverlapOption,
    PlannedRoundsOption,
    ScheduleOption,
    outer_changes,
    training_changes,
)
from emerit.errors import ChainError, UsageError

if TYPE_CHECKING:
    from emerit.run.create import RunPlan

DATASET_PREFIX = "dataset:"
MOST_ROUNDS = 2**24 - 2
MOST_SECONDS = 2**32 - 1
TOKEN_WEI = 10**18
RUN_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")

SlashOption = Annotated[
    int | None,
    typer.Option(min=0, max=65_535, help="Full rounds' budgets that a wrong header costs; default: the clock's"),
]
EpochOption = Annotated[
    int | None,
    typer.Option(min=1, max=65_535, help="Rounds between changes of validators' seats; default: the clock's"),
]
WindowOption = Annotated[
    int | None,
    typer.Option(min=1, max=MOST_SECONDS, help="Time to challenge a settlement before claims; default: the clock's"),
]
AnswerOption = Annotated[
    int | None, typer.Option(min=1, max=MOST_SECONDS, help="Time to show a demanded leaf; default: the clock's")
]
ClaimPeriodOption = Annotated[
    int | None,
    typer.Option(min=1, max=MOST_SECONDS, help="Time to claim after the end of the run; default: the clock's"),
]
ArchitectureOption = Annotated[str, typer.Option(help="gpt, or a model of an installed package")]
TokenizerOption = Annotated[str, typer.Option(help="bytes or bpe; default: the preset's")]
VocabularyOption = Annotated[
    int, typer.Option(min=0, max=65_536, help="Tokens of the bpe tokenizer; default: the preset's, or 1024")
]

CodecOption = Annotated[
    str | None,
    typer.Option(help="How contributions are sent: topk-sign (default), topk-2bit, dense-8bit, dense-sign, ternary"),
]
KOption = Annotated[
    int | None, typer.Option("--k", min=1, help="Entries of a chunk that are sent; default: the preset's")
]
EarlyRoundsOption = Annotated[int | None, typer.Option(min=0, help="First rounds, which send --early-k instead of --k")]
EarlyKOption = Annotated[int | None, typer.Option(min=1, help="Entries of a chunk that are sent in --early-rounds")]
FeedbackPeersOption = Annotated[
    int | None,
    typer.Option(min=0, max=16, help="Peers that a trainer measures for the wide reputation graph; 0: none"),
]


def create(
    corpus: Annotated[
        str, typer.Option(help="Text file, or folder of text files; dataset:NAME for one of an installed package")
    ],
    name: Annotated[str, typer.Option(help="Name of the run")] = "run",
    preset: Annotated[str, typer.Option(help="Model and training: tiny, 400k, demo, small, 10m, 45m, 124m")] = "demo",
    architecture: ArchitectureOption = "gpt",
    tokenizer: TokenizerOption = "",
    vocabulary: VocabularyOption = 0,
    clock: Annotated[str, typer.Option(help="Times: tiny, demo, devnet; public for a public chain")] = "devnet",
    codec: CodecOption = None,
    k: KOption = None,
    early_rounds: EarlyRoundsOption = None,
    early_k: EarlyKOption = None,
    max_rounds: Annotated[int, typer.Option(min=0, max=MOST_ROUNDS, help="Rounds to run; 0: until closed")] = 0,
    min_trainers: Annotated[int, typer.Option(min=1, max=256, help="Trainers needed to start")] = 1,
    min_validators: Annotated[int, typer.Option(min=1, max=16, help="Validators needed to start")] = 1,
    trainers: Annotated[int, typer.Option(min=1, max=256, help="Trainers the corpus must have room for")] = 16,
    rate: Annotated[str, typer.Option(help="Tokens paid per second of a round, at most")] = "10",
    validator_share_bps: Annotated[
        int, typer.Option(min=0, max=10_000, help="Validators' part of the pay, in 1/10,000")
    ] = 2000,
    bond: Annotated[str, typer.Option(help="Least bond of a trainer, in tokens")] = "10",
    stake: Annotated[str, typer.Option(help="Least stake of a validator, in tokens; at least 1")] = "100",
    fine: Annotated[
        str | None,
        typer.Option(help="Tokens that a missed reveal or signature costs; default: 1, or the bond if that is less"),
    ] = None,
    demand_bond: Annotated[
        str, typer.Option(help="Price of a demand for a leaf, in the chain's currency; half pays for the answer")
    ] = "0.005",
    slash_rounds: SlashOption = None,
    epoch_rounds: EpochOption = None,
    challenge_window_seconds: WindowOption = None,
    answer_seconds: AnswerOption = None,
    claim_period_seconds: ClaimPeriodOption = None,
    reputation_keep_ppb: Annotated[
        int, typer.Option(min=0, max=10**9, help="What stored reputation keeps per round, in 1/1,000,000,000")
    ] = 990_000_000,
    feedback_peers: FeedbackPeersOption = None,
    optimiser: OptimiserOption = None,
    schedule: ScheduleOption = None,
    planned_rounds: PlannedRoundsOption = None,
    overlap: OverlapOption = None,
    learning_rate: LearningRateOption = None,
    feedback_decay: FeedbackDecayOption = None,
    divisor_floor: DivisorFloorOption = None,
    outer_rate: OuterRateOption = None,
    outer_momentum: OuterMomentumOption = None,
    nesterov: NesterovOption = None,
    fund: Annotated[str, typer.Option(help="Tokens to put into the pool now")] = "0",
    rpc_url: RpcOption = None,
    ipfs_api: IpfsOption = None,
    deployment: DeploymentOption = None,
    wallet: WalletOption = None,
    wallet_dir: WalletDirOption = None,
    password_file: PasswordOption = None,
    as_json: JsonOption = False,
) -> None:
    """Cut a corpus into shards on IPFS, write the manifest, create the run's contracts. The wallet is its sponsor."""
    import secrets

    from emerit.protocol.presets import clock as clock_preset
    from emerit.protocol.presets import preset as known_preset

    changes = {
        "slash_rounds": slash_rounds,
        "epoch_rounds": epoch_rounds,
        "challenge_window_seconds": challenge_window_seconds,
        "answer_seconds": answer_seconds,
        "claim_period_seconds": claim_period_seconds,
    }
    given = {name: value for name, value in changes.items() if value is not None}
    timing, model = dataclasses.replace(clock_preset(clock), **given).fitted(), known_preset(preset)
    if not RUN_NAME.fullmatch(name):
        raise UsageError(
            "run-name-invalid",
            f"{name!r} cannot be a run's name.",
            "Take up to 64 lower-case letters, digits, dots, dashes and underscores; the first a letter or digit.",
        )
    training = training_changes(optimiser, schedule, planned_rounds, overlap, learning_rate, feedback_decay)
    outer = outer_changes(outer_rate, outer_momentum, nesterov, divisor_floor)
    pool_wei = to_wei(fund)
    amounts = _amounts(rate, bond, stake, fine, demand_bond)
    from emerit.run.create import RunPlan, chosen_codec

    sent_with = chosen_codec(model.codec, codec, k, early_rounds, early_k)
    where = place(rpc_url, ipfs_api, deployment=deployment)

    plan = RunPlan(
        name=name,
        paths=[] if corpus.startswith(DATASET_PREFIX) else [Path(corpus)],
        dataset=corpus.removeprefix(DATASET_PREFIX) if corpus.startswith(DATASET_PREFIX) else "",
        architecture=architecture,
        tokenizer=tokenizer,
        vocabulary=vocabulary,
        preset=model.name,
        codec=sent_with,
        clock=timing,
        seed=secrets.token_bytes(32),
        max_rounds=max_rounds,
        min_trainers=min_trainers,
        min_validators=min_validators,
        expected_trainers=trainers,
        validator_share_bps=validator_share_bps,
        reputation_keep_ppb=reputation_keep_ppb,
        feedback_peers=feedback_peers,
        training=training,
        outer=outer,
        **amounts,
    )
    record = _create(where, plan, pool_wei, (wallet, wallet_dir, password_file), quiet=as_json)
    if as_json:
        print_json(record)
        return
    counted = {name: record[name] for name in ("run", "train_sequences", "validation_sequences")}
    print_record(counted | {"pool": tokens(pool_wei)})
    if not pool_wei:
        say("The pool is empty: nobody is paid before `emerit run fund AMOUNT`.")
    say("Next: emerit validator start, emerit trainer start")


def _amounts(rate: str, bond: str, stake: str, fine: str | None, demand_bond: str) -> dict[str, Any]:
    """The plan's amounts in wei; raises UsageError `amount-invalid` for those that do not go together."""
    amounts: dict[str, Any] = {
        "reward_rate_wei_per_second": to_wei(rate),
        "min_trainer_bond_wei": to_wei(bond),
        "min_validator_stake_wei": to_wei(stake),
    }
    least_wei = min(amounts["min_trainer_bond_wei"], amounts["min_validator_stake_wei"])
    amounts["miss_fine_wei"] = min(TOKEN_WEI, least_wei) if fine is None else to_wei(fine)
    amounts["demand_bond_wei"] = to_wei(demand_bond, zero_allowed=False)
    if amounts["miss_fine_wei"] > least_wei:
        raise UsageError("amount-invalid", f"A fine of {fine} is more than the least bond or stake.", "Lower --fine.")
    if amounts["min_validator_stake_wei"] < TOKEN_WEI:
        raise UsageError(
            "amount-invalid", f"A stake of {stake} has no voting weight.", "Use --stake 1 or more: a token is one vote."
        )
    return amounts


def _create(
    where: Place, plan: RunPlan, pool_wei: int, signer: tuple[str | None, Path | None, Path | None], *, quiet: bool
) -> dict[str, Any]:
    """Create the run and fund it; what could stop it later is asked first."""
    from emerit.chain.token import Token
    from emerit.ipfs.client import BlobStore
    from emerit.run.create import create_run

    chain = where.chain()
    deployment = where.deployment(chain)
    sender = sender_for(where, chain, *signer)
    held_wei = Token(chain, deployment.token).balance_of(sender.address) if pool_wei else 0
    if held_wei < pool_wei:
        raise ChainError(
            "erc20-insufficient-balance",
            f"{sender.address} has {tokens(held_wei)}, the pool is to get {tokens(pool_wei)}.",
            "Get more tokens (the minter: emerit token mint), or use a smaller --fund; no run was created.",
        )
    store = BlobStore(where.settings.ipfs_api)
    store.ready()
    made = create_run(sender, deployment, store, plan, on_step=(lambda _text: None) if quiet else say_step)
    if pool_wei:
        made.client.fund(sender, pool_wei)
    return {
        "run": made.client.address,
        "train_sequences": made.train_sequences,
        "validation_sequences": made.validation_sequences,
        "funded_wei": str(pool_wei),
    }
