// The answer beside the picture: what it says, sliders, label toggles, and a table of every number.

import { send, sendAll } from "./send.js";
import { classColour } from "./colours.js";
import { MapLegend, ProblemCard, Slider } from "./parts.js";
import {
  asText,
  columns,
  defaults,
  isDrawn,
  isFiltered,
  labelsOf,
  nameOf,
  number,
  pointsOf,
  scoreText,
  summary,
  taskOf,
} from "./predictions.js";
import { state, update } from "./store.js";
import { CopyButton, html, ms, plural } from "./ui.js";
import { WhyButton } from "./why.js";

export function Answer({ picture, answer, indices }) {
  return html`
    <h2 class="headline">${summary(answer, indices)}</h2>
    <p class="facts">${answer.model.name} · version ${answer.model.version} · ${taskOf(answer)} · ${ms(answer.timings_ms.total)}</p>
    <${Controls} answer=${answer} picture=${picture} />
    <${PredictionTable} picture=${picture} answer=${answer} indices=${indices} side=${0} />
  `;
}

/** The text of the page while there is no answer. */
export function NoAnswer({ picture }) {
  const again = html`<div class="row"><button type="button" onClick=${() => send([picture])}>Send again</button></div>`;
  if (picture.status === "waiting") return html`<p class="headline muted">Waiting for the answer …</p>`;
  if (picture.status === "cancelled") return html`<p class="headline muted">Cancelled.</p>${again}`;
  return html`<${ProblemCard} problem=${picture.problem} />${again}`;
}

export function Controls({ answer, picture }) {
  if (!isFiltered(answer) && taskOf(answer) !== "depth-estimation") return null;
  const sentOptions = { ...defaults(answer, state.details[answer.model.name]), ...notNull(picture.sentOptions) };
  const value = { ...sentOptions, ...notNull(state.options) };
  const most = taskOf(answer) === "image-classification" ? 20 : 100;
  const set = (name, given) => update({ options: { ...state.options, [name]: given } });
  // More than the answer has: they are requested again, when the slider is released.
  const settle = () => {
    const { top_k, threshold } = { ...sentOptions, ...notNull(state.options) };
    if (top_k > sentOptions.top_k || threshold < sentOptions.threshold) sendAll();
  };
  const hasMaps = answer.predictions.some((prediction) => prediction.mask || prediction.depth) || picture.why?.answer;
  return html`<div class="controls">
    ${
      isFiltered(answer) &&
      html`<${Slider} name="Threshold" text=${`${Math.round(100 * value.threshold)} %`} max="1" step="0.01" value=${value.threshold}
        onInput=${(given) => set("threshold", given)} onChange=${settle} />
      <${Slider} name="At most" text=${plural(value.top_k, "prediction")} min="1" max=${most} step="1" value=${Math.min(value.top_k, most)}
        onInput=${(given) => set("top_k", given)} onChange=${settle} />`
    }
    ${
      hasMaps &&
      html`<${Slider} name="Opacity" text=${`${Math.round(100 * state.opacity)} %`} max="1" step="0.05" value=${state.opacity}
        onInput=${(opacity) => update({ opacity })} />`
    }
    ${isDrawn(answer) && html`<${LabelToggles} answer=${answer} />`}
  </div>`;
}

const notNull = (fields) => Object.fromEntries(Object.entries(fields ?? {}).filter(([, value]) => value !== null));

function LabelToggles({ answer }) {
  const labels = [...labelsOf(answer.predictions)];
  if (labels.length < 2) return null;
  const toggle = (label) => {
    const hiddenLabels = new Set(state.hiddenLabels);
    if (!hiddenLabels.delete(label)) hiddenLabels.add(label);
    update({ hiddenLabels });
  };
  return html`<fieldset class="chips">
    <legend class="visually-hidden">Labels that are drawn</legend>
    ${labels.map(
      ([label, { class_id, count }]) => html`<label class="chip">
        <input type="checkbox" checked=${!state.hiddenLabels.has(label)} onChange=${() => toggle(label)} />
        <span class="dot" style=${{ background: classColour(class_id) }}></span>${label} ${count > 1 && count}
      </label>`,
    )}
  </fieldset>`;
}

