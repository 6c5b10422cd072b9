import { randomBytes } from 'node:crypto';
import type { FastifyReply } from 'fastify';
import { PRODUCT } from '../alerts/index.ts';

/**
 * One page without outside parts: what runs here, and the detections as they come. The key that it asks for stays
 * in a variable of the page. Everything from the wire is set as text, never as markup.
 */
export function statusPage(reply: FastifyReply): FastifyReply {
  const nonce = randomBytes(16).toString('base64');
  const policy = [
    "default-src 'none'",
    `script-src 'nonce-${nonce}'`,
    `style-src 'nonce-${nonce}'`,
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');
  return reply
    .header('content-security-policy', policy)
    .header('referrer-policy', 'no-referrer')
    .type('text/html; charset=utf-8')
    .send(PAGE.replaceAll('{nonce}', nonce));
}

const PAGE = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${PRODUCT.name}</title>
<style nonce="{nonce}">
  :root {
    color-scheme: light dark;
    --ground: light-dark(#f5f6f8, #12151a); --paper: light-dark(#fff, #1a1f26); --ink: light-dark(#1b2430, #e4e8ee);
    --quiet: light-dark(#566173, #97a3b4); --line: light-dark(#dfe3e9, #2b323c); --accent: light-dark(#0b5fc4, #6fb1ff);
    --high: light-dark(#a4161a, #ff8b8b); --high-ground: light-dark(#fde7e7, #431d20);
    --medium: light-dark(#7d4e00, #f4bf62); --medium-ground: light-dark(#fdf0d5, #3d3017);
    --low: light-dark(#0b5a4a, #7ad7c0); --low-ground: light-dark(#def4ee, #14362f);
  }
  * { box-sizing: border-box; }
  body { font: 15px/1.5 system-ui, sans-serif; margin: 0; background: var(--ground); color: var(--ink); }
  header { background: var(--paper); border-bottom: 1px solid var(--line); }
  header div, main { max-width: 76rem; margin: 0 auto; padding: .9rem 1.5rem; }
  header div { display: flex; align-items: baseline; gap: 1rem; }
  h1 { font-size: 1.2rem; margin: 0; letter-spacing: -.01em; }
  h2 { font-size: 1rem; margin: 1.4rem 0 .6rem; }
  p { margin: .4rem 0; max-width: 46rem; }
  a { color: var(--accent); }
  .quiet, dt, th { color: var(--quiet); }
  #state { margin-left: auto; }
  #state.live::before { content: '\\25CF'; color: light-dark(#15803d, #4ade80); margin-right: .45rem; }
  form { background: var(--paper); border: 1px solid var(--line); border-radius: .6rem; padding: 1.1rem; margin: 1rem 0; }
  input, button { font: inherit; padding: .4rem .7rem; border-radius: .4rem; border: 1px solid var(--line); color: inherit; }
  input { width: 30rem; max-width: 100%; background: var(--ground); }
  button { background: var(--accent); color: var(--paper); border-color: var(--accent); cursor: pointer; }
  dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(12rem, 1fr)); gap: .8rem; margin: .6rem 0 0; }
  dl div { background: var(--paper); border: 1px solid var(--line); border-radius: .6rem; padding: .7rem 1rem; }
  dt { font-size: .8rem; }
  dd { margin: 0; font-size: 1.25rem; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
  .sheet { background: var(--paper); border: 1px solid var(--line); border-radius: .6rem; overflow-x: auto; }
  table { border-collapse: collapse; width: 100%; font-size: .84rem; }
  th { text-align: left; font-weight: 500; font-size: .78rem; white-space: nowrap; }
  th, td { padding: .5rem .7rem; border-bottom: 1px solid var(--line); vertical-align: top; }
  tr:last-child td { border-bottom: 0; }
  td { overflow-wrap: anywhere; }
  .time, .number { font-variant-numeric: tabular-nums; white-space: nowrap; }
  .number { text-align: right; }
  .kind { font-weight: 600; white-space: nowrap; }
  .host { min-width: 9.5rem; }
  .severity { white-space: nowrap; }
  .severity span { padding: .1rem .5rem; border-radius: 1rem; font-size: .78rem; font-weight: 600; }
  .high span, .critical span { color: var(--high); background: var(--high-ground); }
  .medium span { color: var(--medium); background: var(--medium-ground); }
  .low span, .informational span { color: var(--low); background: var(--low-ground); }
  .why { min-width: 15rem; overflow-wrap: normal; }
  [hidden] { display: none; }
</style>
<header><div><h1>${PRODUCT.name}</h1><span class="quiet">${PRODUCT.version}</span><span id="state" role="status"></span></div></header>
<main>
<form id="form">
  <p>Watches network traffic with models that are gated, signed, encrypted and audited. It observes; it blocks nothing.</p>
  <p><label>API key <input id="key" type="password" autocomplete="off" placeholder="agk_..."></label> <button>Show</button></p>
  <p class="quiet">The key stays in this page. With it: <code>/v1/status</code>, <code>/v1/detections</code>,
  <code>/metrics</code>, and every route in <code>/openapi.json</code>; without one <a href="/v2/health/live">/v2/health/live</a>.</p>
</form>
<section id="console" hidden>
  <dl>
    <div><dt>on watch<dd id="models"></div>
    <div><dt>findings shown<dd id="findings"></div>
    <div><dt>entries of the audit log<dd id="entries"></div>
    <div><dt>resident memory<dd id="memory"></div>
  </dl>
  <h2>Findings</h2>
  <div class="sheet"><table>
    <thead><tr><th>last seen (UTC)<th>severity<th>kind<th>source<th>destination<th class="number">flows<th class="number">P
      <th>what it would do, and why</tr></thead>
    <tbody id="rows"></tbody>
  </table></div>
</section>
</main>
<script nonce="{nonce}">
'use strict';
const at = (id) => document.getElementById(id);
const rows = at('rows');
const shown = new Map();
let stop = new AbortController();
const number = (value) => value.toLocaleString('en');
const hosts = (party) =>
  party.address + (party.addressCount > 1 ? ' and ' + number(party.addressCount - 1) + ' more' : '');
function say(text, isLive) {
  at('state').textContent = text;
  at('state').className = isLive ? 'live' : 'quiet';
}
function show(detection) {
  const row = shown.get(detection.uid) ?? document.createElement('tr');
  const cells = [
    ['time', new Date(detection.lastSeenMs).toISOString().replace('T', ' ').slice(0, 19)],
    ['severity ' + detection.severity.toLowerCase().replaceAll(/[^a-z]/g, ''), detection.severity],
    ['kind', detection.kind],
    ['host', hosts(detection.source)],
    ['host', hosts(detection.destination)],
    ['number', number(detection.flows)],
    ['number', detection.score.probability.toFixed(3)],
    ['why', detection.decision.verdict + ': ' + detection.decision.reason],
  ];
  row.replaceChildren(...cells.map(([name, text]) => {
    const cell = document.createElement('td');
    const inner = document.createElement('span');
    inner.textContent = text;
    cell.className = name;
    cell.append(inner);
    return cell;
  }));
  if (!shown.has(detection.uid)) rows.prepend(row);
  shown.set(detection.uid, row);
  if (shown.size > 500) {
    const [oldest] = shown.keys();
    shown.get(oldest).remove();
    shown.delete(oldest);
  }
  at('findings').textContent = number(shown.size);
}
async function get(path, key) {
  const response = await fetch(path, { headers: { authorization: 'Bearer ' + key }, signal: stop.signal });
  if (!response.ok) throw new Error((await response.json()).error);
  return response;
}
async function tell(key) {
  const { models, audit, reading } = await (await get('/v1/status', key)).json();
  at('models').textContent =
    models.map((model) => model.name + ' ' + model.version).join(', ') || 'no model is loaded';
  at('entries').textContent = number(audit.size);
  at('memory').textContent = reading.rssBytes === null ? '-' : Math.round(reading.rssBytes / 1048576) + ' MiB';
}
async function follow(key) {
  const stream = await get('/v1/detections/stream', key);
  const { detections } = await (await get('/v1/detections?limit=100', key)).json();
  for (const detection of detections.reverse()) show(detection);
  at('findings').textContent = number(shown.size);
  await tell(key);
  at('form').hidden = true;
  at('console').hidden = false;
  say('live', true);
  const again = setInterval(() => tell(key).catch(() => {}), 5000);
  stop.signal.addEventListener('abort', () => clearInterval(again));
  let text = '';
  const reader = stream.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    text += part.value;
    const events = text.split('\\n\\n');
    text = events.pop();
    for (const event of events) {
      const data = /^event: detection$/m.test(event) && /^data: (.*)$/m.exec(event);
      if (data) show(JSON.parse(data[1]));
    }
  }
  clearInterval(again);
  throw new Error('the stream has ended');
}
at('form').addEventListener('submit', (event) => {
  event.preventDefault();
  stop.abort();
  stop = new AbortController();
  const { signal } = stop;
  follow(at('key').value.trim()).catch((error) => {
    if (signal.aborted) return;
    say(error.message, false);
    at('form').hidden = false;
  });
});
</script>
`;
