// Two models or versions on the same pictures: drawings side by side, and one table with the differences marked.

import { Controls, PredictionTable } from "./answer.js";
import { asText, cosine, isFiltered, nameOf, number, partners, scoreText, summaryOf, taskOf } from "./predictions.js";
import { Stage } from "./stage.js";
import { CopyButton, html, ms } from "./ui.js";
import { WhyButton } from "./why.js";

const isSameTask = ([a, b]) => taskOf(a) === taskOf(b);

/** For each side, the indices that the other side has no partner for. */
function lonely(answers, shown) {
  if (!isSameTask(answers) || !isFiltered(answers[0])) return [new Set(), new Set()];
  return [0, 1].map((side) => {
    const found = partners(answers[side], answers[1 - side], shown[side], shown[1 - side]);
    return new Set(shown[side].filter((index) => found.get(index) === null));
  });
}

export function ComparedStages({ picture, answers, shown }) {
  const marked = lonely(answers, shown);
  return html`<div class="pair">
    ${answers.map(
      (answer, side) =>
        html`<${Stage} key=${side} picture=${picture} answer=${answer} indices=${shown[side]} marked=${marked[side]} side=${side} title=${nameOf(answer)} />`,
    )}
  </div>`;
}

export function Comparison({ picture, answers, shown }) {
  const rows = rowsOf(answers, shown);
  const differing = rows.filter((row) => row.mark).length;
  return html`
    <h2 class="headline">${summaryOf(picture)}</h2>
    <${Controls} answer=${answers[0]} picture=${picture} />
    ${
      isSameTask(answers) && isFiltered(answers[0])
        ? html`<p>${differing ? `${differing} of ${rows.length} rows differ; they are marked.` : "Both find the same."}</p>
          <${ComparedTable} picture=${picture} answers=${answers} rows=${rows} />`
        : html`<${Apart} picture=${picture} answers=${answers} shown=${shown} />`
    }
    <p class="facts">${answers.map((answer) => `${nameOf(answer)}: ${ms(answer.timings_ms.total)}`).join(" · ")}</p>
  `;
}

/** One row a prediction, or a pair of them. `mark`: what differs. */
function rowsOf(answers, shown) {
  const [a, b] = answers;
  if (!isSameTask(answers) || !isFiltered(a)) return [];
  const found = partners(a, b, shown[0], shown[1]);
  const both = shown[0].map((index) => [index, found.get(index)]);
  const taken = new Set(found.values());
  const rest = shown[1].filter((index) => !taken.has(index)).map((index) => [null, index]);
  return [...both, ...rest].map(([left, right]) => {
    const one = left === null ? null : a.predictions[left];
    const two = right === null ? null : b.predictions[right];
    const difference = one && two && one.score !== null && two.score !== null ? two.score - one.score : null;
    return { one, two, difference, mark: markOf(one, two, difference) };
  });
}

function markOf(one, two, difference) {
  if (!two) return "only left";
  if (!one) return "only right";
  return Math.abs(difference ?? 0) >= 0.05 ? "score" : "";
}

function ComparedTable({ picture, answers, rows }) {
  const names = answers.map(nameOf);
  const head = ["label", ...names, "difference"];
  const text = () =>
    asText(
      head,
      rows.map(({ one, two, difference }) => [(one ?? two).label, one?.score, two?.score, difference]),
    );
  const signed = (value) => (value === null ? "" : `${value < 0 ? "−" : "+"}${(100 * Math.abs(value)).toFixed(1)}`);
  return html`
    <div class="scroll" tabindex="0" role="region" aria-label="Compared predictions">
      <table class="compared">
        <caption class="visually-hidden">${names.join(" and ")} on ${picture.name}</caption>
        <thead><tr>${head.map((name) => html`<th scope="col">${name}</th>`)}</tr></thead>
        <tbody>
          ${rows.map(
            ({ one, two, difference, mark }) => html`<tr class=${mark ? "differs" : ""}>
              <th scope="row">${(one ?? two).label}</th>
              ${[one, two].map(
                (prediction, side) => html`<td class="number">
                ${prediction ? html`<data value=${prediction.score}>${scoreText(prediction.score)}</data>` : "–"}
                ${prediction && html`<${WhyButton} picture=${picture} side=${side} prediction=${prediction}>?<//>`}
              </td>`,
              )}
              <td class="number">${mark && mark !== "score" ? mark : signed(difference)}</td>
            </tr>`,
          )}
        </tbody>
      </table>
    </div>
    <div class="row"><${CopyButton} text=${text}>Copy table<//></div>
  `;
}

/** Answers without labels, or of different tasks: one table for each. */
function Apart({ picture, answers, shown }) {
  const vectors = answers.map((answer) => answer.predictions[0]?.embedding);
  const comparable = vectors.every(Array.isArray) && vectors[0].length === vectors[1].length;
  return html`
    ${comparable && html`<p>Cosine similarity of the two vectors: ${number(cosine(...vectors))}</p>`}
    ${answers.map(
      (answer, side) => html`<h3>${nameOf(answer)} · ${taskOf(answer)}</h3>
        <${PredictionTable} picture=${picture} answer=${answer} indices=${shown[side]} side=${side} />`,
    )}
  `;
}
