// Starts the page: views by the address's hash, keys, drops and pastes.

import { UNREACHABLE } from "./api.js";
import { loadModels } from "./send.js";
import { step } from "./grid.js";
import { acceptDrops, acceptPastes } from "./input.js";
import { notify, onChange, state, update } from "./store.js";
import { pickFiles, Try } from "./try.js";
import { html, render } from "./ui.js";

let Operate = null; // loaded when it is first shown

function Page() {
  const isOperating = location.hash === "#operate";
  return html`
    <a class="skip" href="#main" onClick=${skip}>Skip to the content</a>
    <header>
      <a class="brand" href="#"><img src="page/icon.svg" alt="" />Fovea</a>
      <nav aria-label="Views">
        <a href="#" aria-current=${isOperating ? null : "page"}>Try</a>
        <a href="#operate" aria-current=${isOperating ? "page" : null}>Operate</a>
        <a href="docs">API</a>
      </nav>
    </header>
    <${Notice} />
    ${state.needsKey && html`<${KeyForm} />`}
    ${isOperating ? Operate && html`<${Operate} />` : html`<${Try} />`}
    ${
      !isOperating &&
      html`<footer>
      <p><kbd>/</kbd> choose <kbd>←</kbd> <kbd>→</kbd> next picture <kbd>h</kbd> hide drawings while held</p>
    </footer>`
    }
  `;
}

/** Without the hash, which selects the view. */
function skip(event) {
  event.preventDefault();
  document.querySelector("#main").focus();
}

function Notice() {
  const { notice } = state;
  return html`<div class="notices" role="status">
    ${
      notice &&
      html`<div class=${`notice ${notice.isError ? "problem" : ""}`}>
      <p>${notice.text}</p>
      <button type="button" class="quiet small" onClick=${() => update({ notice: null })}>Close</button>
    </div>`
    }
  </div>`;
}

function KeyForm() {
  const enter = (event) => {
    event.preventDefault();
    update({ key: new FormData(event.target).get("key").trim(), notice: null });
    loadModels();
  };
  return html`<form class="key" onSubmit=${enter}>
    <label for="key">This service needs a key.</label>
    <input id="key" name="key" type="password" autocomplete="off" required />
    <button type="submit" class="primary">Use it</button>
    <p class="muted">It is kept in this page's memory only.</p>
  </form>`;
}

async function show() {
  if (location.hash === "#operate" && !Operate) {
    try {
      ({ Operate } = await import("./operate.js"));
    } catch {
      notify(UNREACHABLE, true);
    }
  }
  update();
}

function onKeyDown(event) {
  if (
    event.ctrlKey ||
    event.metaKey ||
    event.altKey ||
    event.target.closest("input, select, textarea, dialog, .u-over")
  )
    return;
  const isTrying = location.hash !== "#operate";
  if (event.key === "h" && !state.bare) update({ bare: true });
  if (event.key === "/" && isTrying) {
    event.preventDefault();
    pickFiles();
  }
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (by && isTrying && !event.target.closest(".scroll, pre")) {
    event.preventDefault();
    step(by);
  }
}

onChange(() => render(html`<${Page} />`, document.querySelector("#app")));
addEventListener("hashchange", show);
document.addEventListener("keydown", onKeyDown);
document.addEventListener("keyup", (event) => event.key === "h" && update({ bare: false }));
addEventListener("blur", () => state.bare && update({ bare: false }));
acceptDrops(document, (isDragging) => document.body.classList.toggle("dragging", isDragging));
acceptPastes(document);
loadModels();
show();
