// This browser's camera: asking for it, and explaining when there is none.

import { byId, element, text } from "./dom.js";
import { cameraHelp } from "./words.js";

/**
 * Show the camera in `video`; return its stream, or null after explaining why there is none.
 * @param {HTMLVideoElement} video
 */
export async function openCamera(video) {
  byId("help").hidden = true;
  if (!navigator.mediaDevices?.getUserMedia) return explained("insecure");
  try {
    const stream = await navigator.mediaDevices.getUserMedia({
      audio: false,
      video: { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 }, facingMode: "user" },
    });
    video.srcObject = stream;
    await video.play();
    return stream;
  } catch (error) {
    return explained(error.name);
  }
}

export function closeCamera(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

function explained(name) {
  const [title, steps] = cameraHelp(name);
  text("help-title", title);
  byId("help-steps").replaceChildren(...steps.map((step) => element("li", {}, step)));
  byId("help").hidden = false;
  byId("help").dataset.error = name;
  byId("help").focus();
  return null;
}
