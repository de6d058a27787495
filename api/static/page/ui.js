// Preact and htm, which need no build step.
import { Component, createRef, h, render } from "./vendor/preact.module.js";
import htm from "./vendor/htm.module.js";

export const html = htm.bind(h);
export { Component, createRef, render };

// With spaces at which no line breaks.
export const percent = (share) => `${(100 * share).toFixed(1)}\u00a0%`;
export const ms = (value) =>
  value >= 1000 ? `${(value / 1000).toFixed(2)}\u00a0s` : `${value.toFixed(value < 10 ? 2 : 1)}\u00a0ms`;
export const plural = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

export async function copyText(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = Object.assign(document.createElement("textarea"), { value: text }); // no clipboard without HTTPS
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

/** A button that copies what `text` returns, and says so. */
export class CopyButton extends Component {
  render({ text, children }, { copied }) {
    const copy = async () => {
      await copyText(text());
      this.setState({ copied: true });
    };
    const reset = () => this.setState({ copied: false });
    return html`<button type="button" class="quiet" onClick=${copy} onBlur=${reset} onPointerLeave=${reset}>
      ${copied ? "Copied" : children}
    </button>`;
  }
}
