// Draws an answer over its picture: masks, depth, heat, boxes, points and labels.

import { classColour, textOn } from "./colours.js";
import { mapOf } from "./maps.js";
import { pointsOf, scoreText } from "./predictions.js";

const LEAST_POINT_SCORE = 0.25; // keypoints with lower scores are left out
// Under coloured lines, so that they show on any picture: light under dark colours.
const outline = (colour) => (textOn(colour) === "#ffffff" ? "rgb(255 255 255 / 0.7)" : "rgb(0 0 0 / 0.55)");

/**
 * Draws the predictions `indices` on a canvas that covers the picture. `image`: the picture's size in the answer's pixels.
 * `marked`: indices that are drawn dashed. `hover`: an index whose prediction stands out. `heat`: of /explain.
 */
export function draw(canvas, { image, predictions, indices, opacity, hover, marked = new Set(), heat }) {
  const { width, height } = canvas.getBoundingClientRect();
  const dpr = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * dpr);
  canvas.height = Math.round(height * dpr);
  const context = canvas.getContext("2d");
  const scale = { x: canvas.width / image.width, y: canvas.height / image.height };
  const line = Math.max(2, Math.round(Math.hypot(canvas.width, canvas.height) / 320));
  const pen = { context, canvas, scale, line, dpr };
  const faded = (index) => (hover !== null && hover !== index ? 0.3 : 1);

  for (const index of indices) drawMap(pen, predictions[index], opacity * faded(index));
  if (heat) drawBitmap(pen, mapOf(heat, heat.heatmap, "heat"), opacity);
  for (const index of indices) {
    context.globalAlpha = faded(index);
    drawShape(pen, predictions[index], marked.has(index));
  }
  const placed = [];
  for (const index of indices) {
    context.globalAlpha = faded(index);
    if (predictions[index].box) drawLabel(pen, predictions[index], placed);
  }
  context.globalAlpha = 1;
  if (heat?.peak) drawPeak(pen, heat.peak);
}

function drawMap(pen, prediction, opacity) {
  if (prediction.mask) drawBitmap(pen, mapOf(prediction, prediction.mask, "mask", prediction.class_id), opacity);
  if (prediction.depth) drawBitmap(pen, mapOf(prediction, prediction.depth, "depth"), opacity);
}

function drawBitmap({ context, canvas }, map, opacity) {
  if (!map) return;
  context.globalAlpha = opacity;
  context.drawImage(map.bitmap, 0, 0, canvas.width, canvas.height);
  context.globalAlpha = 1;
}

function drawShape(pen, prediction, isMarked) {
  const { context, scale, line } = pen;
  const colour = classColour(prediction.class_id ?? 0);
  context.setLineDash(isMarked ? [4 * line, 3 * line] : []);
  if (prediction.corners) {
    stroke(pen, () => polygon(pen, prediction.corners), colour);
  } else if (prediction.box && !prediction.mask) {
    const { x, y, w, h } = rectangle(pen, prediction.box);
    stroke(pen, () => context.rect(x, y, w, h), colour);
  }
  context.setLineDash([]);
  const points = pointsOf(prediction);
  for (const [from, to] of prediction.skeleton ?? []) {
    const [a, b] = [points[from], points[to]];
    if (!isSeen(a) || !isSeen(b)) continue;
    const bone = () => {
      context.moveTo(a.x * scale.x, a.y * scale.y);
      context.lineTo(b.x * scale.x, b.y * scale.y);
    };
    stroke(pen, bone, colour);
  }
  for (const point of points.filter(isSeen)) dot(pen, point.x * scale.x, point.y * scale.y, 1.6 * line, colour);
}

const isSeen = (point) => point && (point.score === null || point.score >= LEAST_POINT_SCORE);

/** A box in canvas pixels. Its line lies inside, also at the picture's edge. */
function rectangle({ scale, line, canvas }, box) {
  const half = line / 2;
  const inside = (value, most) => Math.min(Math.max(value, half), most - half);
  const x = inside(box.xmin * scale.x, canvas.width);
  const y = inside(box.ymin * scale.y, canvas.height);
  return { x, y, w: inside(box.xmax * scale.x, canvas.width) - x, h: inside(box.ymax * scale.y, canvas.height) - y };
}

function polygon({ context, scale }, corners) {
  for (const [x, y] of corners) context.lineTo(x * scale.x, y * scale.y); // the first one moves there
  context.closePath();
}

function stroke({ context, line }, path, colour) {
  for (const [style, width] of [
    [outline(colour), line * 1.9],
    [colour, line],
  ]) {
    context.beginPath();
    path();
    context.strokeStyle = style;
    context.lineWidth = width;
    context.lineJoin = "round";
    context.stroke();
  }
}

function dot({ context, dpr }, x, y, radius, colour) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fillStyle = colour;
  context.fill();
  context.strokeStyle = outline(colour);
  context.lineWidth = dpr;
  context.stroke();
}

/** Above its box, or below the box's upper edge; moved so that all of it is inside the picture. */
function drawLabel({ context, canvas, scale, dpr, line }, prediction, placed) {
  const size = Math.round(0.8125 * parseFloat(getComputedStyle(document.documentElement).fontSize) * dpr);
  context.font = `600 ${size}px system-ui, sans-serif`;
  const text = `${prediction.label} ${scoreText(prediction.score)}`;
  const [w, h] = [Math.min(context.measureText(text).width + size, canvas.width), Math.round(size * 1.5)];
  const x = Math.max(0, Math.min(prediction.box.xmin * scale.x, canvas.width - w));
  const top = prediction.box.ymin * scale.y;
  let y = Math.max(0, Math.min(top >= h ? top - h : top + line, canvas.height - h));
  const overlaps = (other) => x < other.x + other.w && other.x < x + w && y < other.y + h && other.y < y + h;
  for (let tries = 0; tries < 6 && placed.some(overlaps); tries++) y = Math.min(y + h, canvas.height - h);
  placed.push({ x, y, w });
  const colour = classColour(prediction.class_id);
  context.fillStyle = colour;
  context.beginPath();
  context.roundRect(x, y, w, h, size / 4);
  context.fill();
  context.fillStyle = textOn(colour);
  context.textBaseline = "middle";
  context.fillText(text, x + size / 2, y + h / 2, w - size);
}

function drawPeak(pen, { x, y }) {
  const { context, scale, line } = pen;
  stroke(pen, () => context.arc(x * scale.x, y * scale.y, 5 * line, 0, 2 * Math.PI), "#ffffff");
}

/** The index of the topmost prediction at a point of the picture: the smallest box, or a mask that is set there. */
export function predictionAt({ image, predictions, indices }, x, y) {
  const hits = indices.filter((index) => {
    const { box, mask } = predictions[index];
    if (mask)
      return isSet(
        mapOf(predictions[index], mask, "mask", predictions[index].class_id),
        x / image.width,
        y / image.height,
      );
    return box && x >= box.xmin && x <= box.xmax && y >= box.ymin && y <= box.ymax;
  });
  const size = (index) => {
    const { box } = predictions[index];
    return box ? (box.xmax - box.xmin) * (box.ymax - box.ymin) : Infinity;
  };
  return hits.sort((a, b) => size(a) - size(b))[0] ?? null;
}

function isSet(map, u, v) {
  if (!map) return false;
  const column = Math.min(map.width - 1, Math.floor(u * map.width));
  const row = Math.min(map.height - 1, Math.floor(v * map.height));
  return map.levels[row * map.width + column] > 127;
}
