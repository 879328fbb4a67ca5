// A clip of the user's: sent, waited for, then shown beside its labels.

import { model } from "./card.js";
import { Distribution, Timeline } from "./charts.js";
import { byId, element, text } from "./dom.js";
import { colourOf } from "./palette.js";
import { Stage } from "./stage.js";
import { AFFECT, affective, clock, percent, plain } from "./words.js";

const POLL_MS = 400;
const FORMATS = { JSON: "json", NDJSON: "ndjson", CSV: "csv", "Subtitles (VTT)": "vtt" };

/** The label of a window, a moment or a clip, or its valence and arousal where the model has no labels. */
const saying = (said) => (said.label ? plain(said.label) : affective(said));

export class ClipView {
  constructor() {
    this.video = byId("clip-video");
    this.stage = new Stage(byId("clip-overlay"));
    this.distribution = new Distribution(byId("clip-distribution"));
    this.timeline = new Timeline(byId("clip-timeline"), { ticks: clock, picked: (seconds) => this.seek(seconds) });
    this.file = null;
    this.job = 0;
    byId("file").addEventListener("change", (event) => this.choose(event.target.files[0]));
    byId("upload").addEventListener("submit", (event) => {
      event.preventDefault();
      this.analyse().catch((error) => this.failed(error.message));
    });
    byId("cancel").addEventListener("click", () => this.cancel());
    byId("scrub").addEventListener("input", (event) => this.seek(Number(event.target.value)));
    this.dropping(byId("drop"));
    const follow = () => this.follow();
    for (const name of ["timeupdate", "seeked", "loadeddata"]) this.video.addEventListener(name, follow);
    this.video.addEventListener("error", () => this.unplayable());
    const frame = () => {
      if (!this.video.paused) follow();
      this.video.requestVideoFrameCallback?.(frame);
    };
    this.video.requestVideoFrameCallback?.(frame);
  }

  dropping(zone) {
    const stop = (event) => {
      event.preventDefault();
      zone.classList.toggle("over", event.type === "dragover");
    };
    for (const name of ["dragover", "dragleave", "drop"]) zone.addEventListener(name, stop);
    zone.addEventListener("drop", (event) => this.choose(event.dataTransfer.files[0]));
  }

  choose(file) {
    if (!file) return;
    this.file = file;
    text("chosen", file.name);
    byId("send").disabled = false;
    this.say(`${(file.size / 1e6).toFixed(1)} MB. It is deleted as soon as it is analysed; its results are kept for a day.`);
  }

  say(words, bad = false) {
    text("clip-state", words);
    byId("clip-state").toggleAttribute("data-bad", bad);
  }

  failed(words) {
    this.say(words, true);
    this.busy(false);
  }

  busy(yes) {
    byId("send").disabled = yes || !this.file;
    byId("cancel").hidden = byId("progress").hidden = !yes;
    byId("progress").value = 0;
  }

  async analyse() {
    const job = ++this.job;
    const file = this.file;
    this.address = null;
    this.busy(true);
    for (const id of ["clip-picture", "clip-whole", "clip-course"]) byId(id).hidden = true;
    const form = new FormData();
    const options = { faces: Number(byId("clip-faces").value), allow_partial: byId("partial").checked };
    form.append("options", JSON.stringify(options));
    form.append("file", file, file.name);
    this.address = await this.send(form);
    if (job !== this.job) return;
    const state = await this.wait(job);
    if (state === null) return;
    const answer = await fetch(`${this.address}/result.json`);
    const result = await answer.json();
    if (!answer.ok) throw new Error(told(result));
    const { manifest } = await model(result.model.id);
    if (job !== this.job) return;
    this.busy(false);
    this.labels = manifest.labels;
    this.show(result, file, state.partial);
  }

