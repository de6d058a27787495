// Which model answers, and which one it is compared with.

import { choose } from "./send.js";
import { hasLabels } from "./predictions.js";
import { state } from "./store.js";
import { html } from "./ui.js";

export function Choices() {
  const { choices, models } = state;
  if (!models || !choices.length) return html`<div class="choices"></div>`;
  const set = (side, choice) => choose(choices.map((old, i) => (i === side ? choice : old)));
  return html`<div class="choices">
    ${choices.map((choice, side) => html`<${Choice} key=${side} choice=${choice} side=${side} set=${set} />`)}
    ${choices.length === 1 && another(choices[0]) && html`<button type="button" class="quiet" onClick=${() => choose([choices[0], another(choices[0])])}>Compare</button>`}
    ${choices.length === 2 && html`<button type="button" class="quiet" onClick=${() => choose(choices.slice(0, 1))}>Stop comparing</button>`}
  </div>`;
}

const taskOf = (name) => state.details[name]?.spec?.task?.value ?? "other";

function byTask(models) {
  const tasks = new Map();
  for (const { name } of models) tasks.set(taskOf(name), [...(tasks.get(taskOf(name)) ?? []), name]);
  return [...tasks];
}

function Choice({ choice, side, set }) {
  const model = state.models.models.find(({ name }) => name === choice.name);
  const versions = model?.versions ?? [];
  return html`
    <label>${side ? "with" : "Model"}
      <select value=${choice.name} onChange=${(event) => set(side, { name: event.target.value, version: "" })}>
        ${byTask(state.models.models).map(
          ([task, names]) => html`<optgroup label=${task}>
          ${names.map((name) => html`<option value=${name}>${name}</option>`)}
        </optgroup>`,
        )}
      </select>
    </label>
    ${
      versions.length > 1 &&
      html`<label>version
      <select value=${choice.version} onChange=${(event) => set(side, { ...choice, version: event.target.value })}>
        <option value="">active (${model.active})</option>
        ${versions.map(({ version, labels }) => html`<option value=${String(version)}>${[version, ...labels].join(" ")}</option>`)}
      </select>
    </label>`
    }
  `;
}

/** What the choice is compared with first: another version, a model of the same task, one with labels, or any other model. */
function another(choice) {
  const { models } = state.models;
  const model = models.find(({ name }) => name === choice.name);
  const other = model?.versions.find(({ version }) => String(version) !== (choice.version || String(model.active)));
  if (other) return { name: choice.name, version: String(other.version) };
  const others = models.filter(({ name }) => name !== choice.name);
  const found =
    others.find(({ name }) => taskOf(name) === taskOf(choice.name)) ??
    others.find(({ name }) => hasLabels(taskOf(name))) ??
    others[0];
  return found ? { name: found.name, version: "" } : null;
}
