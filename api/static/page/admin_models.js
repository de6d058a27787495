// The models of the operator's view: state, reason, changes, and what decided each field.

import { activate, load, makeDefault, removeLabel, setLabel, unload, unpin } from "./admin.js";
import { state } from "./store.js";
import { html } from "./ui.js";

export function Models({ operator }) {
  return html`<section class="models" aria-labelledby="models">
    <h2 id="models">Models</h2>
    ${operator.details.map((model) => html`<${Model} key=${model.name} model=${model} />`)}
  </section>`;
}

function Model({ model }) {
  const isBusy = state.busy.has(model.name);
  return html`<article class="model" aria-label=${model.name} aria-busy=${isBusy}>
    <div class="row spread">
      <h3>${model.name} ${model.default && html`<span class="badge">default</span>`}</h3>
      <div class="row">
        ${model.pinned && html`<button type="button" class="quiet small" disabled=${isBusy} onClick=${() => unpin(model.name)}>Serve the highest version</button>`}
        ${!model.default && html`<button type="button" class="small" disabled=${isBusy} onClick=${() => makeDefault(model.name)}>Make default</button>`}
      </div>
    </div>
    <div class="scroll" tabindex="0" role="region" aria-label=${`Versions of ${model.name}`}>
      <table>
        <thead><tr>${["version", "state", "labels", "reason", ""].map((head) => html`<th scope="col">${head || html`<span class="visually-hidden">changes</span>`}</th>`)}</tr></thead>
        <tbody>${model.versions.map((version) => html`<${Version} key=${version.version} model=${model} version=${version} isBusy=${isBusy} />`)}</tbody>
      </table>
    </div>
    <${Decided} model=${model} />
  </article>`;
}

const STATES = { READY: "ready", LOADING: "loading", UNLOADING: "unloading", UNAVAILABLE: "not loaded" };

function Version({ model, version: { version, state: status, reason, since, labels }, isBusy }) {
  const { name, active, serving } = model;
  const isFailed = status === "UNAVAILABLE" && since;
  const button = (text, act) =>
    html`<button type="button" class="quiet small" disabled=${isBusy} onClick=${act}>${text}</button>`;
  return html`<tr>
    <th scope="row">${version}</th>
    <td>
      <span class=${`state ${isFailed ? "failed" : status.toLowerCase()}`}>${isFailed ? "failed" : STATES[status]}</span>
      ${version === serving && html` <span class="badge">serving</span>`}
    </td>
    <td>
      ${labels.map(
        (label) => html`<span class="badge">${label}
        <button type="button" class="plain" aria-label=${`Remove the label ${label}`} disabled=${isBusy} onClick=${() => removeLabel(name, label)}>×</button></span> `,
      )}
      <${LabelForm} name=${name} version=${version} isBusy=${isBusy} />
    </td>
    <td class="reason">${reason ?? ""}</td>
    <td class="actions">
      ${status === "READY" ? button("Unload", () => unload(name, version)) : button("Load", () => load(name, version))}
      ${version !== active && button("Make active", () => activate(name, version))}
    </td>
  </tr>`;
}

function LabelForm({ name, version, isBusy }) {
  const submit = (event) => {
    event.preventDefault();
    setLabel(name, new FormData(event.target).get("label"), version);
    event.target.reset();
  };
  return html`<form class="label" onSubmit=${submit}>
    <input name="label" size="7" required maxlength="64" pattern="[A-Za-z_\\-][A-Za-z0-9._\\-]*" placeholder="stable" aria-label=${`New label of ${name} ${version}`} />
    <button type="submit" class="quiet small" disabled=${isBusy}>Label</button>
  </form>`;
}

/** The spec with what decided each field; the samples and the tuning that were measured. */
function Decided({ model }) {
  const fields = Object.entries(model.spec);
  const shown = fields.filter(([, { decided_by }]) => decided_by !== "default");
  return html`<details>
    <summary>What decided each field</summary>
    <p class="facts">${[facts(model), `${fields.length - shown.length} further fields are at their defaults.`].filter(Boolean).join(" · ")}</p>
    <div class="scroll" tabindex="0" role="region" aria-label=${`Fields of ${model.name}`}>
      <table>
        <thead><tr><th scope="col">field</th><th scope="col">value</th><th scope="col">decided by</th></tr></thead>
        <tbody>
          ${shown.map(([name, { value, decided_by }]) => html`<tr><th scope="row">${name}</th><td>${short(value)}</td><td>${decided_by}</td></tr>`)}
        </tbody>
      </table>
    </div>
  </details>`;
}

function facts({ providers, tuning }) {
  const plan =
    tuning &&
    Object.entries(tuning.plan)
      .map(([name, value]) => `${name} ${short(value)}`)
      .join(", ");
  return [providers.join(", "), plan && `${plan} (${tuning.reason})`].filter(Boolean).join(" · ");
}

function short(value) {
  if (Array.isArray(value) && value.length > 6) return `${value.slice(0, 4).join(", ")} … (${value.length})`;
  if (Array.isArray(value)) return value.join(", ");
  return typeof value === "object" && value !== null ? JSON.stringify(value) : String(value);
}