export function PredictionTable({ picture, answer, indices, side }) {
  const shown = columns(answer);
  const task = taskOf(answer);
  const rows = indices.map((index) => shown.map(([, read]) => read(answer.predictions[index])));
  const explains = isFiltered(answer) && state.canExplain;
  const hover = (index) => update({ hover: index === null ? null : { side, index } });
  return html`
    <div class="scroll" tabindex="0" role="region" aria-label=${`Predictions of ${nameOf(answer)}`}>
      <table class=${`predictions ${task}`}>
        <caption class="visually-hidden">Predictions of ${answer.model.name} for ${picture.name}</caption>
        <thead><tr>${shown.map(([head]) => html`<th scope="col">${head}</th>`)}${explains && html`<th><span class="visually-hidden">why</span></th>`}</tr></thead>
        <tbody>
          ${rows.map((row, at) => {
            const index = indices[at];
            const prediction = answer.predictions[index];
            const isHovered = state.hover?.side === side && state.hover.index === index;
            return html`<tr key=${index} class=${isHovered ? "hovered" : ""} onPointerEnter=${() => hover(index)} onPointerLeave=${() => hover(null)}>
              ${row.map((value, i) => html`<${Cell} head=${shown[i][0]} value=${value} prediction=${prediction} task=${task} />`)}
              ${explains && html`<td><${WhyButton} picture=${picture} side=${side} prediction=${prediction} onFocus=${() => hover(index)} /></td>`}
            </tr>`;
          })}
        </tbody>
      </table>
      ${!rows.length && html`<p class="muted">No prediction above the threshold.</p>`}
    </div>
    ${task === "depth-estimation" && html`<${MapLegend} name="depth" low=${number(answer.predictions[0].minimum)} high=${number(answer.predictions[0].maximum)} />`}
    ${indices.map((index) => html`<${Points} prediction=${answer.predictions[index]} />`)}
    <div class="row"><${CopyButton} text=${() =>
      asText(
        shown.map(([head]) => head),
        rows,
      )}>Copy table<//></div>
  `;
}

const SIDES = new Set(["xmin", "ymin", "xmax", "ymax"]);

function Cell({ head, value, prediction, task }) {
  if (head === "score") return html`<td class="number"><data value=${value}>${scoreText(value)}</data></td>`;
  if (typeof value === "number")
    return html`<td class="number"><data value=${value}>${SIDES.has(head) ? value.toFixed(1) : number(value)}</data></td>`;
  if (head !== "label") return html`<td>${value}</td>`;
  const mark =
    task === "image-classification"
      ? html`<span class="bar" style=${{ width: `${100 * prediction.score}%` }}></span>`
      : html`<span class="dot" style=${{ background: classColour(prediction.class_id) }}></span>`;
  return html`<th scope="row" class="label">${task !== "image-classification" && mark}<span>${value}</span>${task === "image-classification" && mark}</th>`;
}

function Points({ prediction }) {
  const points = pointsOf(prediction);
  if (!points.length) return null;
  return html`<details>
    <summary>${points.length} points of ${prediction.label}</summary>
    <table>
      <thead><tr><th scope="col">name</th><th scope="col">x</th><th scope="col">y</th><th scope="col">score</th></tr></thead>
      <tbody>
        ${points.map(
          (point) => html`<tr>
            <th scope="row">${point.name}</th>
            <td class="number">${number(point.x)}</td>
            <td class="number">${number(point.y)}</td>
            <td class="number">${scoreText(point.score)}</td>
          </tr>`,
        )}
      </tbody>
    </table>
  </details>`;
}
