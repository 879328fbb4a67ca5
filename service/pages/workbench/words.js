// Every sentence that people read and that depends on a code of the server or the browser.

export const NO_CALL = {
  "no-face": ["No face in view", "Sit in front of the camera, with the whole face in the picture."],
  "window-filling": ["Collecting frames", "A label needs a full window of frames; it comes in a moment."],
  "face-lost": ["Face out of sight", "Waiting briefly for it to come back before its window is given up."],
  "too-small": ["Face too small", "Come closer to the camera."],
  "too-dark": ["Too dark", "Put more light on the face, best from the front."],
  "blurred": ["Face blurred", "Hold still for a moment, or wipe the lens."],
  "sensor-stale": ["A sensor has stopped", "One camera of the rig sends nothing new."],
  "not-finite": ["No usable result", "The network's numbers for this window were not finite, so no label is given."],
  "backend-lost": ["Network not available", "The device that runs the network was lost; the server tries to open it again."],
};

export const REJECTED = {
  "not-an-image": "was not an image",
  "image-broken": "was damaged on its way",
  "image-too-large": "had too many pixels",
  "time-order": "was not later than the one before",
  "clock-mismatch": "came without its time",
  "unknown-rig": "belonged to a rig that the server does not know",
};

export const DROPPED = {
  superseded: "a newer frame was there",
  rate: "more frames per second than allowed",
  overload: "the machine was behind",
  closed: "the session ended",
};

const SOURCE = {
  lost: "The camera on the server was lost. Labels go on when it is back.",
  frozen: "The camera on the server sends the same picture again and again.",
  back: "The camera is back.",
  "timebase-reset": "The camera's clock jumped, so the window starts anew.",
};

const OTHER_SOURCE = {
  lost: "was lost. The others go on.",
  frozen: "gives the same picture again and again. The others go on.",
  back: "is back.",
  "timebase-reset": "has a clock that jumped. It is estimated anew.",
};

/** What a `source` message says. A rig has several: those that are not of colour are called by their names. */
export function sourceNote({ name, state, modality }) {
  if (!modality || modality === "color") return SOURCE[state] ?? "";
  return OTHER_SOURCE[state] ? `Source ${name} (${modality}) ${OTHER_SOURCE[state]}` : "";
}

export const DEGRADED = {
  rate: "The machine is behind and leaves out frames.",
  period: "The machine is behind and samples fewer frames.",
  hop: "The machine is behind and gives labels less often.",
};

export const CLOSED = {
  1008: "The server did not understand this page",
  1009: "A frame was larger than the server takes",
  1011: "The server has failed",
  1012: "The server restarts",
  1013: "The server is busy",
  4401: "The server wants a token, which this page cannot give yet",
  4403: "The server does not accept this page",
  4408: "This browser read too slowly",
  4429: "Too many connections",
};

const CAMERA = {
  NotAllowedError: [
    "The camera is blocked for this page",
    ["Open the site settings beside the address bar (a camera or a sliders symbol).", "Set Camera to Allow for this page.", "Press Try again."],
  ],
  NotFoundError: [
    "This device has no camera that the browser can see",
    ["Plug a camera in, or open its privacy shutter.", "Press Try again, or choose another source above."],
  ],
  NotReadableError: [
    "Another program holds the camera",
    ["Close the program that uses it (a call, another tab, or mien itself with a server camera).", "Press Try again."],
  ],
  OverconstrainedError: ["The camera cannot give a picture of this kind", ["Choose another camera in the browser's site settings.", "Press Try again."]],
  insecure: [
    "Browsers give a camera to secure pages only",
    ["Open this page as http://localhost or http://127.0.0.1 on the machine that runs mien.", "Or put mien behind HTTPS."],
  ],
};

/** What to do when getUserMedia fails with an error of this name. */
export function cameraHelp(name) {
  return CAMERA[name] ?? ["The camera could not be opened", [`The browser says: ${name}.`, "Press Try again, or choose another source above."]];
}

/** A class or code name as people read it. */
export function plain(name) {
  return name.replaceAll("_", " ").replaceAll("-", " ");
}

export function percent(share) {
  return `${Math.round(share * 100)} %`;
}

export function signed(value) {
  return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
}

export const AFFECT = ["valence", "arousal"];

/** What a result says of valence and arousal: both, one (not every network gives both), or nothing. */
export function affective(said) {
  return AFFECT.filter((name) => typeof said[name] === "number").map((name) => `${name} ${signed(said[name])}`).join(", ");
}

export function clock(seconds) {
  const whole = Math.max(0, seconds);
  return `${Math.floor(whole / 60)}:${(whole % 60).toFixed(1).padStart(4, "0")}`;
}
