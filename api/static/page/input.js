// Ways for pictures to get in: dropped, pasted, from the clipboard, from another tab, or a sample.

import { request } from "./api.js";
import { addPictures } from "./send.js";
import { notify } from "./store.js";

export const SAMPLES = [
  { file: "cat.webp", text: "A tabby cat" },
  { file: "hens.webp", text: "Four hens on grass" },
  { file: "panda.webp", text: "A giant panda" },
  { file: "red-panda.webp", text: "A red panda" },
];

export function addSample({ file }) {
  const path = `page/samples/${file}`;
  addFrom(path, file, path);
}

async function addFrom(path, name, sample = null) {
  try {
    const blob = await (await request(path)).blob();
    addPictures([new File([blob], name, { type: blob.type })], sample);
  } catch (error) {
    notify(error.message, true);
  }
}

/** Accepts files that are dropped anywhere on the page; calls `setDragging(true)` while files are dragged over it. */
export function acceptDrops(target, setDragging) {
  let depth = 0; // dragenter and dragleave also come for each element inside
  const count = (change) => {
    depth = Math.max(0, depth + change);
    setDragging(depth > 0);
  };
  target.addEventListener("dragenter", () => count(1));
  target.addEventListener("dragleave", () => count(-1));
  target.addEventListener("dragover", (event) => event.preventDefault());
  target.addEventListener("drop", (event) => {
    event.preventDefault();
    count(-depth);
    take(event.dataTransfer);
  });
}

export function acceptPastes(target) {
  target.addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) {
      event.preventDefault();
      addPictures([...event.clipboardData.files]);
    }
  });
}

function take(transfer) {
  const files = [...transfer.items].some((item) => item.webkitGetAsEntry?.()?.isDirectory) ? [] : [...transfer.files];
  if (files.length) addPictures(files);
  else if (transfer.items.length && transfer.files.length)
    notify("Folders cannot be dropped here. Open the folder and drop its pictures.", true);
  else takeLink(transfer.getData("text/uri-list").split("\n")[0]);
}

/** Another tab may give the picture's address only. */
async function takeLink(link) {
  const url = URL.canParse(link) ? new URL(link) : null;
  if (url?.origin === location.origin) {
    await addFrom(url, url.pathname.split("/").pop());
  } else if (url) {
    notify(
      "That tab gave an address, not a picture, and this page requests nothing from other sites. Copy the picture there and paste it here.",
      true,
    );
  } else {
    notify("There was no picture in what was dropped.", true);
  }
}

export const canReadClipboard = Boolean(navigator.clipboard?.read);

export async function readClipboard() {
  let items;
  try {
    items = await navigator.clipboard.read();
  } catch {
    return notify("The browser did not allow reading the clipboard. Paste with Ctrl+V instead.", true);
  }
  for (const item of items) {
    const type = item.types.find((name) => name.startsWith("image/"));
    if (type) {
      const blob = await item.getType(type);
      return addPictures([new File([blob], `pasted.${type.slice(6)}`, { type })]);
    }
  }
  notify("The clipboard has no picture.", true);
}
