// What a live session says, on the page: label, charts, keyframes, figures.

import { ago, Circumplex, Distribution, Timeline } from "./charts.js";
import { byId, element, text } from "./dom.js";
import { History, Rate, SPAN_S } from "./history.js";
import { colourOf } from "./palette.js";
import { THUMB } from "./shelf.js";
import { AFFECT, affective, DEGRADED, DROPPED, NO_CALL, percent, plain, REJECTED } from "./words.js";

const REDRAW_MS = 200;

export class Readout {
  /** @param {import("./stage.js").Stage} stage @param {import("./shelf.js").Shelf} shelf @param {(id: string) => void} named */
  constructor(stage, shelf, named) {
    this.stage = stage;
    this.shelf = shelf;
    this.named = named;
    this.distribution = new Distribution(byId("distribution"));
    this.circumplex = new Circumplex(byId("circumplex"));
    this.timeline = new Timeline(byId("timeline"), { ticks: ago, stepSize: 30 });
    this.rate = new Rate();
    this.labelAge = new Rate();
    this.trip = new Rate();
    this.clear();
    setInterval(() => this.redraw(), REDRAW_MS);
  }

  /** Another source, or a new session of it. */
  clear() {
    this.labels ??= [];
    this.chosen = null;
    this.began = null;
    this.noFace = null;
    this.shown = null;
    this.tracks = new Map();
    this.drops = {};
    this.rejected = 0;
    this.backend = null;
    this.degraded = null;
    this.dirty = true;
    for (const rate of [this.rate, this.labelAge, this.trip]) rate.clear();
    this.shelf.clear();
    this.stage.clear();
    this.note("");
    byId("keyframes").replaceChildren();
    text("keyframes-note", "They appear with the first label.");
    byId("random").hidden = true;
    text("label", "–");
    text("label-detail", "Waiting for frames");
    byId("label-fill").value = 0;
    byId("tracks").replaceChildren();
    text("affect", "");
    byId("derived").hidden = true;
    document.documentElement.style.removeProperty("--label");
  }

  settings(message) {
    this.labels = message.labels;
    this.window = message.window;
    this.named(message.model.id);
    this.distribution.offer(this.labels.length > 0);
    // Seconds from label to label, where frames are sampled at a pace of their own.
    this.pace = Math.max(1, Math.ceil((message.window.hop * (message.window.period_ms ?? 0)) / 1000));
    const every = message.window.period_ms ? `, one frame each ${message.window.period_ms} ms` : "";
    text("window", `${message.window.frames} of ${message.window.buffer} frames, a label every ${message.window.hop}${every}`);
    this.dirty = true;
  }

  note(words) {
    text("note", words);
    byId("note").hidden = !words;
  }

  /**
   * @param {object} result
   * @param {{width: number, height: number}} size  of the frames that boxes are measured in
   * @param {boolean} mirrored
   * @param {number | null} tripMs  from taking the frame to now, where this browser took it
   */
  result(result, size, mirrored, tripMs) {
    this.rate.add(null);
    this.began ??= Date.now();
    this.labelAge.add(result.delivery.age_ms);
    if (tripMs !== null) this.trip.add(tripMs);
    this.mirrored = mirrored;
    this.backend = result.backend;
    this.degraded = result.delivery.degraded ?? null;
    byId("random").hidden = result.weights !== "random";
    for (const face of result.faces) {
      this.shelf.mark(result.frame, face.track, face.bbox);
      const track = this.tracks.get(face.track) ?? { history: new History(), prediction: null, noCall: null };
      track.at = performance.now();
      if (face.prediction) {
        const scores = new Map(face.prediction.scores.map(({ name, probability }) => [name, probability]));
        Object.assign(track, { prediction: face.prediction, scores, noCall: null });
        const shares = this.labels.map((label) => scores.get(label) ?? 0);
        track.history.add(Date.now(), shares.length ? shares : AFFECT.map((name) => face.prediction[name] ?? NaN), face.prediction);
      } else if (face.no_call) {
        track.noCall = face.no_call;
      }
      this.tracks.set(face.track, track);
    }
    this.noFace = result.faces.length ? null : (result.no_call ?? this.noFace);
    this.choose(result.faces);
    this.stage.draw(result.faces, size, mirrored, this.chosen);
    if (result.due) this.headline(this.tracks.get(this.chosen));
    this.dirty = true;
  }

  /** Stay with a track while it is seen; then take the largest box. */
  choose(faces) {
    if (!faces.length || faces.some((face) => face.track === this.chosen)) return;
    const area = ({ bbox: [x0, y0, x1, y1] }) => (x1 - x0) * (y1 - y0);
    this.chosen = faces.reduce((best, face) => (area(face) > area(best) ? face : best)).track;
    const cut = performance.now() - SPAN_S * 1000;
    for (const [number, track] of this.tracks) if (track.at < cut) this.tracks.delete(number);
  }

  dropped({ frames: [first, last], reason }) {
    this.drops[reason] = (this.drops[reason] ?? 0) + last - first + 1;
    this.dirty = true;
  }

  refused({ code, frame }) {
    this.rejected += 1;
    this.note(`Frame ${frame} ${REJECTED[code] ?? plain(code)}.`);
    this.dirty = true;
  }

