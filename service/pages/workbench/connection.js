// One WebSocket that comes back by itself, and says how it is.

import { CLOSED } from "./words.js";

const FIRST_S = 0.5;
const LONGEST_S = 5;
const HOPELESS = new Set([1003, 1007, 1008, 1009, 4401, 4403]);

/**
 * @param {string} path  an address of this server
 * @param {{message: (m: object) => void, opened?: () => void, state: (s: {name: string, text: string}) => void}} on
 */
export class Connection {
  constructor(path, on) {
    this.path = path;
    this.on = on;
    this.socket = null;
    this.failures = 0;
    this.ended = false;
    this.lastError = null;
    this.soon = () => this.socket === null && this.connect();
    addEventListener("online", this.soon);
    this.connect();
  }

  get open() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  /** Bytes that wait in the browser. */
  get waiting() {
    return this.socket?.bufferedAmount ?? 0;
  }

  connect() {
    if (this.ended) return;
    clearTimeout(this.timer);
    if (this.failures === 0) this.say("connecting", "Connecting …");
    const address = new URL(this.path, location.href);
    address.protocol = address.protocol.replace("http", "ws");
    const socket = new WebSocket(address, "mien.v1");
    this.socket = socket;
    socket.onmessage = (event) => {
      if (socket === this.socket) this.heard(JSON.parse(event.data));
    };
    socket.onopen = () => {
      if (socket === this.socket) this.on.opened?.();
    };
    socket.onclose = (event) => {
      if (socket === this.socket) this.lost(event.code);
    };
  }

  heard(message) {
    if (message.type === "error") this.lastError = message;
    if (this.failures > 0 || !this.said) {
      this.said = true;
      this.failures = 0;
      this.say("open", "Connected");
    }
    this.on.message(message);
  }

  send(data) {
    if (this.open) this.socket.send(typeof data === "string" || data instanceof Blob ? data : JSON.stringify(data));
  }

  async lost(code) {
    this.socket = null;
    this.said = false;
    if (this.ended) return;
    if (HOPELESS.has(code)) {
      this.say("refused", `${CLOSED[code] ?? "The server closed the connection"}${this.lastError ? `: ${this.lastError.detail}` : ""}. Choose the source again to retry.`);
      return;
    }
    const pause = Math.min(LONGEST_S, FIRST_S * 2 ** this.failures) * (0.8 + 0.4 * Math.random());
    this.failures += 1;
    const until = performance.now() + pause * 1000;
    const reason = CLOSED[code] ?? (await whyNot());
    if (this.ended || this.socket !== null) return;
    this.countdown(reason, until);
  }

  countdown(reason, until) {
    const left = Math.ceil((until - performance.now()) / 1000);
    if (left <= 0) {
      this.say("waiting", `${reason}. Connecting again …`);
      this.connect();
      return;
    }
    this.say("waiting", `${reason}. Connecting again in ${left} s (attempt ${this.failures}).`);
    this.timer = setTimeout(() => this.countdown(reason, until), Math.min(1000, until - performance.now()));
  }

  say(name, text) {
    this.on.state({ name, text });
  }

  close() {
    this.ended = true;
    clearTimeout(this.timer);
    removeEventListener("online", this.soon);
    const socket = this.socket;
    this.socket = null;
    socket?.close(1000);
  }
}

/** A browser does not tell why a WebSocket was refused; the server does, over HTTP. */
async function whyNot() {
  try {
    const answer = await fetch("/readyz", { signal: AbortSignal.timeout(2000) });
    if (answer.ok) return "The connection was lost";
    const problem = await answer.json();
    return problem.title ?? "The server is not ready";
  } catch {
    return "The server cannot be reached";
  }
}
