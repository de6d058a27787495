// The page's state: one object, changed by `update` only, which renders the page again.
//
// choices       [{name, version}]: one model, or two that are compared; version "" is the active one
// models        the answer of GET /models; null before it came
// details       the answers of GET /models/{name}, by name
// pictures      in the order they were added:
//   id, file, name, url     the file itself, and an object URL that shows it; `sample`: its address here, if it is one
//   status                  "waiting", "done", "failed" or "cancelled"
//   image, answers          of /infer, one answer for each choice; `sentOptions`: the options of that request
//   problem                 why it failed: {detail, code, requestId}
//   timing                  {sent, read, server}: milliseconds until the response began, to read it, and Server-Timing
//   why                     {side, title, controller, answer, ms, problem} of /explain; null before the first request
// current       id of the picture on the stage
// run           {controller, done, total, requests}: pictures being sent; null if none
// options       top_k and threshold as the sliders are; null: the model's own
// sentOptions   the same as the last request had them
// opacity       of masks, depth and heat maps, 0 to 1
// hiddenLabels  a Set of labels that are not drawn
// hover         {side, index} of the prediction under the pointer or focus; null if none
// bare          overlays are hidden, while the key h is held
// series        {done, total, times: [{client, server}], controller?}: one picture sent 20 times
// last          the last request, for the code: {path, query, pictures, form}; `form`: the fields of a form, one each
// language      of the code: curl, python or javascript
// canExplain    false once /explain was not found
// key, adminKey in memory only
// operator      {health, models, details, points, problem}: what the operator's view shows; null before
// busy          a Set of the models that are being changed, and "upload"
// needsKey      the service answered 401 or 403
// notice        a sentence for the user: {text, isError}

export const state = {
  choices: [],
  models: null,
  details: {},
  pictures: [],
  current: null,
  run: null,
  options: { top_k: null, threshold: null },
  sentOptions: { top_k: null, threshold: null },
  opacity: 0.55,
  hiddenLabels: new Set(),
  hover: null,
  bare: false,
  series: null,
  last: null,
  language: "curl",
  canExplain: true,
  key: "",
  adminKey: "",
  operator: null,
  busy: new Set(),
  needsKey: false,
  notice: null,
};

let render = () => {};
let isPlanned = false;

export function onChange(listener) {
  render = listener;
}

/** Changes some fields. Without an argument: something inside a field was changed. */
export function update(changes = {}) {
  Object.assign(state, changes);
  if (isPlanned) return;
  isPlanned = true;
  queueMicrotask(() => {
    isPlanned = false;
    render();
  });
}

/** Changes some fields of a picture. */
export function change(picture, fields) {
  Object.assign(picture, fields);
  update();
}

export const currentPicture = () => state.pictures.find((picture) => picture.id === state.current) ?? null;

export const notify = (text, isError = false) => update({ notice: { text, isError } });