  redraw() {
    this.figures();
    if (!this.dirty || document.hidden) return;
    this.dirty = false;
    const track = this.tracks.get(this.chosen);
    this.headline(track);
    this.distribution.show(this.labels, track?.scores ?? null);
    this.circumplex.show(track?.history.trail ?? [], track?.prediction?.label ?? null);
    this.timeline.show(this.labels, track?.history.points(Date.now(), this.pace) ?? [], [-this.span(), 0]);
    this.chips();
    if (track?.prediction) this.keyframes(track.prediction.window);
  }

  /** Seconds that the timeline shows: a minute at first, then what there is, at most all that is kept. */
  span() {
    const all = (Date.now() - (this.began ?? Date.now())) / 1000;
    return Math.min(Math.max(60, Math.ceil(all / 30) * 30), SPAN_S);
  }

  headline(track) {
    const prediction = track?.prediction ?? null;
    const code = this.noFace ?? track?.noCall?.code ?? null;
    if (code) {
      const [title, advice] = NO_CALL[code] ?? [plain(code), ""];
      text("label", title);
      text("label-detail", advice);
      byId("label").dataset.code = code;
      byId("label-fill").value = track?.noCall?.filled ?? 0;
      byId("label-fill").hidden = code !== "window-filling";
    } else if (prediction) {
      text("label", prediction.label ? plain(prediction.label) : affective(prediction));
      const best = prediction.scores[0];
      text("label-detail", best ? `expression of face #${this.chosen}, ${percent(best.probability)}` : `face #${this.chosen}`);
      delete byId("label").dataset.code;
      byId("label-fill").hidden = true;
    }
    if (!prediction) return;
    document.documentElement.style.setProperty("--label", prediction.label && !code ? colourOf(prediction.label) : "transparent");
    const said = prediction.scores.map(({ name, probability }) => `${plain(name)} ${percent(probability)}`).join(", ");
    byId("distribution").setAttribute("aria-label", `Label distribution: ${said}`);
    const pair = affective(prediction);
    if (!pair) return;
    text("affect", `${pair}.`);
    byId("circumplex").setAttribute("aria-label", `Circumplex: ${pair}`);
    byId("derived").hidden = !prediction.derived;
  }

  chips() {
    const now = performance.now();
    const seen = [...this.tracks].filter(([, track]) => now - track.at < 1500).map(([number]) => number);
    const key = `${seen}|${this.chosen}`;
    const list = byId("tracks");
    if (list.dataset.key === key) return;
    const focused = list.contains(document.activeElement) ? document.activeElement.dataset.track : null;
    list.dataset.key = key;
    list.hidden = seen.length < 2;
    list.replaceChildren(
      ...seen.map((number) => {
        const chip = element("button", { type: "button", className: "chip" }, `face #${number}`);
        chip.dataset.track = number;
        chip.setAttribute("aria-pressed", String(number === this.chosen));
        chip.addEventListener("click", () => {
          this.chosen = number;
          this.dirty = true;
        });
        return chip;
      }),
    );
    if (focused) list.querySelector(`[data-track="${focused}"]`)?.focus();
  }

  keyframes(window) {
    const list = byId("keyframes");
    if (this.shown === window) return;
    this.shown = window;
    while (list.children.length > window.frames.length) list.lastChild.remove();
    while (list.children.length < window.frames.length) {
      const canvas = element("canvas", { width: THUMB * 2, height: THUMB * 2 });
      canvas.setAttribute("role", "presentation");
      list.append(element("li", {}, canvas, element("span", {})));
    }
    let missing = 0;
    window.frames.forEach((number, index) => {
      const [canvas, caption] = list.children[index].children;
      const drawn = this.shelf.draw(canvas, number, this.chosen, this.mirrored);
      if (!drawn) missing += 1;
      list.children[index].classList.toggle("empty", !drawn);
      canvas.hidden = !drawn;
      caption.textContent = number;
    });
    const how = window.keyframes ? "chosen as keyframes out of" : "of";
    const from = `${window.frames.length} frames ${how} ${window.candidates[0]}–${window.candidates[1]}, ${(window.span_ms / 1000).toFixed(1)} s`;
    text("keyframes-note", missing === window.frames.length ? `${from}. Their pictures stay on the server.` : `${from}. Drawn from this browser's own frames.`);
  }

  figures() {
    const fps = this.rate.perSecond;
    text("fps", fps === null ? "–" : fps.toFixed(fps < 9.95 ? 1 : 0));
    const age = this.labelAge.median;
    text("age", age === null ? "–" : `${age.toFixed(0)} ms`);
    const trip = this.trip.median;
    text("trip", trip === null ? "–" : `${trip.toFixed(0)} ms`);
    const drops = Object.entries(this.drops);
    const count = drops.reduce((sum, [, n]) => sum + n, 0);
    text("drops", String(count + this.rejected));
    const reasons = drops.map(([reason, n]) => `${n}: ${DROPPED[reason] ?? reason}`);
    if (this.rejected) reasons.push(`${this.rejected}: refused by the server`);
    text("drops-why", reasons.join("; "));
    const device = this.backend?.split(":").at(-1).replace("ExecutionProvider", "");
    text("backend", device ?? "–");
    text("backend-whole", this.backend ? `with ${this.backend.split(":")[0]}` : "");
    byId("backend").title = this.backend ?? "";
    text("degraded", this.degraded ? DEGRADED[this.degraded] : "");
  }
}
