// The workbench: which source is shown, and who gets its messages.

import { closeCamera, openCamera } from "./camera.js";
import { model, showCard } from "./card.js";
import { retheme } from "./charts.js";
import { ClipView } from "./clip.js";
import { Connection } from "./connection.js";
import { byId, element, text } from "./dom.js";
import { themes } from "./palette.js";
import { Pump } from "./pump.js";
import { Readout } from "./readout.js";
import { Shelf } from "./shelf.js";
import { Stage } from "./stage.js";
import { sourceNote } from "./words.js";

const video = byId("video");
const shelf = new Shelf();
const stage = new Stage(byId("overlay"));
const readout = new Readout(stage, shelf, named);
const clip = new ClipView();
let running = null;
let turn = 0;
let streams = [];
let settings = {};

themes(byId("theme"), retheme);

/** Whatever runs ends; the page is as before it. */
function stop() {
  turn += 1;
  running?.connection?.close();
  running?.pump?.stop();
  closeCamera(running?.camera);
  running = null;
  video.pause();
  video.srcObject = null;
  video.removeAttribute("src");
  video.load();
  readout.clear();
  for (const id of ["stop", "faces", "models"]) byId(id).disabled = true;
  for (const id of ["help", "remote"]) byId(id).hidden = true;
  byId("idle").hidden = false;
  status({ name: "idle", text: "Stopped" });
}

function status({ name, text: words }) {
  byId("status").dataset.state = name;
  text("status", words);
}

async function named(id) {
  byId("models").value = id;
  try {
    const found = await model(id);
    showCard(found);
    readout.circumplex.place(found.manifest.affect?.points);
  } catch (error) {
    text("card-title", `${id} (${error.message})`);
  }
}

/** A picture in `video`, pushed frame by frame. */
function push(kind, camera) {
  const mirrored = () => kind === "camera" && byId("mirror").checked;
  let pump = null;
  const size = () => pump.canvas;
  const connection = new Connection("/v1/live", {
    state: status,
    message: (message) => {
      switch (message.type) {
        case "session.created":
          readout.clear();
          pump.restart();
          readout.settings(message);
          connection.send({ type: "session.update", policy: "latest", ...settings });
          byId("faces").value = settings.faces ?? message.faces;
          pump.ready = true;
          break;
        case "session.updated":
          if (message.loading) readout.note(`Loading ${message.model.id}; the present model goes on meanwhile.`);
          else {
            readout.note("");
            readout.settings(message);
          }
          break;
        case "result":
          readout.result(message, size(), mirrored(), pump.landed(message.frame, message.frame));
          break;
        case "frame.dropped":
          pump.landed(...message.frames);
          readout.dropped(message);
          break;
        case "frame.rejected":
          pump.landed(message.frame, message.frame);
          readout.refused(message);
          break;
        case "error":
          readout.note(message.detail);
          break;
        case "draining":
          status({ name: "waiting", text: "The server restarts" });
          break;
      }
    },
  });
  pump = new Pump(video, connection, (number, canvas) => shelf.put(number, canvas));
  running = { kind, connection, pump, camera };
  mirror();
  for (const id of ["stop", "faces", "models"]) byId(id).disabled = false;
  byId("idle").hidden = true;
}

async function startCamera() {
  stop();
  const mine = turn;
  status({ name: "connecting", text: "Asking for the camera …" });
  byId("idle").hidden = true;
  const camera = await openCamera(video);
  if (mine !== turn) {
    closeCamera(camera);
    return;
  }
  if (camera === null) {
    status({ name: "refused", text: "No camera" });
    return;
  }
  push("camera", camera);
  camera.getVideoTracks()[0].addEventListener("ended", () => {
    if (running?.camera !== camera) return;
    stop();
    status({ name: "refused", text: "The camera was unplugged or taken away" });
  });
}

async function startDemo() {
  stop();
  const mine = turn;
  byId("idle").hidden = true;
  video.loop = true;
  video.src = "/assets/demo";
  try {
    await video.play();
  } catch (error) {
    if (mine === turn) status({ name: "refused", text: `The demo clip cannot be played: ${error.message}` });
    return;
  }
  if (mine === turn) push("demo", null);
}

