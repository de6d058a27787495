// The operator's requests: reading the state of the service, and changing models.

import { address, getJson, Problem, request } from "./api.js";
import { loadModels } from "./send.js";
import { figures, parse, snapshot } from "./metrics.js";
import { notify, state, update } from "./store.js";

const POLL_MS = 2000;
const KEPT = 300; // points of the charts: ten minutes

const admin = (path, options = {}) => request(path, { ...options, key: state.adminKey });
const json = (value) => ({ body: JSON.stringify(value), headers: { "Content-Type": "application/json" } });
const modelPath = (name, ...rest) => ["models", name, ...rest].map(encodeURIComponent).join("/");

/** Keeps the key if the service accepts it. A body without a name changes nothing: it is rejected, but after the key was checked. */
export async function enter(key) {
  try {
    await request("models/default", { method: "PUT", key, ...json({}) });
  } catch (error) {
    if (error.status !== 422) return notify(error.message, true);
  }
  update({ adminKey: key, notice: null });
}

export function leave() {
  update({ adminKey: "", operator: null });
}

/** Polls while the operator's view is shown; returns the function that stops it. */
export function watch() {
  const snapshots = [];
  let timer = null;
  const poll = async () => {
    try {
      await refresh(snapshots);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      update({ operator: { ...state.operator, problem: error.message } });
    }
    if (timer !== undefined) timer = setTimeout(poll, POLL_MS);
  };
  poll();
  return () => {
    clearTimeout(timer);
    timer = undefined;
  };
}

async function refresh(snapshots) {
  const [health, models, metrics] = await Promise.all([readHealth(), readModels(), readMetrics()]);
  snapshots.push(snapshot(Date.now() / 1000, parse(metrics)));
  snapshots.splice(0, snapshots.length - KEPT);
  const points = [...(state.operator?.points ?? []), figures(snapshots)].slice(-KEPT);
  update({ operator: { ...state.operator, health, ...models, points, problem: null } });
}

/** A service that is not ready answers 503 with the same report. */
async function readHealth() {
  const response = await fetch(address("health"), { cache: "no-store" });
  return response.json();
}

/** The details are read again only if a model's state has changed. */
async function readModels() {
  const models = await getJson("models", { key: state.adminKey });
  if (JSON.stringify(models) === JSON.stringify(state.operator?.models)) return {};
  const details = await Promise.all(models.models.map(({ name }) => getJson(modelPath(name), { key: state.adminKey })));
  return { models, details };
}

const readMetrics = async () => (await admin("metrics")).text();

/** Runs one change of a model, and says how it ended. `doing`: the name of the model, whose buttons rest meanwhile. */
async function change(doing, done, path, options) {
  update({ busy: new Set([...state.busy, doing]), notice: null });
  try {
    await admin(path, options);
    notify(done);
    loadModels();
    if (state.operator) update({ operator: { ...state.operator, ...(await readModels()) } });
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    notify(error.message, true);
  } finally {
    const busy = new Set(state.busy);
    busy.delete(doing);
    update({ busy });
  }
}

export const load = (name, version) =>
  change(name, `${name} ${version} is loaded.`, modelPath(name, "versions", version, "load"), { method: "POST" });

export const unload = (name, version) =>
  change(name, `${name} ${version} is unloaded.`, modelPath(name, "versions", version, "unload"), { method: "POST" });

export const makeDefault = (name) =>
  change(name, `${name} is the default model.`, modelPath("default"), { method: "PUT", ...json({ name }) });

export const activate = (name, version) =>
  change(name, `${name} serves version ${version}.`, modelPath(name, "active"), {
    method: "PUT",
    ...json({ version }),
  });

export const unpin = (name) =>
  change(name, `${name} serves its highest version.`, modelPath(name, "active"), { method: "DELETE" });

export const setLabel = (name, label, version) =>
  change(name, `${label} is version ${version} of ${name}.`, modelPath(name, "labels", label), {
    method: "PUT",
    ...json({ version }),
  });

export const removeLabel = (name, label) =>
  change(name, `${name} has no label ${label} now.`, modelPath(name, "labels", label), { method: "DELETE" });

/** `form`: the fields of POST /models/{name}/versions. */
export const upload = (name, form) =>
  change("upload", `A new version of ${name} was added.`, modelPath(name, "versions"), { method: "POST", body: form });
