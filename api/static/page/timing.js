// Where the time of a request went, and whether it is the server or the client that is slow.

import { post } from "./api.js";
import { sentQuery } from "./send.js";
import { notify, state, update } from "./store.js";
import { html, ms } from "./ui.js";

const SENDS = 20;

/** The stages of a request in order, in milliseconds. Without `timing` (a batch), those of the server alone. */
export function stagesOf(timing, timings) {
  const { total, ...server } = timing?.server.total ? timing.server : timings;
  const known = Object.values(server).reduce((sum, value) => sum + value, 0);
  const stages = [...Object.entries(server), ["other, in the server", Math.max(0, total - known)]];
  if (!timing) return stages;
  return [["upload and network", Math.max(0, timing.sent - total)], ...stages, ["reading the answer", timing.read]];
}

export function Time({ picture, answer }) {
  const stages = stagesOf(picture.timing, answer.timings_ms);
  const total = stages.reduce((sum, [, value]) => sum + value, 0);
  let start = 0;
  return html`
    <table class="waterfall">
      <caption>${picture.timing ? "The request, as this page and the server measured it" : "Inside the server"}: ${ms(total)}</caption>
      <thead class="visually-hidden"><tr><th scope="col">stage</th><th scope="col">when</th><th scope="col">time</th></tr></thead>
      <tbody>
        ${stages.map(([name, value]) => {
          const bar = { marginLeft: `${(100 * start) / total}%`, width: `${(100 * value) / total}%` };
          start += value;
          const isServer = name in answer.timings_ms || name.includes("server");
          return html`<tr>
            <th scope="row">${name}</th>
            <td class="track"><span class=${isServer ? "server" : ""} style=${bar}></span></td>
            <td class="number"><data value=${value}>${ms(value)}</data></td>
          </tr>`;
        })}
      </tbody>
    </table>
    <${Series} picture=${picture} />
  `;
}

function Series({ picture }) {
  const { series } = state;
  const isRunning = Boolean(series?.controller);
  return html`
    <div class="row">
      ${
        isRunning
          ? html`<button type="button" onClick=${() => series.controller.abort()}>Stop</button>
            <progress max=${SENDS} value=${series.times.length} aria-label="Requests answered"></progress>`
          : html`<button type="button" onClick=${() => measure(picture)}>Send it ${SENDS} times</button>`
      }
      <span class="muted">Is it the server, or the way to it?</span>
    </div>
    ${series && !isRunning && series.times.length > 0 && html`<${Percentiles} times=${series.times} />`}
  `;
}

/** One request after another, so that they do not queue behind each other. */
async function measure(picture) {
  const controller = new AbortController();
  const series = { controller, times: [] };
  update({ series });
  try {
    while (series.times.length < SENDS) {
      const { timing } = await post("infer", {
        query: sentQuery(),
        key: state.key,
        body: picture.file,
        signal: controller.signal,
      });
      series.times.push({ client: timing.sent + timing.read, server: timing.server.total ?? 0 });
      update();
    }
  } catch (error) {
    if (error.name !== "AbortError") notify(error.message, true);
  }
  series.controller = null;
  update();
}

/** The value that the share `p` of the values do not exceed (nearest rank). */
export function percentile(values, p) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(p * sorted.length) - 1)];
}

function Percentiles({ times }) {
  const rows = [
    ["seen by this page", times.map(({ client }) => client)],
    ["in the server", times.map(({ server }) => server)],
    ["network and browser", times.map(({ client, server }) => Math.max(0, client - server))],
  ];
  const share = percentile(rows[1][1], 0.5) / percentile(rows[0][1], 0.5);
  return html`
    <table class="series">
      <caption>${times.length} requests, one after another</caption>
      <thead><tr><td></td><th scope="col">p50</th><th scope="col">p95</th></tr></thead>
      <tbody>
        ${rows.map(
          ([name, values]) => html`<tr>
          <th scope="row">${name}</th>
          ${[0.5, 0.95].map((p) => html`<td class="number"><data value=${percentile(values, p)}>${ms(percentile(values, p))}</data></td>`)}
        </tr>`,
        )}
      </tbody>
    </table>
    <p role="status">
      ${share >= 0.5 ? "Most of the time is spent in the server" : "Most of the time is spent on the way and in the browser"}: ${Math.round(100 * share)} % is the server’s.
    </p>
  `;
}
