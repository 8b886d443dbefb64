"""The end of a demo: claims, `summary.json`, the checks, the table, the plot."""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections import Counter
from importlib.metadata import version
from typing import Any

from rich.table import Table

from emerit.chain.transactions import Sender
from emerit.devnet.demo_stage import Actor, Stage
from emerit.devnet.plot import svg_plot, terminal_plot
from emerit.devnet.summary import Evidence, ParticipantRecord, RoundRecord, Summary, check, table_rows
from emerit.errors import StateError
from emerit.files import SHARED, replace_file
from emerit.protocol.settlement_tree import payable
from emerit.run.claims import claim, claimable
from emerit.run.ledger import Ledger
from emerit.scoring.evidence import MAX_EVIDENCE_BYTES, read_evidence

EXIT_DEADLINE_SECONDS = 30.0


def report(stage: Stage, began: float) -> Summary:
    """Let the nodes end, claim for everybody, write and print what the demo showed."""
    _wait_for_nodes(stage)
    ledger = _final_ledger(stage)
    stage.step("claiming every reward by its Merkle proof")
    before = _rewards_balance(stage)
    for actor in stage.actors:
        claim(
            stage.client,
            Sender(stage.chain, actor.account),
            claimable(stage.client, ledger, actor.account.address),
        )
    summary = Summary(
        initial_validation_loss=stage.losses[0],
        unigram_entropy=stage.held_out.unigram_entropy,
        rounds=_rounds(stage, ledger),
        participants=_participants(stage, ledger),
        versions=_versions(stage),
        peak_memory_bytes=stage.peak_memory_bytes,
        api=stage.api_url,
        run=stage.client.address,
        chain_id=stage.info.chain_id,
        seed=stage.options.seed,
    )
    check(
        summary,
        Evidence(
            _state_roots(stage),
            stage.options.rounds,
            paid_wei=before - _rewards_balance(stage),
            promised_wei=ledger.last.onchain.header.tree.total_amount_wei if ledger.last else 0,
        ),
    )
    stage.seconds["total"] = round(time.monotonic() - began, 2)
    summary.seconds = stage.seconds
    _write(stage, summary)
    _print(stage, summary)
    return summary


def _wait_for_nodes(stage: Stage) -> None:
    """The nodes see that the run has finished and end by themselves."""
    deadline = time.monotonic() + EXIT_DEADLINE_SECONDS
    while time.monotonic() < deadline and any(c.running for c in stage.children if c.name != "api"):
        time.sleep(0.1)


def _final_ledger(stage: Stage) -> Ledger:
    """The settlements recomputed; waits until the last one cannot be challenged any more, so that claims are paid.

    Raises:
        StateError: `settlement-mismatch`; `demo-not-final` when it takes longer than the challenge window says.
    """
    ledger = Ledger(stage.client)
    ledger.update()
    if ledger.fault is not None:
        raise ledger.fault.error
    deadline = time.monotonic() + stage.context.params.challenge_window_seconds + EXIT_DEADLINE_SECONDS
    while ledger.last is not None and not stage.client.is_final(ledger.last.round):
        if time.monotonic() > deadline:
            raise StateError("demo-not-final", "The last settlement does not become final.", "See the chain's log.")
        time.sleep(0.1)
    return ledger


def _rewards_balance(stage: Stage) -> int:
    return stage.client.token().balance_of(stage.deployment.rewards)


def _rounds(stage: Stage, ledger: Ledger) -> list[RoundRecord]:
    gas = _gas_by_block(stage)
    records = []
    for entry, loss in zip(ledger.entries, stage.losses[1:], strict=True):
        first, last = entry.opened.block, entry.onchain.block
        records.append(
            RoundRecord(
                round=entry.round,
                validation_loss=loss,
                accepted=sum(1 for weight in entry.settlement.weights if weight > 0),
                state_root="0x" + entry.onchain.header.body.state_root.hex(),
                blocks=last - first,
                gas_used=sum(used for block, used in gas.items() if first < block <= last),
            )
        )
    return records


def _gas_by_block(stage: Stage) -> dict[int, int]:
    return {number: _gas(stage, number) for number in range(stage.chain.block_number() + 1)}


def _gas(stage: Stage, number: int) -> int:
    block = stage.chain.request("eth_getBlockByNumber", [hex(number), False])
    return int(block["gasUsed"], 16)


