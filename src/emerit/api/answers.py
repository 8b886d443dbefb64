"""The shapes of the API's answers; `/v1/openapi.json` is made from them.

Amounts are decimal strings of wei, hashes and addresses 0x-hex, times unix seconds of the chain. Every answer under
`/v1` but the gateway's says as of which block it is: it shows everything up to that block, and may already show
something of the next.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Wei = Annotated[str, Field(pattern=r"^[0-9]+$", description="wei, in decimal digits")]
Hash = Annotated[str, Field(pattern=r"^0x[0-9a-f]{64}$")]
Hex = Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{40}$")]


class Answer(BaseModel):
    """Base of everything that is answered."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Dated(Answer):
    """An answer with the block that it belongs to."""

    as_of_block: int


class Problem(Answer):
    """An error (RFC 9457). `code` is stable; `title` says what is wrong and `fix` what to do."""

    type: str
    title: str
    status: int
    code: str
    fix: str


class Trouble(Answer):
    """Why the run cannot be followed further than the settled rounds that are shown."""

    code: str
    cause: str
    fix: str


class Contracts(Answer):
    """Where the run's contracts are."""

    training_run: Hex
    rewards: Hex
    stakes: Hex
    reputation: Hex
    token: Hex


class RunAnswer(Dated):
    """The run: clock, members, money."""

    run: Hex
    chain_id: int
    name: str
    model: str
    contracts: Contracts
    manifest_cid: str
    manifest_sha256: Hash
    state_root: Hash
    phase: str
    round: int
    max_rounds: int = Field(description="0: until the sponsor closes the run")
    closed: bool
    phase_ends_at: int
    timestamp: int = Field(description="time of the chain's newest block")
    refreshed_at: int = Field(description="when the API last read the chain, by its own clock")
    expected: int = Field(description="trainers that this round waits for")
    commits: int
    reveals: int
    expected_validators: int
    weight_commits: int
    weight_reveals: int
    attestations: int
    trainers: int
    validators: int
    settled_rounds: int = Field(description="rounds whose header stands and follows from what was revealed")
    unpaid_rounds: int = Field(description="rounds that settled and lost their pay to a challenge, until settled again")
    void_rounds: int
    loss: float | None = Field(description="agreed loss before the last settled round, nats a token")
    funded_wei: Wei
    refunded_wei: Wei
    owed_wei: Wei = Field(description="all that the settled rounds gave, claimed or not")
    claimed_wei: Wei
    trouble: Trouble | None


class RoundCore(Answer):
    """What is said of a settled round wherever it is shown."""

    round: int
    attempt: int = Field(description="how often the round had been settled before its last settlement")
    paid: bool = Field(description="whether its header stands: what it gives is owed")
    recomputed: bool = Field(description="whether it stands and follows from what was revealed; else nulls follow")
    fault: str | None = Field(description="what a challenge showed to be wrong with the last settlement")
    signers: list[Hex] = Field(description="accounts of the validators that signed the last settlement")
    loss: float | None = Field(description="agreed loss before the round, nats a token; null when nobody gave one")
    health: float | None = Field(description="by how much the last aggregate raised the loss, as validators measured")
    took_back: int | None = Field(
        description="the round whose aggregate did harm and was taken back in this one, which judged nobody; else null"
    )
    accepted: int | None = Field(description="contributions with a weight of at least 1")
    rewarded: int | None = Field(description="contributions with a weight above 1, which are paid")
    budget_wei: Wei
    earned_wei: Wei | None
    total_wei: Wei = Field(description="all that its header says was earned up to and with this round")
    state_root: Hash
    settled_block: int
    settled_at: int | None
    final_at: int | None = Field(description="end of the challenge window; demands for leaves can put off `final`")
    final: bool = Field(description="whether nobody can take back its pay any more, so that claims are paid")


class RoundSummary(RoundCore):
    """One settled round."""

    contributions: int | None


class RoundsAnswer(Dated):
    """Settled rounds, the oldest first, and the numbers of those in between that were given up."""

    rounds: list[RoundSummary]
    void: list[int]
    next: int | None = Field(description="`since` of the following page; null on the last")


class Verdict(Answer):
    """What one validator said of one contribution. Weight and abstention are on chain, the rest is its evidence."""

    validator: Hex
    weight: int | None = Field(description="null: it abstained")
    reason: str | None = Field(description="null: its evidence is not there")
    why: str
    s: float | None = Field(description="drop of the loss on random sequences, nats a token")
    se: float | None
    own: float | None = Field(description="the same on its own assigned sequences")
    own_se: float | None
    whole: float | None = Field(description="as `s`, at the whole step times the trial fraction; the lesser is paid")
    first_order: float | None = Field(description="what the gradient alone says of it; it pays nobody")
    gap: float | None = Field(description="what it gained more on its own sequences than on random ones")
    gap_se: float | None
    gap_mean: float | None = Field(description="the same over its last rounds")
    gap_usual: float | None = Field(description="what was usual in those rounds, of the trainers that were paid")
    gap_usual_se: float | None = Field(description="what one trainer's mean of those rounds is off by")
    gap_factor: float | None = Field(description="what part of its pay the gaps leave it")
    b: float | None = Field(description="moving average of the gap's sign, -1 to 1")
    score: float | None = Field(description="the gain over its last rounds, nats a token")
    score_se: float | None
    score_usual: float | None = Field(description="what gain was usual in those rounds; pay follows the share of it")
    score_usual_se: float | None = Field(description="what one trainer's score of those rounds is off by")
    share: float | None = Field(description="how likely it was to be measured; the measured are paid by its inverse")
    cluster: int | None


