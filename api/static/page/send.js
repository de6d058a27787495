// Sends pictures to /infer, or many of them to /infer/batch, and keeps what comes back.

import { getJson, linesOf, post, Problem, request } from "./api.js";
import { notify, state, update } from "./store.js";

let batchSize = 64; // the default of API_MAX_BATCH_IMAGES; halved when the service says that it is lower
let nextId = 1;

/** Adds files to the page and sends them. `sample`: the address of a file that this page came with. */
export function addPictures(files, sample = null) {
  if (!files.length) return;
  const added = files.map((file) => ({
    id: nextId++,
    file,
    name: file.name,
    url: URL.createObjectURL(file),
    sample,
    status: "waiting",
    why: null,
  }));
  update({ pictures: [...state.pictures, ...added], current: added[0].id, hover: null, notice: null, series: null });
  send(added);
}

export function clearPictures() {
  cancel();
  for (const picture of state.pictures) URL.revokeObjectURL(picture.url);
  update({ pictures: [], current: null, hover: null, series: null, last: null, notice: null });
}

export function cancel() {
  state.run?.controller.abort();
}

/** Sends all pictures again, with the model and the options as they are now. */
export function sendAll() {
  cancel();
  update({ sentOptions: { ...state.options }, hover: null, hiddenLabels: new Set(), series: null });
  send(state.pictures);
}

export async function send(pictures) {
  if (!pictures.length) return;
  const run = state.run && !state.run.controller.signal.aborted ? state.run : newRun();
  run.total += pictures.length;
  run.requests += 1;
  for (const picture of pictures) Object.assign(picture, { status: "waiting", problem: null, why: null, run });
  update({ run });
  try {
    await (pictures.length === 1 ? askOne(pictures[0], run) : askMany(pictures, run));
  } catch (error) {
    for (const picture of unanswered(pictures, run)) fail(picture, error);
  }
  run.requests -= 1;
  if (run.requests === 0 && state.run === run) update({ run: null });
}

const newRun = () => ({ controller: new AbortController(), done: 0, total: 0, requests: 0 });

/** Those that this run has neither answered nor lost to a newer one. */
const unanswered = (pictures, run) => pictures.filter((picture) => picture.run === run && picture.status === "waiting");

async function askOne(picture, run) {
  const query = sentQuery();
  const options = { query, key: state.key, body: picture.file, signal: run.controller.signal };
  const { json, timing } = await post("infer", options);
  if (picture.run !== run) return;
  update({ last: { path: "infer", query, pictures: [picture] }, needsKey: false });
  keep(picture, json, timing, run);
}

async function askMany(pictures, run) {
  for (let left = pictures; left.length; left = unanswered(pictures, run)) {
    try {
      await askBatch(left.slice(0, batchSize), run);
    } catch (error) {
      if (error.code !== "too_many_pictures" || batchSize === 1) throw error;
      batchSize = Math.ceil(batchSize / 2);
    }
  }
}

async function askBatch(pictures, run) {
  const query = [...sentQuery(), ["stream", "true"]];
  const form = new FormData();
  for (const picture of pictures) form.append("images", picture.file, picture.name);
  const options = { method: "POST", query, key: state.key, body: form, signal: run.controller.signal };
  const response = await request("infer/batch", options);
  update({ last: { path: "infer/batch", query, form: pictures.map(() => "images"), pictures }, needsKey: false });
  for await (const result of linesOf(response)) {
    if (result.index === undefined) throw new Problem(result.error);
    const picture = pictures[result.index];
    if (picture.run !== run) continue;
    if (result.error) fail(picture, new Problem(result.error));
    else keep(picture, result, null, run);
  }
  const lost = unanswered(pictures, run);
  if (lost.length)
    throw new Problem({ detail: "The connection ended before this picture was answered. Send it again." });
}

function keep(picture, json, timing, run) {
  Object.assign(picture, {
    status: "done",
    image: json.image,
    answers: json.results ?? [{ model: json.model, predictions: json.predictions, timings_ms: json.timings_ms }],
    sentOptions: { ...state.sentOptions },
    timing,
  });
  run.done += 1;
  update();
}

function fail(picture, error) {
  if (error.name === "AbortError") {
    Object.assign(picture, { status: "cancelled", problem: null });
  } else {
    if (!(error instanceof Problem)) console.error(error);
    Object.assign(picture, { status: "failed", problem: { ...error, detail: error.message } });
  }
  picture.run.done += 1;
  update({ needsKey: state.needsKey || isKeyProblem(error) });
}

export const isKeyProblem = (error) => error.status === 401 || error.code === "wrong_key";

/** The query of /infer for the chosen models and options. */
export function sentQuery() {
  const { choices, sentOptions } = state;
  const options = ["top_k", "threshold"]
    .filter((name) => sentOptions[name] !== null)
    .map((name) => [name, sentOptions[name]]);
  return [...modelQuery(choices), ...options];
}

/** With two models, each has its version: a version without a number is the active one. */
export function modelQuery(choices) {
  const models = choices.map((choice) => ["model", choice.name]);
  const given = choices.filter((choice) => choice.version);
  if (!given.length) return models;
  return [...models, ...choices.map((choice) => ["version", choice.version || activeVersion(choice.name)])];
}

const activeVersion = (name) => String(state.models?.models.find((model) => model.name === name)?.active ?? "");

/** Loads the list of models with their details, and chooses the default one if none is chosen. */
export async function loadModels() {
  try {
    const read = (path) => getJson(path, { key: state.key });
    const models = await read("models");
    const names = models.models.map(({ name }) => name);
    const details = await Promise.all(names.map((name) => read(`models/${encodeURIComponent(name)}`)));
    const choices = state.choices.filter(({ name }) => names.includes(name));
    update({
      models,
      details: Object.fromEntries(details.map((model) => [model.name, model])),
      choices: choices.length ? choices : [{ name: models.default, version: "" }],
      needsKey: false,
    });
  } catch (error) {
    if (isKeyProblem(error)) update({ needsKey: true });
    if (error.status !== 401) notify(error.message, true);
    if (error.status === 503) setTimeout(loadModels, 2000); // the service is starting
  }
}

/** One model, or two to compare. Sends all pictures again. */
export function choose(choices) {
  update({ choices, options: { top_k: null, threshold: null } });
  sendAll();
}