  /** Send the form; a fetch cannot tell how much of it has gone. */
  send(form) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      this.request = request;
      request.open("POST", "/v1/clips");
      request.responseType = "json";
      request.upload.onprogress = ({ loaded, total }) => {
        byId("progress").value = loaded / total;
        this.say(`Sending: ${percent(loaded / total)}`);
      };
      request.upload.onload = () => this.say("Sent; the server takes it in …");
      request.onload = () => {
        if (request.status < 300) resolve(new URL(request.getResponseHeader("Location"), location.href).pathname);
        else reject(new Error(told(request.response, request.status)));
      };
      request.onerror = () => reject(new Error("The server cannot be reached. Try again in a moment."));
      request.onabort = () => reject(new Error("Cancelled."));
      request.send(form);
    });
  }

  /** Ask until the clip is done; null if another job has begun. */
  async wait(job) {
    for (let missed = 0; ; ) {
      if (job !== this.job) return null;
      const state = await fetch(this.address).then((answer) => answer.json(), () => null);
      if (job !== this.job) return null;
      if (state === null) {
        missed += 1;
        this.say(`The server cannot be reached; the clip is safe there. Asking again (attempt ${missed}).`);
      } else {
        missed = 0;
        if (state.code || state.error) throw new Error(told(state.error ?? state));
        if (state.state === "done") return state;
        byId("progress").value = state.progress ?? 0;
        const of = state.frames?.expected ? ` of ${state.frames.expected}` : "";
        const before = state.ahead ? `, ${state.ahead} before it` : "";
        this.say(state.state === "queued" ? `Waiting for its turn${before} …` : `Analysing: ${state.frames?.decoded ?? 0}${of} frames`);
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS * Math.min(1 + missed, 8)));
    }
  }

  cancel() {
    this.job += 1;
    this.request?.abort();
    if (this.address) fetch(this.address, { method: "DELETE" }).catch(() => {});
    this.failed("Cancelled; nothing of the clip is kept.");
  }

  show(result, file, partial) {
    this.result = result;
    this.events = result.events.filter((event) => event.type === "result");
    this.tracks = [...new Set([...result.clip_prediction, ...result.trace].map(({ track }) => track))].sort((a, b) => a - b);
    this.chosen = this.tracks[0] ?? null;
    if (this.source) URL.revokeObjectURL(this.source);
    this.source = URL.createObjectURL(file);
    byId("clip-note").hidden = true;
    this.stage.clear();
    this.video.src = this.source;
    for (const id of ["clip-picture", "clip-whole", "clip-course"]) byId(id).hidden = false;
    const { decoded, expected, with_face: withFace } = result.frames;
    const part = partial ? ` Only ${decoded} of ${expected} frames could be read.` : "";
    this.say(`Done: ${decoded} frames, ${withFace} with a face.${part}`);
    this.downloads();
    this.pick(this.chosen);
    byId("clip-whole").scrollIntoView({ block: "nearest" });
  }

  downloads() {
    const links = Object.entries(FORMATS).map(([name, suffix]) =>
      element("a", { href: `${this.address}/result.${suffix}`, download: `${this.file.name}.${suffix}` }, `Download ${name}`),
    );
    const erase = element("button", { type: "button", id: "erase" }, "Delete from the server");
    erase.addEventListener("click", async () => {
      await fetch(this.address, { method: "DELETE" });
      byId("downloads").replaceChildren("Deleted from the server.");
    });
    byId("downloads").replaceChildren(...links, erase);
  }

  pick(track) {
    this.chosen = track;
    const whole = this.result.clip_prediction.find((found) => found.track === track);
    const best = whole?.scores[0];
    text("clip-label", whole ? saying(whole) : "No label");
    const detail = best ? `expression of face #${track} over the clip, ${percent(best.probability)}` : `face #${track} over the clip`;
    text("clip-label-detail", whole ? detail : "No face was seen long enough.");
    byId("clip-whole").style.setProperty("--label", whole?.label ? colourOf(whole.label) : "transparent");
    const { labels } = this;
    this.distribution.offer(labels.length > 0);
    this.distribution.show(labels, whole ? new Map(whole.scores.map(({ name, probability }) => [name, probability])) : null);
    const trace = this.result.trace.filter((value) => value.track === track);
    const points = trace.map((value) => {
      const by = new Map(value.scores.map(({ name, probability }) => [name, probability]));
      return { x: value.t_ns / 1e9, shares: labels.length ? labels.map((label) => by.get(label) ?? 0) : AFFECT.map((name) => value[name] ?? NaN) };
    });
    this.end = (this.events.at(-1)?.t_ns ?? 0) / 1e9;
    this.trace = trace;
    byId("scrub").max = this.end;
    this.timeline.show(labels, points, [0, Math.max(this.end, 0.1)]);
    const chips = byId("clip-tracks");
    chips.hidden = this.tracks.length < 2;
    chips.replaceChildren(
      ...this.tracks.map((number) => {
        const chip = element("button", { type: "button", className: "chip" }, `face #${number}`);
        chip.setAttribute("aria-pressed", String(number === track));
        chip.addEventListener("click", () => this.pick(number));
        return chip;
      }),
    );
    this.follow();
  }

  seek(seconds) {
    const to = Math.min(Math.max(seconds, 0), this.end);
    if (this.video.error || !this.video.videoWidth) this.at(to);
    else this.video.currentTime = to;
  }

  follow() {
    if (this.result) this.at(this.video.currentTime);
  }

  /** Show one moment of the clip. */
  at(seconds) {
    const event = latest(this.events, seconds);
    const value = latest(this.trace, seconds);
    if (document.activeElement !== byId("scrub") || !this.video.paused) byId("scrub").value = seconds;
    byId("scrub").setAttribute("aria-valuetext", `${clock(seconds)}, ${value ? saying(value) : "no label"}`);
    const said = value?.label ? `${plain(value.label)} ${percent(value.scores[0].probability)}` : value ? saying(value) : "no label";
    text("clip-now", `${clock(seconds)} · ${said}`);
    this.timeline.mark(seconds);
    if (!event) return;
    const values = new Map(this.result.trace.filter(({ frame }) => frame === event.frame).map((found) => [found.track, found]));
    const faces = event.faces.map((face) => ({ ...face, prediction: values.get(face.track) ?? face.prediction }));
    this.stage.forget();
    this.stage.draw(faces, { width: this.video.videoWidth, height: this.video.videoHeight }, false, this.chosen);
  }

  unplayable() {
    if (!this.result) return;
    text("clip-note", "This browser cannot play the clip, but its results are here: move the time below.");
    byId("clip-note").hidden = false;
  }
}

/** The last of a list in time order that is not later than `seconds`. */
function latest(list, seconds) {
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle].t_ns / 1e9 <= seconds + 1e-6) low = middle + 1;
    else high = middle;
  }
  return list[Math.max(low - 1, 0)];
}

function told(problem, status) {
  if (!problem) return `The server answered with status ${status}.`;
  return problem.detail ? `${problem.title ? `${problem.title}. ` : ""}${problem.detail}` : plain(problem.code ?? "failed");
}
