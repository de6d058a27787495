// A picture from the camera: live where the context is secure, otherwise through the device's own camera application.

import { addPictures } from "./send.js";
import { notify } from "./store.js";
import { Component, createRef, html } from "./ui.js";

const isLive = Boolean(navigator.mediaDevices?.getUserMedia);

export function CameraButton() {
  if (isLive) return html`<${LiveCamera} />`;
  const take = (event) => addPictures([...event.target.files]);
  return html`<label class="button">Camera<input class="visually-hidden" type="file" accept="image/*" capture="environment" onChange=${take} /></label>`;
}

/** Returns the reason why there is no live camera, or null. */
export const cameraNote = isLive
  ? null
  : "A live camera needs HTTPS or localhost. The camera button opens the camera of a phone or tablet instead.";

class LiveCamera extends Component {
  dialog = createRef();
  video = createRef();

  async open() {
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    } catch (error) {
      return notify(
        error.name === "NotAllowedError" ? "The browser did not allow the camera." : "No camera was found.",
        true,
      );
    }
    this.video.current.srcObject = this.stream;
    this.dialog.current.showModal();
  }

  stop() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = null;
  }

  componentWillUnmount() {
    this.stop();
  }

  async take() {
    const { videoWidth, videoHeight } = this.video.current;
    const canvas = new OffscreenCanvas(videoWidth, videoHeight);
    canvas.getContext("2d").drawImage(this.video.current, 0, 0);
    const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.95 });
    this.dialog.current.close();
    addPictures([new File([blob], "camera.jpg", { type: "image/jpeg" })]);
  }

  render() {
    return html`
      <button type="button" onClick=${() => this.open()}>Camera</button>
      <dialog ref=${this.dialog} class="camera" aria-label="Camera" onClose=${() => this.stop()}>
        <video ref=${this.video} autoplay playsinline muted></video>
        <div class="row spread">
          <button type="button" class="quiet" onClick=${() => this.dialog.current.close()}>Close</button>
          <button type="button" class="primary" autofocus onClick=${() => this.take()}>Take the picture</button>
        </div>
      </dialog>
    `;
  }
}
