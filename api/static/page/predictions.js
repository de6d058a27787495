// Reads answers: what the sliders leave, rows for tables, differences of two answers, similarity of vectors.

import { state } from "./store.js";
import { percent } from "./ui.js";

const LABELLED = new Set(["image-classification", "object-detection", "keypoint-detection", "image-segmentation"]);
const SAME_BOX_IOU = 0.5;

export const taskOf = (answer) => answer.model.task;
export const hasLabels = (task) => LABELLED.has(task);
export const isFiltered = (answer) => hasLabels(taskOf(answer));
export const isDrawn = (answer) => isFiltered(answer) && taskOf(answer) !== "image-classification";
export const nameOf = (answer) => `${answer.model.name} ${answer.model.version}`;

/** The top_k and threshold that a request without them has. `details`: of the model, if they were loaded. */
export function defaults(answer, details) {
  if (taskOf(answer) === "image-classification") return { top_k: 5, threshold: 0 };
  return { top_k: 100, threshold: details?.spec?.score_threshold?.value ?? 0.25 };
}

/** Indices of the predictions that threshold, top_k and label toggles leave. */
export function visible(answer, { top_k, threshold }, hiddenLabels) {
  const { predictions } = answer;
  let indices = [...predictions.keys()];
  if (!isFiltered(answer)) return indices;
  indices = indices.filter((i) => predictions[i].score === null || predictions[i].score >= (threshold ?? 0));
  return indices.slice(0, top_k ?? undefined).filter((i) => !hiddenLabels.has(predictions[i].label));
}

/** For each answer of a picture, the indices that the page's sliders and toggles leave. Untouched sliders are those of its request. */
export function shownOf({ answers, sentOptions }) {
  const { top_k, threshold } = state.options;
  const limits = { top_k: top_k ?? sentOptions.top_k, threshold: threshold ?? sentOptions.threshold };
  return answers.map((answer) => visible(answer, limits, state.hiddenLabels));
}

/** Each label with its number of predictions. */
export function labelsOf(predictions) {
  const counts = new Map();
  for (const { label, class_id } of predictions) {
    counts.set(label, { class_id, count: (counts.get(label)?.count ?? 0) + 1 });
  }
  return counts;
}

export const scoreText = (score) => (score === null ? "–" : percent(score));

/** The answers of a picture in a few words, as far as they are shown. */
export function summaryOf(picture) {
  const shown = shownOf(picture);
  return picture.answers.map((answer, side) => summary(answer, shown[side])).join(" / ");
}

export function summary(answer, indices) {
  const predictions = indices.map((index) => answer.predictions[index]);
  const [first] = predictions;
  switch (taskOf(answer)) {
    case "image-classification":
      return first ? `${first.label} ${scoreText(first.score)}` : "no label";
    case "object-detection":
    case "keypoint-detection":
    case "image-segmentation":
      return (
        [...labelsOf(predictions)]
          .map(([label, { count }]) => (count > 1 ? `${count} × ${label}` : label))
          .join(", ") || "nothing found"
      );
    case "image-to-text":
      return first?.generated_text ?? "no text";
    case "image-feature-extraction":
      return `${first.dimensions} numbers`;
    case "depth-estimation":
      return `${number(first.minimum)} to ${number(first.maximum)}`;
    default:
      return predictions.map((tensor) => `${tensor.name} ${tensor.shape.join("×")}`).join(", ");
  }
}

export const number = (value) => (Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(5))));

/** The columns of a task's table, each with the values of one prediction. The first is its header. */
export function columns(answer) {
  const task = taskOf(answer);
  const score = ["score", ({ score }) => score];
  const box = ["xmin", "ymin", "xmax", "ymax"].map((side) => [side, ({ box }) => box?.[side] ?? null]);
  if (task === "image-classification") return [["label", ({ label }) => label], score];
  if (task === "image-segmentation") {
    const boxes = answer.predictions.some((prediction) => prediction.box) ? box : [];
    return [["label", ({ label }) => label], score, ...boxes];
  }
  if (isFiltered(answer)) return [["label", ({ label }) => label], score, ...box];
  if (task === "image-to-text") return [["text", ({ generated_text }) => generated_text], score];
  if (task === "depth-estimation")
    return [
      ["lowest", ({ minimum }) => minimum],
      ["highest", ({ maximum }) => maximum],
    ];
  if (task === "image-feature-extraction") {
    return [
      ["dimensions", ({ dimensions }) => dimensions],
      ["length", ({ embedding }) => norm(embedding)],
      ["first numbers", ({ embedding }) => firstNumbers(embedding)],
    ];
  }
  return [
    ["name", ({ name }) => name],
    ["type", ({ dtype }) => dtype],
    ["shape", ({ shape }) => shape.join(" × ")],
    ["first numbers", ({ data }) => firstNumbers(data)],
  ];
}

const firstNumbers = (values) =>
  values
    .slice(0, 8)
    .map((value) => (typeof value === "number" ? number(value) : value))
    .join(", ");

/** The points of a prediction: keypoints and landmarks, with a name each. */
export const pointsOf = (prediction) =>
  prediction.keypoints ??
  (prediction.landmarks ?? []).map(([x, y], i) => ({ name: `landmark ${i + 1}`, x, y, score: null }));

/** Tab-separated, with the numbers as the service sent them. */
export function asText(head, rows) {
  return [head, ...rows].map((row) => row.map((value) => value ?? "").join("\t")).join("\n");
}

const area = (box) => Math.max(0, box.xmax - box.xmin) * Math.max(0, box.ymax - box.ymin);

export function iou(a, b) {
  const both = area({
    xmin: Math.max(a.xmin, b.xmin),
    ymin: Math.max(a.ymin, b.ymin),
    xmax: Math.min(a.xmax, b.xmax),
    ymax: Math.min(a.ymax, b.ymax),
  });
  return both / (area(a) + area(b) - both);
}

/** For each prediction of `answer`, the index of its partner in `other`: the same label, and the same place if both have boxes. */
export function partners(answer, other, indices, otherIndices) {
  const free = new Set(otherIndices);
  return new Map(
    indices.map((index) => {
      const one = answer.predictions[index];
      let [best, overlap] = [null, SAME_BOX_IOU];
      for (const candidate of free) {
        const two = other.predictions[candidate];
        if (two.label !== one.label) continue;
        const found = one.box && two.box ? iou(one.box, two.box) : 1;
        if (found >= overlap) [best, overlap] = [candidate, found];
        if (overlap === 1) break;
      }
      free.delete(best);
      return [index, best];
    }),
  );
}

const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
const norm = (vector) => Math.sqrt(dot(vector, vector));

export const cosine = (a, b) => dot(a, b) / (norm(a) * norm(b) || 1);
