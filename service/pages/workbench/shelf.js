// The last frames that this browser sent, small, so that keyframes can be shown without asking the server for pixels.

const COLUMNS = 16;
const ROWS = 20;
const CELL = 128;
export const THUMB = 72;

export class Shelf {
  constructor() {
    this.atlas = document.createElement("canvas");
    this.atlas.width = COLUMNS * CELL;
    this.atlas.height = ROWS * CELL;
    this.context = this.atlas.getContext("2d", { alpha: false });
    this.clear();
  }

  clear() {
    this.held = new Map();
  }

  /** Keep frame `number`; the oldest in its place goes. */
  put(number, canvas) {
    const slot = number % (COLUMNS * ROWS);
    const scale = CELL / Math.max(canvas.width, canvas.height);
    const x = (slot % COLUMNS) * CELL;
    const y = Math.floor(slot / COLUMNS) * CELL;
    this.context.drawImage(canvas, x, y, canvas.width * scale, canvas.height * scale);
    this.held.delete(number - COLUMNS * ROWS);
    this.held.set(number, { x, y, scale, width: canvas.width, height: canvas.height, boxes: new Map() });
  }

  /** Remember where a track was in a frame, so that its thumbnail shows that face. */
  mark(number, track, box) {
    this.held.get(number)?.boxes.set(track, box);
  }

  /** Draw the face of `track` in frame `number`; false if the frame is gone or never was here. */
  draw(target, number, track, mirrored) {
    const frame = this.held.get(number);
    if (!frame) return false;
    const box = frame.boxes.get(track) ?? [0, 0, frame.width, frame.height];
    const side = Math.min(Math.max(box[2] - box[0], box[3] - box[1]) * 1.35, frame.width, frame.height);
    const left = clamp((box[0] + box[2] - side) / 2, 0, frame.width - side);
    const top = clamp((box[1] + box[3] - side) / 2, 0, frame.height - side);
    const context = target.getContext("2d");
    context.save();
    if (mirrored) context.setTransform(-1, 0, 0, 1, target.width, 0);
    context.imageSmoothingQuality = "high";
    const { x, y, scale } = frame;
    context.drawImage(this.atlas, x + left * scale, y + top * scale, side * scale, side * scale, 0, 0, target.width, target.height);
    context.restore();
    return true;
  }
}

function clamp(value, low, high) {
  return Math.min(Math.max(value, low), Math.max(low, high));
}
