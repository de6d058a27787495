// Grey PNGs of an answer (masks, depth, heat) as coloured bitmaps, made once and kept with their prediction.

import { classColour, colourMap, rgb } from "./colours.js";
import { update } from "./store.js";

const MAX_SIDE = 1600; // larger maps are drawn from a smaller bitmap
const made = new WeakMap();

/** {bitmap, levels, width, height}, or null until it is made; then the page is rendered again. */
export function mapOf(owner, png, kind, classId = 0) {
  if (!made.has(owner)) {
    made.set(owner, null);
    make(png, kind, classId).then((map) => {
      made.set(owner, map);
      update();
    });
  }
  return made.get(owner);
}

async function make(png, kind, classId) {
  const bytes = Uint8Array.from(atob(png), (character) => character.charCodeAt(0));
  const source = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
  const scale = Math.min(1, MAX_SIDE / Math.max(source.width, source.height));
  const [width, height] = [source.width, source.height].map((side) => Math.max(1, Math.round(side * scale)));
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(source, 0, 0, width, height);
  const image = context.getImageData(0, 0, width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const levels = Uint8Array.from(pixels, (pixel) => pixel & 255);
  const table = tableOf(kind, classId);
  for (let i = 0; i < pixels.length; i++) pixels[i] = table[levels[i]];
  context.putImageData(image, 0, 0);
  return { bitmap: canvas.transferToImageBitmap(), levels, width, height };
}

/** For each level the pixel that shows it. A mask is clear outside, heat where it is low. */
function tableOf(kind, classId) {
  const colours = kind === "mask" ? null : colourMap(kind);
  const bytes = new Uint8ClampedArray(4 * 256);
  for (let level = 0; level < 256; level++) {
    bytes.set([...(colours?.[level] ?? rgb(classColour(classId))), kind === "depth" ? 255 : level], 4 * level);
  }
  return new Uint32Array(bytes.buffer);
}
