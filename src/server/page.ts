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
  :root { color-scheme: light dark; }
  body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
  table { border-collapse: collapse; width: 100%; margin-top: 1rem; }
  th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #8884; vertical-align: top; }
  td { overflow-wrap: anywhere; }
  input { width: 32rem; max-width: 100%; font: inherit; }
  code { background: #8882; padding: 0 .3rem; }
  #state { margin-left: 1rem; }
</style>
<h1>${PRODUCT.name} ${PRODUCT.version}</h1>
<p>Watches network traffic with models that are gated, signed, encrypted and audited. It observes; it blocks nothing.</p>
<p>With a key: <code>/v1/status</code> what is loaded, <code>/v1/detections</code> what was found,
<code>/metrics</code> figures for Prometheus, <code>/openapi.json</code> every route. Without one:
<a href="/v2/health/live">/v2/health/live</a>.</p>
<form id="form">
  <label>API key <input id="key" type="password" autocomplete="off" placeholder="agk_..."></label>
  <button>Show</button><span id="state" role="status"></span>
</form>
<table>
  <thead><tr><th>last seen<th>severity<th>kind<th>source<th>destination<th>flows<th>P<th>decision</tr></thead>
  <tbody id="rows"></tbody>
</table>
<script nonce="{nonce}">
'use strict';
const rows = document.getElementById('rows');
const state = document.getElementById('state');
const shown = new Map();
let stop = new AbortController();
const hosts = (party) =>
  party.address + (party.addressCount > 1 ? ' and ' + (party.addressCount - 1) + ' more' : '');
function show(detection) {
  const row = shown.get(detection.uid) ?? document.createElement('tr');
  const cells = [
    new Date(detection.lastSeenMs).toISOString(), detection.severity, detection.kind, hosts(detection.source),
    hosts(detection.destination), detection.flows, detection.score.probability.toFixed(3),
    detection.decision.verdict + ': ' + detection.decision.reason,
  ];
  row.replaceChildren(...cells.map((text) => {
    const cell = document.createElement('td');
    cell.textContent = String(text);
    return cell;
  }));
  if (!shown.has(detection.uid)) rows.prepend(row);
  shown.set(detection.uid, row);
  if (shown.size > 500) {
    const [oldest] = shown.keys();
    shown.get(oldest).remove();
    shown.delete(oldest);
  }
}
async function get(path, key) {
  const response = await fetch(path, { headers: { authorization: 'Bearer ' + key }, signal: stop.signal });
  if (!response.ok) throw new Error((await response.json()).error);
  return response;
}
async function follow(key) {
  const stream = await get('/v1/detections/stream', key);
  const { detections } = await (await get('/v1/detections?limit=100', key)).json();
  for (const detection of detections.reverse()) show(detection);
  const { models } = await (await get('/v1/status', key)).json();
  state.textContent = models.length === 0 ? 'no model is loaded'
    : models.map((model) => model.name + ' ' + model.version).join(', ') + ' watches';
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
  state.textContent = 'the stream has ended';
}
document.getElementById('form').addEventListener('submit', (event) => {
  event.preventDefault();
  stop.abort();
  stop = new AbortController();
  const { signal } = stop;
  follow(document.getElementById('key').value.trim()).catch((error) => {
    if (!signal.aborted) state.textContent = error.message;
  });
});
</script>
`;
