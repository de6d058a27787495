// Why this answer: a heat map of /explain for one prediction, or for the similarity of two pictures.

import { post, Problem } from "./api.js";
import { modelQuery } from "./send.js";
import { MapLegend, ProblemCard } from "./parts.js";
import { number } from "./predictions.js";
import { change, currentPicture, state, update } from "./store.js";
import { html, ms, plural } from "./ui.js";

export function WhyButton({ picture, side, prediction, onFocus, children = "Why?" }) {
  const target = [["class_id", prediction.class_id]];
  const { box } = prediction;
  if (box) target.push(["box", [box.xmin, box.ymin, box.xmax, box.ymax].join(",")]);
  return html`<button type="button" class="quiet small" aria-label=${`Why ${prediction.label}?`} onFocus=${onFocus}
    onClick=${() => explain(picture, side, `Why ${prediction.label}?`, target)}>${children}</button>`;
}

/** `target`: query parameters. `reference`: a second picture, for embeddings. */
export async function explain(picture, side, title, target, reference = null) {
  picture.why?.controller?.abort();
  const controller = new AbortController();
  const why = { side, title, controller, answer: null, problem: null };
  change(picture, { why });
  const query = [...modelQuery([state.choices[side]]), ...target];
  const started = performance.now();
  try {
    const body = reference ? twoPictures(picture.file, reference.file) : picture.file;
    const { json } = await post("explain", { query, key: state.key, body, signal: controller.signal });
    Object.assign(why, { answer: json.explanation, ms: performance.now() - started });
    const form = reference && ["image", "reference"];
    update({ last: { path: "explain", query, pictures: reference ? [picture, reference] : [picture], form } });
  } catch (error) {
    if (error.name === "AbortError") return picture.why === why && close(picture);
    if (!(error instanceof Problem)) throw error;
    why.problem = { ...error, detail: error.message };
    if (error.code === "not_found" || error.status === 405) {
      why.problem = { detail: "This service makes no heat maps." };
      update({ canExplain: false });
    }
  }
  why.controller = null;
  update();
  // On a phone the picture is far up.
  if (why.answer && picture === currentPicture())
    document.querySelector(".scene")?.scrollIntoView({ block: "nearest" });
}

function twoPictures(image, reference) {
  const form = new FormData();
  form.append("image", image);
  form.append("reference", reference);
  return form;
}

function close(picture) {
  picture.why = null;
  update();
}

export function Why({ picture }) {
  const { why } = picture;
  if (!why) return null;
  return html`<section class="why" aria-label="Why this answer" aria-busy=${!why.answer && !why.problem}>
    <div class="row spread">
      <h3>${why.title}</h3>
      <button type="button" class="quiet small" onClick=${() => (why.controller ? why.controller.abort() : close(picture))}>
        ${why.controller ? "Cancel" : "Close"}
      </button>
    </div>
    ${why.problem && html`<${ProblemCard} problem=${why.problem} />`}
    ${why.controller && html`<p class="muted" role="status">Covering parts of the picture and watching the score …</p>`}
    ${why.answer && html`<${Heat} explanation=${why.answer} seconds=${why.ms} />`}
  </section>`;
}

function Heat({ explanation, seconds }) {
  const { method, passes, fill, seed, complete, minimum, maximum, peak } = explanation;
  const rows = [
    ["method", method],
    ["passes", passes],
    ["covered with", fill],
    ...(seed === null || seed === undefined ? [] : [["seed", seed]]),
    ["time", ms(seconds)],
    ["lowest, highest", `${number(minimum)}, ${number(maximum)}`],
    ["peak", peak ? `x ${peak.x}, y ${peak.y}` : "–"],
  ];
  return html`
    <p role="status">Red places matter most. ${plural(passes, "pass", "passes")} of ${method} in ${ms(seconds)}.</p>
    ${complete === false && html`<p class="problem">The time ran out: this is the map so far.</p>`}
    <${MapLegend} name="heat" low="little" high="much" />
    <table>
      <caption class="visually-hidden">About the heat map</caption>
      <tbody>${rows.map(([name, value]) => html`<tr><th scope="row">${name}</th><td class="number">${value}</td></tr>`)}</tbody>
    </table>
  `;
}
