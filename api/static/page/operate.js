// The operator's view: warnings first, live charts, the models, and uploads. It opens with an admin key.

import { enter, leave, upload, watch } from "./admin.js";
import { Models } from "./admin_models.js";
import { Charts } from "./charts.js";
import { ProblemCard } from "./parts.js";
import { state } from "./store.js";
import { Component, html } from "./ui.js";

export function Operate() {
  return html`<main id="main" class="operate" tabindex="-1">
    <h1 class="visually-hidden">Operate the service</h1>
    ${state.adminKey ? html`<${Service} />` : html`<${AdminKey} />`}
  </main>`;
}

function AdminKey() {
  const submit = (event) => {
    event.preventDefault();
    enter(new FormData(event.target).get("key").trim());
  };
  return html`<form class="admin-key" onSubmit=${submit}>
    <h2><label for="admin-key">Admin key</label></h2>
    <p class="muted">One of <code>API_ADMIN_KEYS</code>. It is kept in this page’s memory only, and gone when the page is closed.</p>
    <div class="row">
      <input id="admin-key" name="key" type="password" autocomplete="off" required />
      <button type="submit" class="primary">Open</button>
    </div>
  </form>`;
}

class Service extends Component {
  componentDidMount() {
    this.stop = watch();
  }

  componentWillUnmount() {
    this.stop();
  }

  render() {
    const { operator } = state;
    if (!operator?.models)
      return operator?.problem
        ? html`<${ProblemCard} problem=${{ detail: operator.problem }} />`
        : html`<p class="muted">Reading the state …</p>`;
    return html`
      <${Warnings} operator=${operator} />
      <${Charts} points=${operator.points} />
      <${Models} operator=${operator} />
      <${Upload} operator=${operator} />
      <p><button type="button" class="quiet" onClick=${leave}>Forget the admin key</button></p>
    `;
  }
}

/** Warnings as [where, what]; a version that waits for its first request is none. */
export function warningsOf({ health, models, details, problem }) {
  const parts = Object.entries(health.parts).filter(([, { status, reason }]) => status !== "ok" || reason);
  const versions = details.flatMap((model) =>
    model.versions
      .filter(({ reason, since }) => reason && since)
      .map(({ version, reason }) => [`${model.name} ${version}`, reason]),
  );
  return [
    ...(problem ? [["service", problem]] : []),
    ...parts.map(([name, { status, reason }]) => [name.replaceAll("_", " "), reason ?? status]),
    ...models.not_served.map(({ name, reason }) => [name, reason]),
    ...versions,
    ...details.flatMap((model) => model.warnings.map((warning) => [model.name, warning])),
  ];
}

function Warnings({ operator }) {
  const warnings = warningsOf(operator);
  const { status, uptime_s, providers } = operator.health;
  return html`<section class="warnings" aria-labelledby="warnings">
    <div class="row spread">
      <div role="status"><h2 id="warnings">${warnings.length ? `Warnings: ${warnings.length}` : "No warnings"}</h2></div>
      <p class="facts">${status} · up ${duration(uptime_s)} · ${providers.join(", ")}</p>
    </div>
    <ul>${warnings.map(([where, what]) => html`<li class="problem"><strong>${where}</strong> ${what}</li>`)}</ul>
  </section>`;
}

function duration(seconds) {
  const [size, unit] = [
    [86400, "days"],
    [3600, "h"],
    [60, "min"],
    [1, "s"],
  ].find(([size]) => seconds >= size) ?? [1, "s"];
  return `${Math.floor(seconds / size)} ${unit}`;
}

function Upload({ operator }) {
  const isBusy = state.busy.has("upload");
  const submit = async (event) => {
    event.preventDefault();
    const given = new FormData(event.target);
    const form = new FormData();
    for (const field of ["model", "spec", "labels", "data"]) {
      for (const file of given.getAll(field)) if (file.size) form.append(field, file, file.name);
    }
    await upload(given.get("name"), form);
  };
  return html`<section class="upload" aria-labelledby="upload">
    <h2 id="upload">Add a version</h2>
    <form onSubmit=${submit}>
      <label>Model name<input name="name" list="names" required pattern="[A-Za-z0-9][A-Za-z0-9._\\-]*" autocomplete="off" /></label>
      <datalist id="names">${operator.details.map(({ name }) => html`<option value=${name}></option>`)}</datalist>
      <label>The .onnx file<input type="file" name="model" accept=".onnx" required /></label>
      <label>model.toml, if it needs one<input type="file" name="spec" accept=".toml" /></label>
      <label>labels.txt, if it has one<input type="file" name="labels" accept=".txt" /></label>
      <label>Weights in other files<input type="file" name="data" multiple /></label>
      <div class="row">
        <button type="submit" class="primary" disabled=${isBusy}>${isBusy ? "Sending and checking …" : "Upload"}</button>
        <span class="muted">It is checked before it serves. The highest version serves unless another one is active.</span>
      </div>
    </form>
  </section>`;
}
