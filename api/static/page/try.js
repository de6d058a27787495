// The view for pictures: ways in, the stage, the answer beside it, and the grid of all pictures.

import { addPictures, clearPictures } from "./send.js";
import { Answer, NoAnswer } from "./answer.js";
import { CameraButton, cameraNote } from "./camera.js";
import { Choices } from "./choices.js";
import { Code } from "./code.js";
import { ComparedStages, Comparison } from "./compare.js";
import { Grid, Progress, Similarity } from "./grid.js";
import { addSample, canReadClipboard, readClipboard, SAMPLES } from "./input.js";
import { shownOf, summaryOf } from "./predictions.js";
import { PictureFacts, Stage } from "./stage.js";
import { currentPicture, state } from "./store.js";
import { Time } from "./timing.js";
import { html } from "./ui.js";
import { Why } from "./why.js";

export function Try() {
  const picture = currentPicture();
  return html`<main id="main" class="try" tabindex="-1">
    <h1 class="visually-hidden">Ask a model about pictures</h1>
    ${picture ? html`<${Workspace} picture=${picture} />` : html`<${Welcome} />`}
  </main>`;
}

/** The file input that the key / opens. */
export const pickFiles = () => document.querySelector("#pick").click();

function WaysIn({ isLarge }) {
  const take = (event) => {
    addPictures([...event.target.files]);
    event.target.value = ""; // so that the same file can be chosen again
  };
  return html`<div class="row ways">
    <label class=${`button ${isLarge ? "primary" : ""}`}>Choose pictures<input id="pick" class="visually-hidden" type="file" accept="image/*,.heic,.heif,.tif,.tiff" multiple onChange=${take} /></label>
    ${canReadClipboard && html`<button type="button" onClick=${readClipboard}>Paste</button>`}
    <${CameraButton} />
    ${!isLarge && state.pictures.length === 1 && html`<button type="button" class="quiet" onClick=${clearPictures}>Remove</button>`}
  </div>`;
}

function Welcome() {
  return html`
    <section class="welcome" aria-label="Pictures">
      <p class="invitation">Drop a picture anywhere</p>
      <p class="muted">or paste one, or press <kbd>/</kbd> to choose. It is sent as it is, to this service only.</p>
      <${WaysIn} isLarge=${true} />
      ${cameraNote && html`<p class="muted small-print">${cameraNote}</p>`}
      <${Choices} />
    </section>
    <section class="samples" aria-labelledby="samples">
      <h2 id="samples">Or try one of these</h2>
      <ul>
        ${SAMPLES.map(
          (sample) => html`<li><button type="button" class="sample" onClick=${() => addSample(sample)}>
            <img src=${`page/samples/${sample.file}`} alt=${sample.text} draggable=${false} />
          </button></li>`,
        )}
      </ul>
    </section>
  `;
}

function Workspace({ picture }) {
  const { answers } = picture;
  const isDone = picture.status === "done";
  const isCompared = isDone && answers.length === 2;
  const shown = isDone ? shownOf(picture) : [];
  return html`
    <div class="toolbar"><${Choices} /><${WaysIn} /></div>
    <div class=${`workspace ${isCompared ? "wide" : ""}`}>
      <div class="left">
      <section class="scene" aria-label="Picture">
        ${
          isCompared
            ? html`<${ComparedStages} picture=${picture} answers=${answers} shown=${shown} />`
            : html`<${Stage} key="single" picture=${picture} answer=${isDone ? answers[0] : null} indices=${shown[0] ?? []} side=${0} />`
        }
        <${PictureFacts} picture=${picture} />
      </section>
      ${state.pictures.length > 1 && html`<section class="all" aria-label="All pictures"><${Progress} /><${Grid} /></section>`}
      <${Similarity} />
      </div>
      <p class="visually-hidden" role="status">${isDone ? `${picture.name}: ${summaryOf(picture)}` : ""}</p>
      <section class="panel" aria-label="Answer" aria-busy=${picture.status === "waiting"}>
        ${!isDone && html`<${NoAnswer} picture=${picture} />`}
        ${isDone && !isCompared && html`<${Answer} picture=${picture} answer=${answers[0]} indices=${shown[0]} />`}
        ${isCompared && html`<${Comparison} picture=${picture} answers=${answers} shown=${shown} />`}
        <${Why} picture=${picture} />
        ${isDone && html`<details><summary>Time</summary><${Time} picture=${picture} answer=${answers[answers.length - 1]} /></details>`}
        ${state.last && html`<details><summary>Code</summary><${Code} /></details>`}
      </section>
    </div>
  `;
}
