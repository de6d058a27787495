// The last request as curl, Python and JavaScript.

import { address } from "./api.js";
import { state, update } from "./store.js";
import { CopyButton, html } from "./ui.js";

const shell = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const quoted = (text) => JSON.stringify(text); // also a string of Python

/** `last`: the request, as in the store. `hasKey`: it carried a key, which the code takes from FOVEA_KEY. */
export function curl({ path, query, pictures, form }, hasKey) {
  const parts = form
    ? pictures.map(
        ({ name }, i) => `-F ${shell(`${form[i]}=@"${name.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`)}`,
      )
    : [`--data-binary ${shell(`@${pictures[0].name}`)}`];
  const key = hasKey ? ['-H "Authorization: Bearer $FOVEA_KEY"'] : [];
  const samples = pictures
    .filter(({ sample }) => sample)
    .map(({ name, sample }) => `curl -s -o ${shell(name)} ${shell(address(sample))}`);
  const words = ["curl -s", ...key, ...parts, shell(address(path, query))];
  return [...samples, words.join(words.length > 3 ? " \\\n  " : " ")].join("\n");
}

export function python({ path, query, pictures, form }, hasKey) {
  const url = quoted(address(path, query));
  const read = ({ name, sample }) =>
    sample ? `httpx.get(${quoted(address(sample))}).content` : `Path(${quoted(name)}).read_bytes()`;
  const file = (picture, i) => `    (${quoted(form[i])}, (${quoted(picture.name)}, ${read(picture)})),`;
  const body = form ? [`files = [`, ...pictures.map(file), `]`] : [`picture = ${read(pictures[0])}`];
  const headers = hasKey ? `, headers={"Authorization": f"Bearer {os.environ['FOVEA_KEY']}"}` : "";
  const isStream = query.some(([name]) => name === "stream");
  return [
    ...(hasKey ? ["import os"] : []),
    "from pathlib import Path",
    "",
    "import httpx",
    "",
    ...body,
    `response = httpx.post(${url}, ${form ? "files=files" : "content=picture"}${headers}, timeout=60)`,
    "response.raise_for_status()",
    isStream ? "print(response.text)  # one JSON object a line" : "print(response.json())",
  ].join("\n");
}

export function javascript({ path, query, pictures, form }, hasKey) {
  const read = ({ name, sample }) =>
    sample ? `await (await fetch(${quoted(address(sample))})).blob()` : `await openAsBlob(${quoted(name)})`;
  const body = form
    ? [
        "const body = new FormData();",
        ...pictures.map((picture, i) => `body.append(${quoted(form[i])}, ${read(picture)}, ${quoted(picture.name)});`),
      ]
    : [`const body = ${read(pictures[0])};`];
  const headers = hasKey ? ", headers: { Authorization: `Bearer ${process.env.FOVEA_KEY}` }" : "";
  const isStream = query.some(([name]) => name === "stream");
  return [
    'import { openAsBlob } from "node:fs"; // in a page: the File of an <input type="file">',
    "",
    ...body,
    `const response = await fetch(${quoted(address(path, query))}, { method: "POST", body${headers} });`,
    "if (!response.ok) throw new Error((await response.json()).detail);",
    isStream ? "console.log(await response.text()); // one JSON object a line" : "console.log(await response.json());",
  ].join("\n");
}

const LANGUAGES = { curl: ["curl", curl], python: ["Python", python], javascript: ["JavaScript", javascript] };

export function Code() {
  if (!state.last) return null;
  const language = state.language;
  const text = LANGUAGES[language][1](state.last, Boolean(state.key));
  return html`
    <div class="row spread">
      <label>Language
        <select value=${language} onChange=${(event) => update({ language: event.target.value })}>
          ${Object.entries(LANGUAGES).map(([id, [name]]) => html`<option value=${id}>${name}</option>`)}
        </select>
      </label>
      <${CopyButton} text=${() => text}>Copy code<//>
    </div>
    <pre class="code" tabindex="0" aria-label="Code of the last request"><code>${text}</code></pre>
  `;
}
