// All pictures as a grid that fills as answers come, with a count, a progress bar and cancel.

import { send, cancel, clearPictures } from "./send.js";
import { cosine, summaryOf, taskOf } from "./predictions.js";
import { change, state, update } from "./store.js";
import { html, plural } from "./ui.js";
import { explain } from "./why.js";

export function Progress() {
  const { run } = state;
  const failed = state.pictures.filter((picture) => picture.status === "failed").length;
  const text = run
    ? `${run.done} of ${run.total} answered`
    : plural(state.pictures.length, "picture") + (failed ? `, ${failed} failed` : "");
  return html`<div class="row spread progress">
    <div role="status"><h2>${text}</h2></div>
    ${
      run &&
      html`<progress max=${run.total} value=${run.done} aria-label="Pictures answered"></progress>
      <button type="button" onClick=${cancel}>Cancel</button>`
    }
    ${!run && html`<${AskCancelled} /><button type="button" class="quiet" onClick=${clearPictures}>Remove all</button>`}
  </div>`;
}

function AskCancelled() {
  const cancelled = state.pictures.filter((picture) => picture.status === "cancelled");
  return (
    cancelled.length > 0 &&
    html`<button type="button" onClick=${() => send(cancelled)}>Send the ${cancelled.length} others</button>`
  );
}

export function Grid() {
  return html`<ul class="grid">
    ${state.pictures.map((picture) => html`<li key=${picture.id}><${Card} picture=${picture} /></li>`)}
  </ul>`;
}

const STATUS = { waiting: "…", cancelled: "cancelled" };

function Card({ picture }) {
  const text = STATUS[picture.status] ?? (picture.status === "failed" ? picture.problem.detail : summaryOf(picture));
  return html`<button type="button" class=${`card ${picture.status}`} data-picture=${picture.id}
    aria-current=${picture.id === state.current ? "true" : null}
    onClick=${() => update({ current: picture.id, hover: null, series: null })}>
    ${
      picture.undecodable
        ? html`<span class="thumb">${picture.image?.format ?? "?"}</span>`
        : html`<img class="thumb" src=${picture.url} alt="" loading="lazy" decoding="async" onError=${() => change(picture, { undecodable: true })} />`
    }
    <span class="name">${picture.name}</span>
    <span class="said">${text}</span>
  </button>`;
}

/** The next or previous picture, for the arrow keys. */
export function step(by) {
  const { pictures } = state;
  const at = pictures.findIndex((picture) => picture.id === state.current);
  const next = pictures[Math.min(Math.max(at + by, 0), pictures.length - 1)];
  if (!next || next.id === state.current) return;
  update({ current: next.id, hover: null, series: null });
  const card = document.querySelector(`[data-picture="${next.id}"]`);
  if (card && document.activeElement?.closest(".grid")) card.focus();
  card?.scrollIntoView({ block: "nearest" });
}

const embeddingOf = (picture) =>
  picture.answers?.[0] &&
  taskOf(picture.answers[0]) === "image-feature-extraction" &&
  picture.answers[0].predictions[0].embedding;

/** Cosine similarity of each pair of pictures. */
export function Similarity() {
  const pictures = state.pictures.filter((picture) => picture.status === "done" && embeddingOf(picture));
  if (pictures.length < 2) return null;
  return html`<section class="similarity" aria-labelledby="similarity">
    <h2 id="similarity">How similar the pictures are</h2>
    <p class="muted">Cosine of their vectors: 1 is the same direction.</p>
    <div class="scroll" tabindex="0" role="region" aria-label="Matrix of similarities">
      <table class="matrix">
        <thead><tr><td></td>${pictures.map((picture) => html`<th scope="col"><${Thumb} picture=${picture} /></th>`)}</tr></thead>
        <tbody>
          ${pictures.map(
            (one) => html`<tr>
              <th scope="row"><${Thumb} picture=${one} /></th>
              ${pictures.map((two) => html`<${Pair} one=${one} two=${two} />`)}
            </tr>`,
          )}
        </tbody>
      </table>
    </div>
  </section>`;
}

const Thumb = ({ picture }) => html`<img src=${picture.url} alt="" />${picture.name}`;

function Pair({ one, two }) {
  const value = cosine(embeddingOf(one), embeddingOf(two));
  const shade = { "--share": `${Math.round(45 * Math.max(0, value))}%` };
  const text = html`<data value=${value}>${value.toFixed(3)}</data>`;
  if (one === two || !state.canExplain) return html`<td style=${shade}>${text}</td>`;
  const why = () => {
    update({ current: one.id });
    explain(one, 0, `Why ${one.name} is like ${two.name}`, [], two);
  };
  return html`<td style=${shade}><button type="button" class="plain" onClick=${why} title="Why?">${text}</button></td>`;
}