def _participants(stage: Stage, ledger: Ledger) -> list[ParticipantRecord]:
    paid = stage.client.token().transfers_from(stage.deployment.rewards)
    evidence = _evidence(stage, ledger)
    total = sum(entry.onchain.header.tree.total_weight for entry in ledger.entries)
    records = []
    for actor in stage.actors:
        entry = stage.client.entry_of(actor.account.address)
        assert entry is not None  # the run would not have started without it
        record = ParticipantRecord(address=actor.account.address, role=actor.role)
        record.claimed_wei = str(paid.get(actor.account.address, 0))
        record.reputation = ledger.leaves[entry.index].detail.reputation
        if actor.validator:
            record.contributions = sum(1 for e in ledger.entries if any(w.slot == entry.slot for w in e.weights))
        else:
            _fill_trainer(record, entry.slot, ledger, evidence, total)
        records.append(record)
    return records


def _fill_trainer(
    record: ParticipantRecord, slot: int, ledger: Ledger, evidence: list[list[dict[str, Any]]], total: int
) -> None:
    record.contributions = sum(1 for e in ledger.entries if any(c.slot == slot for c in e.contributions))
    weight = sum(payable(e.weight_of(slot)) for e in ledger.entries)
    record.weight_share = weight / total if total else 0.0
    scores, reasons = [], Counter[str]()
    for views in evidence:
        mine = [view["trainers"][str(slot)] for view in views if str(slot) in view["trainers"]]
        measured = [item["s"] for item in mine if item.get("s") is not None]
        if measured:
            scores.append(statistics.median(measured))
        codes = Counter(item["reason"] for item in mine)
        if codes:
            reasons[codes.most_common(1)[0][0]] += 1
        clusters = [item["cluster"] for item in mine if item.get("cluster") is not None]
        if clusters:
            record.cluster = clusters[0]
    record.mean_score = statistics.fmean(scores) if scores else None
    record.reasons = dict(reasons)


def _evidence(stage: Stage, ledger: Ledger) -> list[list[dict[str, Any]]]:
    """Per settled round, each validator's evidence as published on IPFS, its hash checked."""
    return [
        [
            read_evidence(stage.context.fetch(item.evidence_cid, item.evidence_hash, MAX_EVIDENCE_BYTES))
            for item in entry.weights
        ]
        for entry in ledger.entries
    ]


def _state_roots(stage: Stage) -> dict[str, list[str]]:
    """What each honest node computed itself, from the record that it keeps."""
    roots = {}
    for actor in stage.actors:
        if actor.role in ("honest", "validator"):
            roots[actor.name] = _roots_of(stage, actor)
    return roots


def _roots_of(stage: Stage, actor: Actor) -> list[str]:
    by_count: dict[int, str] = {}
    for path in (stage.folder / "nodes" / actor.name).glob("*/roots.jsonl"):
        for line in path.read_text().splitlines():
            record = json.loads(line)
            by_count[record["settled"]] = record["root"]
    return [by_count[count] for count in sorted(by_count)]


def _versions(stage: Stage) -> dict[str, str]:
    names = ("emerit", "torch", "web3", "numpy", "fastapi", "ipfshttpclient")
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in names},
        "chain": stage.chain.client_version(),
        "ipfs": stage.context.store.version(),
    }


def _write(stage: Stage, summary: Summary) -> None:
    text = json.dumps(summary.as_dict(), indent=2) + "\n"
    replace_file(stage.folder / "summary.json", text.encode(), mode=SHARED)
    svg = svg_plot(
        [summary.initial_validation_loss, *(r.validation_loss for r in summary.rounds)],
        {"unigram entropy": summary.unigram_entropy},
        "Held-out loss, nats a byte",
    )
    replace_file(stage.folder / "loss.svg", svg.encode(), mode=SHARED)


def _print(stage: Stage, summary: Summary) -> None:
    console = stage.console
    console.print("\n[bold]Who earned what, and why[/]")
    table = Table(
        "participant",
        "role",
        "contr.",
        "mean score",
        "cluster",
        "weight",
        "reputation",
        "claimed EMR",
        "why",
    )
    for row in table_rows(summary.participants):
        table.add_row(*row)
    console.print(table)
    console.print("\n[bold]Held-out loss, nats a byte[/]")
    losses = [summary.initial_validation_loss, *(r.validation_loss for r in summary.rounds)]
    console.print(terminal_plot(losses, width_per_value=max(2, min(4, 64 // len(losses)))), highlight=False)
    console.print()
    for name, good in summary.checks.items():
        mark = "[green]ok[/]  " if good else "[red]FAIL[/]"
        console.print(f"{mark} {name}: {summary.explanations[name]}", highlight=False)
    console.print(f"\nsummary.json, loss.svg, chain, IPFS repositories and logs are in {stage.folder}", highlight=False)