class Contribution(Answer):
    """One revealed contribution of a round."""

    index: int
    slot: int
    address: Hex
    cid: str
    sha256: Hash
    weight: int
    earned_wei: Wei
    reason: str
    why: str
    verdicts: list[Verdict]


class ValidatorPart(Answer):
    """One validator's part in a round; what it did not reveal is null."""

    index: int
    slot: int
    address: Hex
    stake_units: int
    outcome: str
    why: str
    earned_wei: Wei
    base_loss: float | None
    health: float | None
    evidence_cid: str | None
    evidence_sha256: Hash | None
    evidence: str | None = Field(description="available, missing or refused")


class BodyFields(Answer):
    """What a header says about the round."""

    run: Hex
    round: int
    attempt: int
    previous: Hash = Field(description="hash of the header before it in the pay chain; zero for the first")
    reveals: Hash
    budget_wei: Wei
    state_root: Hash
    aggregate_hash: Hash


class TreeFields(Answer):
    """A header's leaves: their root and their sums."""

    root: Hash
    total_weight: str
    total_amount_wei: Wei
    leaf_count: int


class HeaderFields(Answer):
    """The header that the validators signed (EIP-712 `Header(Body body,Tree tree)`)."""

    body: BodyFields
    tree: TreeFields


class FaultFound(Answer):
    """What a challenge showed, and whether the signers have been slashed for it."""

    fault: str
    index: int = Field(description="the leaf with which it was shown")
    by: Hex
    block_number: int
    punished: bool


class SettlementOfRound(Answer):
    """One settlement of a round; one that fell is followed by another with the next attempt."""

    attempt: int
    header_hash: Hash
    stands: bool
    signers: list[Hex]
    settled_block: int
    settled_tx: str
    fault: FaultFound | None = Field(description="null too for a header that fell with an earlier one")


class RoundAnswer(RoundCore, Dated):
    """One settled round in full. Contributions and validators are empty where `recomputed` is false."""

    header: HeaderFields
    header_hash: Hash = Field(description="EIP-712 struct hash, which the contract keeps")
    digest: Hash = Field(description="EIP-712 digest: the 32 bytes that were signed")
    aggregate_cid: str
    checkpoint_cid: str | None = Field(description="of the state before this round; null where none was named")
    settled_tx: str
    settlements: list[SettlementOfRound] = Field(description="all of the round's settlements, the oldest first")
    contributions: list[Contribution]
    validators: list[ValidatorPart]


class Participant(Answer):
    """One member, over all rounds."""

    index: int
    slot: int
    address: Hex
    operator: Hex
    role: str
    stake_wei: Wei
    active_from: int
    active_until: int | None = Field(description="first round without it; null while it has not left")
    contributions: int = Field(description="rounds in which it revealed a contribution, or weights")
    accepted: int
    last_round: int | None = Field(description="last settled round that it took part in")
    earned_wei: Wei
    claimed_wei: Wei
    reputation: int = Field(description="in parts of 1000000000")
    rating: float | None = Field(description="trainers: OpenSkill's mean, 25 at first; null before the first match")
    rating_sigma: float | None = Field(description="its deviation, 8.33 at first")
    weight: int = Field(description="trainers: consensus weight in the last settled round")
    mean_score: float | None
    cluster: int | None
    reasons: dict[str, int] = Field(description="how often each reason was given")


class ParticipantsAnswer(Dated):
    """Everybody: trainers, then validators, each the best paid first."""

    participants: list[Participant]
    next: int | None = Field(description="`offset` of the following page; null on the last")


class PartInRound(Answer):
    """What a member did in a round, what it earned, and why."""

    round: int
    took_part: bool
    earned_wei: Wei
    weight: int
    reputation: int
    reason: str
    why: str
    verdicts: list[Verdict]


class ParticipantAnswer(Participant, Dated):
    """One member with its rounds, the oldest first."""

    rounds: list[PartInRound]
    next: int | None = Field(description="`since` of the following page; null on the last")


class ReputationPoint(Answer):
    """Reputation after one round."""

    round: int
    reputation: int


