// What is drawn over the picture: boxes, keypoints, track numbers.

import { colourOf } from "./palette.js";
import { affective, percent, plain } from "./words.js";

export class Stage {
  /** @param {HTMLCanvasElement} canvas  lies over the picture and has its shape */
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.labels = new Map();
    new ResizeObserver(() => this.fit()).observe(canvas);
  }

  fit() {
    const ratio = Math.min(devicePixelRatio || 1, 2);
    const { clientWidth, clientHeight } = this.canvas;
    this.canvas.width = Math.round(clientWidth * ratio);
    this.canvas.height = Math.round(clientHeight * ratio);
    if (this.last) this.draw(...this.last);
  }

  clear() {
    this.last = null;
    this.labels.clear();
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
  }

  /** Forget what tracks were called: another time of the clip, another session. */
  forget() {
    this.labels.clear();
  }

  /**
   * Draw the faces of a result.
   * @param {object[]} faces  as the server gives them
   * @param {{width: number, height: number}} size  of the frame they are measured in
   * @param {boolean} mirrored  whether the picture beneath is
   * @param {number | null} chosen  the track that the charts show
   */
  draw(faces, size, mirrored, chosen) {
    this.last = [faces, size, mirrored, chosen];
    const { context, canvas } = this;
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (!size.width || !canvas.width) return;
    // The picture is fitted into its box as CSS `object-fit: contain` does.
    const scale = Math.min(canvas.width / size.width, canvas.height / size.height);
    const left = (canvas.width - size.width * scale) / 2;
    const top = (canvas.height - size.height * scale) / 2;
    const at = ([x, y]) => [left + (mirrored ? size.width - x : x) * scale, top + y * scale];
    const unit = canvas.width / Math.max(canvas.clientWidth, 1);
    for (const face of faces) this.face(face, at, unit, faces.length === 1 || face.track === chosen);
  }

  face(face, at, unit, chosen) {
    const { context } = this;
    if (face.prediction) this.labels.set(face.track, face.prediction);
    const said = this.labels.get(face.track);
    const colour = said?.label ? colourOf(said.label) : "#ffffff";
    const corners = [at(face.bbox.slice(0, 2)), at(face.bbox.slice(2))];
    const x = Math.min(corners[0][0], corners[1][0]);
    const [y, width, height] = [corners[0][1], Math.abs(corners[1][0] - corners[0][0]), corners[1][1] - corners[0][1]];
    context.globalAlpha = face.score === null ? 0.45 : 1;
    context.setLineDash(face.tentative || face.score === null ? [6 * unit, 5 * unit] : []);
    for (const [stroke, thick] of [["rgb(0 0 0 / 45%)", chosen ? 5 : 3.5], [colour, chosen ? 2.5 : 1.5]]) {
      context.strokeStyle = stroke;
      context.lineWidth = thick * unit;
      context.beginPath();
      context.roundRect(x, y, width, height, 10 * unit);
      context.stroke();
    }
    context.setLineDash([]);
    for (const point of Object.values(face.keypoints)) this.point(at(point), colour, unit);
    const words = [`#${face.track}`];
    if (face.tentative) words.push("new");
    else if (face.score === null) words.push("out of sight");
    else if (said?.label) words.push(plain(said.label), percent(said.scores[0].probability));
    else if (said) words.push(affective(said));
    this.tag(words.join("  "), x, y, colour, unit);
    context.globalAlpha = 1;
  }

  point([x, y], colour, unit) {
    const { context } = this;
    context.beginPath();
    context.arc(x, y, 2.6 * unit, 0, 2 * Math.PI);
    context.fillStyle = colour;
    context.strokeStyle = "rgb(0 0 0 / 60%)";
    context.lineWidth = unit;
    context.fill();
    context.stroke();
  }

  tag(text, x, y, colour, unit) {
    const { context } = this;
    context.font = `600 ${13 * unit}px system-ui, sans-serif`;
    const width = context.measureText(text).width + 16 * unit;
    const height = 22 * unit;
    const left = Math.min(Math.max(x, 0), this.canvas.width - width);
    const top = y - height - 5 * unit < 0 ? y + 5 * unit : y - height - 5 * unit;
    context.fillStyle = "rgb(15 18 24 / 82%)";
    context.beginPath();
    context.roundRect(left, top, width, height, 7 * unit);
    context.fill();
    context.fillStyle = colour;
    context.textBaseline = "middle";
    context.fillText(text, left + 8 * unit, top + height / 2 + unit * 0.5);
  }
}
