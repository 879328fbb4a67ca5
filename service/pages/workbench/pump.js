// Frames of a <video> to the server, the newest always, at most two on the way.

const IN_FLIGHT = 2;
const LONGEST_SIDE = 640;
const QUALITY = 0.85;
const STUCK_MS = 3000;
const CLOSEST_MS = 20;

/** Number frames as the server does: from 1, in the order in which they are sent. */
export class Pump {
  /**
   * @param {HTMLVideoElement} video
   * @param {import("./connection.js").Connection} connection
   * @param {(number: number, canvas: HTMLCanvasElement) => void} onFrame  called as frame `number` is sent
   */
  constructor(video, connection, onFrame) {
    this.video = video;
    this.connection = connection;
    this.onFrame = onFrame;
    this.canvas = document.createElement("canvas");
    this.context = this.canvas.getContext("2d", { alpha: false, willReadFrequently: true });
    this.stopped = false;
    this.restart();
    this.next();
  }

  /** A new session counts from 1 again. */
  restart() {
    this.sent = 0;
    this.lastNs = 0;
    this.lastAt = this.sentAt = -Infinity;
    this.ready = false;
    this.flying = new Map();
  }

  next() {
    if (this.stopped) return;
    const again = (now, meta) => {
      this.frame(meta?.captureTime ?? now);
      this.next();
    };
    if (this.video.requestVideoFrameCallback) this.video.requestVideoFrameCallback(again);
    else requestAnimationFrame((now) => again(now));
  }

  frame(capturedMs) {
    const now = performance.now();
    for (const [number, frame] of this.flying) if (now - frame.at > STUCK_MS) this.flying.delete(number);
    if (!this.ready || this.encoding || this.stopped || !this.connection.open) return;
    if (this.flying.size >= IN_FLIGHT || this.connection.waiting > 0 || !this.video.videoWidth) return;
    const scale = Math.min(1, LONGEST_SIDE / Math.max(this.video.videoWidth, this.video.videoHeight));
    const width = Math.round(this.video.videoWidth * scale);
    const height = Math.round(this.video.videoHeight * scale);
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    this.context.drawImage(this.video, 0, 0, width, height);
    this.encoding = true;
    this.canvas.toBlob((jpeg) => this.send(jpeg, capturedMs, now), "image/jpeg", QUALITY);
  }

  send(jpeg, capturedMs, at) {
    this.encoding = false;
    // A camera that stutters may give two at once; the server would leave one out.
    if (at - this.lastAt < CLOSEST_MS || performance.now() - this.sentAt < CLOSEST_MS) return;
    if (jpeg === null || this.stopped || !this.ready || !this.connection.open) return;
    // Whole microseconds keep the integer exact in a double.
    const ns = Math.max(Math.round(capturedMs * 1000) * 1000, this.lastNs + 1000);
    this.lastNs = ns;
    const header = new TextEncoder().encode(
      JSON.stringify({ t_capture_ns: ns, parts: [{ modality: "color", format: "jpeg", bytes: jpeg.size }] }),
    );
    const length = new DataView(new ArrayBuffer(4));
    length.setUint32(0, header.length, true);
    this.sent += 1;
    this.lastAt = at;
    this.sentAt = performance.now();
    this.flying.set(this.sent, { at });
    this.onFrame(this.sent, this.canvas);
    this.connection.send(new Blob([length, header, jpeg]));
  }

  /** The server has said what became of frames first to last; return ms since the last of them was taken, if known. */
  landed(first, last) {
    const frame = this.flying.get(last);
    for (const number of [...this.flying.keys()]) if (number >= first && number <= last) this.flying.delete(number);
    return frame ? performance.now() - frame.at : null;
  }

  stop() {
    this.stopped = true;
  }
}
