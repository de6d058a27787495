// Parts that several views use.

import { mapCss } from "./colours.js";
import { html } from "./ui.js";

export function ProblemCard({ problem }) {
  return html`<div class="problem" role="alert">
    <p>${problem.detail}</p>
    ${
      (problem.code || problem.requestId) &&
      html`<p class="facts">${problem.code} ${problem.requestId && html`· request <code>${problem.requestId}</code>`}</p>`
    }
  </div>`;
}

export function Slider({ name, text, min = "0", max, step, value, onInput, onChange }) {
  return html`<label class="slider">
    <span>${name}</span>
    <input type="range" min=${min} max=${max} step=${step} value=${value} aria-valuetext=${text}
      onInput=${(event) => onInput(event.target.valueAsNumber)} onChange=${onChange} />
    <output>${text}</output>
  </label>`;
}

export function MapLegend({ name, low, high }) {
  return html`<div class="legend"><span>${low}</span><span class="map" style=${{ background: mapCss(name) }}></span><span>${high}</span></div>`;
}
