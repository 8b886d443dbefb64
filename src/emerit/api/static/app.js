// The first page: the run's state, its loss curve, its leaderboard. Reads the same JSON as everybody else.
import { html, render, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import uPlot from "./vendor/uplot.js";

const REFRESH_MILLISECONDS = 2000;
const REPUTATION_ONE = 1e9;

const short = (address) => `${address.slice(0, 8)}…${address.slice(-4)}`;
const figure = (value) => (value == null ? "—" : value.toFixed(4));
const tokens = (wei) => (Number(BigInt(wei) / 10n ** 14n) / 1e4).toLocaleString("en", { maximumFractionDigits: 2 });

async function read(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(10_000) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

function useRun() {
  const [state, setState] = useState({ loading: true });
  useEffect(() => {
    let timer, over = false;
    const turn = async () => {
      try {
        const paths = ["v1/run", "v1/rounds", "v1/participants", "v1/challenges?limit=20"];
        const [run, rounds, people, disputes] = await Promise.all(paths.map(read));
        if (!over) setState({ run, rounds: rounds.rounds, people: people.participants, disputes: disputes.challenges });
      } catch (error) {
        if (!over) setState((old) => ({ ...old, loading: false, error: String(error.message || error) }));
      }
      if (!over) timer = setTimeout(turn, REFRESH_MILLISECONDS);
    };
    turn();
    return () => { over = true; clearTimeout(timer); };
  }, []);
  return state;
}

function LossCurve({ rounds }) {
  const box = useRef(null), plot = useRef(null);
  const style = getComputedStyle(document.documentElement);
  useEffect(() => {
    const axis = { stroke: style.getPropertyValue("--quiet"), grid: { stroke: style.getPropertyValue("--line") } };
    plot.current = new uPlot({
      width: box.current.clientWidth - 16, height: 260,
      scales: { x: { time: false } },
      axes: [{ ...axis, label: "round", incrs: [1, 2, 5, 10, 20, 50, 100, 1000] }, { ...axis, label: "nats a token" }],
      series: [{ label: "round" }, {
        label: "loss", width: 2, stroke: style.getPropertyValue("--accent"), points: { show: true },
        value: (_, v) => (v == null ? "—" : v.toFixed(4)),
      }],
    }, [[], []], box.current);
    return () => plot.current.destroy();
  }, []);
  useEffect(() => {
    plot.current.setData([rounds.map((r) => r.round), rounds.map((r) => r.loss)]);
  }, [rounds.map((r) => r.loss).join()]);
  return html`<div class="chart" ref=${box} role="img" aria-label="Loss by round; the table of rounds has the same figures"></div>`;
}

function Facts({ run }) {
  const facts = [
    ["round", run.max_rounds ? `${Math.min(run.round + 1, run.max_rounds)} of ${run.max_rounds}` : run.round],
    ["phase", run.phase.replaceAll("_", " ")],
    ["loss", figure(run.loss)],
    ["trainers", run.trainers], ["validators", run.validators],
    ["earned", `${tokens(run.owed_wei)} EMR`],
  ];
  return html`<ul class="facts">${facts.map(([name, value]) => html`<li><b>${value}</b><span>${name}</span></li>`)}</ul>`;
}

function Leaderboard({ people }) {
  return html`<div class="scroll"><table id="leaderboard">
    <thead><tr><th>participant</th><th class="text">role</th><th>rounds</th><th>mean score</th><th>cluster</th>
      <th>reputation</th><th>rating</th><th>earned EMR</th><th>claimed</th><th class="text">why</th></tr></thead>
    <tbody>${people.map((p) => html`<tr key=${p.address}>
      <td><a href=${`v1/participants/${p.address}`}><code>${short(p.address)}</code></a></td>
      <td class="text">${p.role}</td><td>${p.contributions}</td>
      <td>${figure(p.mean_score)}</td><td>${p.cluster ?? "—"}</td>
      <td>${(p.reputation / REPUTATION_ONE).toFixed(4)}</td>
      <td title=${p.rating === null ? "" : `± ${p.rating_sigma.toFixed(1)}`}>${p.rating === null ? "—" : p.rating.toFixed(1)}</td><td>${tokens(p.earned_wei)}</td><td>${tokens(p.claimed_wei)}</td>
      <td class="text">${Object.entries(p.reasons).sort((a, b) => b[1] - a[1]).map(([code, n]) => `${n}× ${code}`).join(", ")}</td>
    </tr>`)}</tbody></table></div>`;
}

function Rounds({ rounds }) {
  return html`<div class="scroll"><table id="rounds">
    <thead><tr><th>round</th><th>loss</th><th>contributions</th><th>accepted</th><th>budget EMR</th><th class="text">pay</th><th class="text">state root</th></tr></thead>
    <tbody>${rounds.toReversed().map((r) => html`<tr key=${r.round}>
      <td><a href=${`v1/rounds/${r.round}`}>${r.round}</a></td><td>${figure(r.loss)}</td><td>${r.contributions ?? "—"}</td>
      <td>${r.accepted ?? "—"}</td><td>${tokens(r.budget_wei)}</td>
      <td class="text">${r.paid ? (r.final ? "final" : "stands") : r.fault ? `lost: ${r.fault}` : "lost"}</td><td class="text"><code>${r.state_root.slice(0, 18)}…</code></td>
    </tr>`)}</tbody></table></div>`;
}

const TOLD = {
  "voided-header": (d) => `the pay of round ${d.rounds.join(", ")} was taken back: wrong ${d.fault}, leaf ${d.index}`,
  punishment: (d) => `${d.signers.length} validators lost ${tokens(d.slashed_wei)} EMR for round ${d.round}`,
  equivocation: (d) => `the validator in slot ${d.slot} signed two headers of round ${d.round}`,
  demand: (d) => `leaf ${d.index} of round ${d.round} was demanded: ${d.state}`,
  fine: (d) => `the ${d.role} in slot ${d.slot} was fined ${tokens(d.amount_wei)} EMR in round ${d.round}`,
};

function Disputes({ disputes }) {
  if (!disputes.length) return "";
  return html`<h2>Disputes</h2><ul id="disputes">${disputes.map((d) => html`<li key=${`${d.block_number}:${d.log_index}`}>
    block ${d.block_number}: ${TOLD[d.kind](d)}</li>`)}</ul>`;
}

function App() {
  const { run, rounds, people, disputes, error } = useRun();
  if (!run) return html`<p class=${error ? "error" : "quiet"}>${error ? `The API does not answer: ${error}` : "Loading the run…"}</p>`;
  return html`
    <h1>Emerit · ${run.name}</h1>
    <div class="quiet">run <code>${run.run}</code> on chain ${run.chain_id}, as of block ${run.as_of_block}${error ? html` · <span class="error">${error}</span>` : ""}</div>
    <${Facts} run=${run} />
    <h2>Loss on fresh text, agreed by the validators</h2>
    <${LossCurve} rounds=${rounds} />
    ${rounds.length ? "" : html`<p class="quiet">No round has settled yet.</p>`}
    <h2>Who earned what, and why</h2>
    <${Leaderboard} people=${people} />
    <h2>Rounds</h2>
    <${Rounds} rounds=${rounds} />
    <${Disputes} disputes=${disputes} />
    <p class="quiet">The same as data: <a href="v1/run">run</a>, <a href="v1/rounds">rounds</a>,${" "}
      <a href="v1/participants">participants</a>, <a href="v1/challenges">disputes</a>, <a href="v1/openapi.json">all routes</a>.</p>`;
}

const root = document.getElementById("app");
root.replaceChildren();
render(html`<${App} />`, root);