/** A camera of the server: results only. */
function startStream(name) {
  stop();
  byId("idle").hidden = true;
  byId("remote").hidden = false;
  let size = streams.find((stream) => stream.name === name) ?? { width: 0, height: 0 };
  const connection = new Connection(`/v1/streams/${encodeURIComponent(name)}/events`, {
    state: status,
    opened: async () => {
      await findStreams();
      size = streams.find((stream) => stream.name === name) ?? size;
    },
    message: (message) => {
      if (message.type === "session.updated" && !message.loading) {
        readout.clear();
        readout.settings(message);
      } else if (message.type === "result") readout.result(message, size, false, null);
      else if (message.type === "frame.dropped") readout.dropped(message);
      else if (message.type === "frame.rejected") readout.refused(message);
      else if (message.type === "source") readout.note(sourceNote(message));
      else if (message.type === "error") readout.note(message.detail);
    },
  });
  running = { kind: "stream", connection };
  mirror();
  byId("stop").disabled = false;
}

function mirror() {
  const on = running?.kind === "camera";
  video.classList.toggle("mirrored", on && byId("mirror").checked);
  byId("mirror").disabled = !on;
}

function start(source) {
  byId("live-view").hidden = source === "clip";
  byId("clip-view").hidden = source !== "clip";
  history.replaceState(null, "", `#${source}`);
  if (source === "clip") stop();
  else if (source === "camera") startCamera();
  else if (source === "demo") startDemo();
  else startStream(decodeURIComponent(source.slice("stream=".length)));
  if (source === "clip") status({ name: "idle", text: "Choose a clip" });
}

async function findStreams() {
  try {
    streams = (await (await fetch("/v1/streams")).json()).streams ?? [];
  } catch {
    // The connection itself says that the server is away, and tries again.
  }
}

function offer(value, words) {
  const input = element("input", { type: "radio", name: "source", value });
  byId("sources").insertBefore(element("label", {}, input, element("span", {}, words)), byId("sources").lastElementChild);
}

async function begin() {
  const [, { demo }, models] = await Promise.all([
    findStreams(),
    fetch("/assets/page.json").then((answer) => answer.json(), () => ({})),
    fetch("/v1/models").then((answer) => answer.json(), () => ({ models: [] })),
  ]);
  if (demo) offer("demo", "Demo clip");
  for (const { name } of streams) offer(`stream=${encodeURIComponent(name)}`, name === "demo" && !demo ? "Demo clip" : `Server: ${name}`);
  const choices = models.models.filter(({ kind }) => kind === "expression");
  byId("models").replaceChildren(...choices.map(({ id, title }) => element("option", { value: id, title: title ?? id }, id)));
  if (models.default) named(models.default);
  byId("sources").addEventListener("change", (event) => start(event.target.value));
  const all = [...byId("sources").querySelectorAll("input")].map((input) => input.value);
  const asked = location.hash.slice(1);
  // Without a word from the user only what needs no permission begins.
  const first = all.includes(asked) ? asked : all.find((value) => value === "demo" || value.startsWith("stream="));
  if (!first) return;
  byId("sources").querySelector(`input[value="${CSS.escape(first)}"]`).checked = true;
  start(first);
}

function choose(source) {
  byId("sources").querySelector(`input[value="${source}"]`).checked = true;
  start(source);
}

byId("start").addEventListener("click", () => choose("camera"));
byId("retry").addEventListener("click", () => choose("camera"));
byId("stop").addEventListener("click", () => {
  stop();
  for (const input of byId("sources").querySelectorAll("input")) input.checked = false;
  byId("start").focus();
});
byId("mirror").addEventListener("change", mirror);
byId("faces").addEventListener("change", (event) => update({ faces: Number(event.target.value) }));
byId("models").addEventListener("change", (event) => update({ model: event.target.value }));

function update(change) {
  settings = { ...settings, ...change };
  running?.connection.send({ type: "session.update", ...change });
}

begin();