class ReputationPath(Answer):
    """Reputation that came from the protocol's seed through one validator, in parts of 10⁹."""

    validator: int = Field(description="its slot")
    account: Hex | None
    stake_share: int = Field(description="its part of the stake that did not abstain")
    confirmed: str = Field(description="of the weight it gave, what the consensus confirmed")
    visits: int
    share: int = Field(description="its part of all visits; the largest is the neck")


class ReputationExplanation(Answer):
    """How a reputation came about in the last settled round, in parts of 10⁹.

    `undecayed` less what transitivity and connectivity decay took is `visits`; `before` less what epoch decay took,
    plus what the round added, is `reputation`.
    """

    round: int
    paths: list[ReputationPath]
    undecayed: int
    transitivity_took: int
    connectivity_took: int
    visits: int
    before: int
    epoch_took: int
    epoch_added: int
    reputation: int


class ReputationPerspective(Answer):
    """A trainer's visits in the last settled round as one validator sees them: walks that start at it."""

    validator: Hex
    round: int
    visits: int = Field(description="in parts of 1000000000; 0 when it said nothing of the trainer")


class WidePathAnswer(Answer):
    """Who spoke of a member, in parts of 10⁹."""

    source: str = Field(description="an account, or `seed`")
    said: int = Field(description="its part of all that the source says of anybody")
    visits: int = Field(description="what came this way")


class DroppedFeedbackAnswer(Answer):
    """Something that a trainer said of another and that is no edge of the wide graph."""

    round: int
    author: Hex
    about: Hex | None
    index: int = Field(description="registry index of the one spoken of")
    value: int
    code: str
    why: str


class WideReputation(Answer):
    """A member's MeritRank on the wide graph, in parts of 10⁹: seed graph and peer feedback of the last rounds.

    Nobody can verify what trainers say of each other: neither pay nor the model depends on it. `share` less what the
    ego's dislikes and connectivity decay took is `reputation`.
    """

    ego: str = Field(description="whose point of view it is: an account, or `seed`")
    of: int
    rounds: list[int] = Field(description="the settled rounds that made the graph")
    edges: int = Field(description="pairs of trainers, one of whom speaks of the other")
    missing: int = Field(description="contributions of these rounds whose headers have not come (yet)")
    paths: list[WidePathAnswer] = Field(description="the largest part first")
    begins: int = Field(description="1 where the walk begins here, else 0")
    visits: int
    share: int
    disliked_took: int
    connectivity_took: int
    through: str | None = Field(description="whom nearly all walks pass, where it was cut for that")
    reputation: int
    dropped: list[DroppedFeedbackAnswer] = Field(description="what this member said and what was left out")


class ReputationAnswer(Dated):
    """A member's MeritRank: round by round, and what the contract answers."""

    address: Hex
    role: str
    reputation: int
    of: int
    on_chain: int = Field(description="what Reputation.reputationOf answers, decayed since it was shown to it")
    explanation: ReputationExplanation | None = Field(description="null before the first settled round")
    perspective: ReputationPerspective | None = Field(
        description="null when none was asked for, and before the first settled round"
    )
    wide: WideReputation | None = Field(description="null unless the graph `wide` was asked for")
    history: list[ReputationPoint]
    next: int | None = Field(description="`since` of the following page; null on the last")


class ClaimAnswer(Dated):
    """What an account can claim, and the arguments of `Rewards.claim(run, tree, leaf, proof)`.

    `tree` (OpenedTree), `leaf` (ClaimLeaf) and `detail` (LeafDetail) have the contract's fields in the contract's
    order; integers of more than 32 bits are decimal strings. With `detail` in place of the leaf's last field they are
    the arguments of `Reputation.materialise(tree, leaf, proof)`.
    """

    address: Hex
    run: Hex
    rewards_contract: Hex
    round: int
    final: bool = Field(description="whether the contract accepts the proof now")
    final_at: int = Field(description="end of the header's challenge window; demands for leaves can put off `final`")
    header_hash: Hash
    cumulative_wei: Wei
    claimed_wei: Wei
    due_wei: Wei = Field(description="what the claim pays now")
    pending_wei: Wei = Field(description="earned beyond that, and not to be claimed yet")
    tree: list[Any]
    leaf: list[Any]
    detail: list[Any]
    proof: list[Hash]


class EventRow(Answer):
    """One event of the run's contracts. Integers of more than 32 bits are decimal strings."""

    block_number: int
    block_hash: Hash
    log_index: int
    tx_hash: str
    contract: str
    name: str
    arguments: dict[str, Any]
    member: Hex | None = Field(description="account of the member whose slot or index the arguments name")


class EventsAnswer(Dated):
    """A page of events, the newest first; `next` is the `before` of the following page, null on the last."""

    events: list[EventRow]
    next: str | None


class Alive(Answer):
    """Whether the refresh loop turns."""

    alive: bool


class Ready(Answer):
    """Named checks: `ok`, or the code of what is wrong."""

    ready: bool
    checks: dict[str, str]


class Version(Answer):
    """Versions of the program and of the protocol that it speaks."""

    emerit: str
    protocol: int
