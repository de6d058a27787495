// A picture with an answer drawn over it.

import { draw, predictionAt } from "./drawing.js";
import { summary } from "./predictions.js";
import { change, state, update } from "./store.js";
import { Component, createRef, html } from "./ui.js";

/** `side`: 0, or 1 for the second of two compared answers. `indices`: predictions to draw; `marked`: those drawn dashed. */
export class Stage extends Component {
  canvas = createRef();

  componentDidMount() {
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.canvas.current);
    this.draw();
  }

  componentDidUpdate() {
    this.draw();
  }

  componentWillUnmount() {
    this.observer.disconnect();
  }

  scene() {
    const { picture, answer, indices, marked, side } = this.props;
    return {
      image: picture.image,
      predictions: answer.predictions,
      indices,
      marked,
      opacity: state.opacity,
      hover: state.hover?.side === side ? state.hover.index : null,
      heat: picture.why?.side === side ? picture.why.answer : null,
    };
  }

  draw() {
    const { answer } = this.props;
    const canvas = this.canvas.current;
    if (answer) draw(canvas, this.scene());
    else canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
  }

  point(event) {
    const { answer, picture, side } = this.props;
    if (!answer) return;
    const { left, top, width, height } = this.canvas.current.getBoundingClientRect();
    const { image } = picture;
    const x = ((event.clientX - left) / width) * image.width;
    const y = ((event.clientY - top) / height) * image.height;
    const index = predictionAt(this.scene(), x, y);
    if (index !== (state.hover?.index ?? null)) update({ hover: index === null ? null : { side, index } });
  }

  render({ picture, answer, indices, title }) {
    const { image, undecodable } = picture;
    const blank = undecodable && image ? { aspectRatio: `${image.width} / ${image.height}` } : null;
    const fail = () => change(picture, { undecodable: true });
    const text = answer
      ? `Drawn over the picture: ${summary(answer, indices)}. The table has the same numbers.`
      : "Nothing is drawn yet.";
    return html`<figure class="stage">
      ${title && html`<figcaption class="stage-title">${title}</figcaption>`}
      <div class=${`frame ${undecodable ? "blank" : ""}`} style=${blank}>
        ${
          undecodable
            ? html`<p>${image ? `This browser cannot show the format ${image.format}. The answer is drawn on an empty frame.` : "This browser cannot show this file."}</p>`
            : html`<img src=${picture.url} alt=${picture.name} onError=${fail} />`
        }
        <canvas
          ref=${this.canvas}
          role="img"
          aria-label=${text}
          hidden=${state.bare}
          onPointerMove=${(event) => this.point(event)}
          onPointerLeave=${() => update({ hover: null })}
        ></canvas>
      </div>
    </figure>`;
  }
}

export function PictureFacts({ picture }) {
  const { image, file, name } = picture;
  const size = image && `${image.format} · ${image.width} × ${image.height} · `;
  return html`<p class="facts"><strong>${name}</strong> ${size}${Math.ceil(file.size / 1024).toLocaleString("en")} KB</p>`;
}
