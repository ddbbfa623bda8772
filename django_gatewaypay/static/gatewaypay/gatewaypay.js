// `watch` follows one payment over its socket, or by polling; <gatewaypay-status> shows it.
// The server renders every screen: this file knows no words. Its interface is in gatewaypay.d.ts.

const POLLS = [2000, 5000, 10000, 15000];
const [RESYNC, SILENCE, HANDSHAKE, REQUEST] = [10000, 10000, 20000, 20000];
// The server closes a socket that sends more than 20 frames a minute.
const FRAMES_PER_MINUTE = 15;

const isFinal = ({ status }) => status !== "pending";
const pick = ({ id, status, state, reason = "", late = false, version }) =>
  ({ id, status, state, reason, late, version });
const isStatus = (data) => [data?.status, data?.state].every((word) => word && typeof word === "string")
  && Number.isInteger(data.version);

/** Timers, listeners and requests that end together. */
class Life {
  #abort = new AbortController();
  #timers = new Map();

  signal = this.#abort.signal;

  get over() { return this.signal.aborted; }

  waits(name) { return this.#timers.has(name); }

  /** A new timer replaces the old one of its name. */
  later(name, ms, run) {
    this.cancel(name);
    if (!this.over) this.#timers.set(name, setTimeout(() => { this.#timers.delete(name); run(); }, ms));
  }

  cancel(...names) {
    for (const name of names) {
      clearTimeout(this.#timers.get(name));
      this.#timers.delete(name);
    }
  }

  on(target, name, run) { target.addEventListener(name, run, { signal: this.signal }); }

  end() {
    this.cancel(...this.#timers.keys());
    this.#abort.abort();
  }
}

/** One GET with the payment's proof, given up when it hangs. */
async function get(url, token, life) {
  const request = new AbortController();
  const timer = setTimeout(() => request.abort(), REQUEST);
  const giveUp = () => { clearTimeout(timer); request.abort(); };
  life.signal.addEventListener("abort", giveUp, { signal: request.signal });
  try {
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    const answer = await fetch(url, { headers, cache: "no-store", credentials: "same-origin", signal: request.signal });
    return { ok: answer.ok, status: answer.status, wait: retryAfter(answer), text: await answer.text() };
  } finally {
    giveUp();
  }
}

/** Milliseconds until then, and some more: timers may come early. */
const until = (time) => time - performance.now() + 100;

/** `Retry-After`, seconds or a date, in milliseconds. */
function retryAfter({ status, headers }) {
  const value = [429, 503].includes(status) && headers.get("Retry-After");
  if (!value) return 0;
  const ms = Number.isNaN(Number(value)) ? Date.parse(value) - Date.now() : Number(value) * 1000;
  return Math.min(Math.max(ms || 0, 0), 3600000);
}

/** A socket, or null: under a content security policy the constructor may throw. */
function openSocket({ websocket_url, token }) {
  try {
    const url = new URL(websocket_url, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    return new WebSocket(url.href, token ? ["gatewaypay.v1", token] : ["gatewaypay.v1"]);
  } catch {
    return null;
  }
}

/** What the page's own code throws does not end the watch. */
function call(run, argument) {
  try {
    run?.(argument);
  } catch (error) {
    globalThis.reportError?.(error);
  }
}

class Watch {
  #life = new Life();
  #transaction;
  #tell;
  #socket = null;
  #failures = 0;
  #polls = 0;
  #frames = [];
  #heardAt = 0;
  #resynced = -Infinity;
  #notBefore = 0;
  #asking = null;

  constructor(transaction, tell) {
    this.#transaction = transaction;
    this.#tell = tell;
    this.current = pick(transaction);
    if (isFinal(this.current)) this.#life.end();
    else this.#start();
  }

  stop() {
    this.#life.end();
    this.#socket?.close();
    this.#socket = null;
  }

  check() {
    if (this.#life.over || performance.now() < this.#notBefore) return Promise.resolve(this.current);
    this.#asking ??= this.#ask().finally(() => { this.#asking = null; });
    return this.#asking;
  }

  #start() {
    for (const name of ["focus", "online"]) this.#life.on(globalThis, name, () => this.#resync());
    // Not the first one: the page was rendered a moment ago.
    this.#life.on(globalThis, "pageshow", (event) => event.persisted && this.#resync());
    this.#life.on(document, "visibilitychange", () => document.hidden || this.#resync());
    // An open socket keeps a page out of the back/forward cache.
    this.#life.on(globalThis, "pagehide", () => this.#socket && this.#drop());
    this.#noticeSleep(Date.now());
    this.#planPoll();
    this.#connect();
  }

  #connect() {
    const socket = openSocket(this.#transaction);
    this.#socket = socket;
    if (!socket) {
      this.#reconnectLater();
      return;
    }
    const on = (name, run) => socket.addEventListener(name, (event) => { if (socket === this.#socket) run(event); });
    on("open", () => this.#opened());
    on("message", (event) => this.#heard(event.data));
    on("close", () => this.#drop());
    this.#life.later("silence", HANDSHAKE, () => this.#drop());
  }

  #isOpen() { return this.#socket?.readyState === 1; }

  #opened() {
    this.#frames = [];
    this.#life.cancel("poll");
    this.#life.later("silence", SILENCE, () => this.#drop());
    this.#resyncLater();
  }

  /** A nudge may be lost on its way to an open socket. */
  #resyncLater() {
    this.#life.later("resync", RESYNC, () => {
      this.#send();
      this.#resyncLater();
    });
  }

  /** It has an answer always: without one the socket is half-open. */
  #send() {
    const now = performance.now();
    this.#frames = this.#frames.filter((at) => at > now - 60000);
    if (this.#frames.length >= FRAMES_PER_MINUTE) return;
    this.#frames.push(now);
    if (!this.#life.waits("silence")) this.#life.later("silence", SILENCE, () => this.#drop());
    this.#socket.send("resync");
  }

  #heard(text) {
    this.#life.cancel("silence");
    this.#heardAt = Date.now();
    // Not at "open": a server may accept and hang up at once.
    this.#failures = 0;
    this.#polls = 0;
    try {
      const message = JSON.parse(text);
      if (message.type === "transaction.status") this.#learn(message);
    } catch {
      // Malformed.
    }
  }

  /** On a dead line the browser's "close" may take minutes: this does not wait for it. */
  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    socket.close();
    this.#life.cancel("silence", "resync");
    this.#reconnectLater();
    if (!this.#life.waits("poll")) this.#planPoll();
  }

  #reconnectLater() {
    this.#failures += 1;
    const most = Math.min(1000 * 2 ** this.#failures, 60000);
    this.#life.later("connect", 1000 + Math.random() * (most - 1000), () => this.#connect());
  }

  #planPoll() {
    const ms = POLLS[Math.min(this.#polls, POLLS.length - 1)] * (0.8 + 0.2 * Math.random());
    this.#polls += 1;
    this.#life.later("poll", Math.max(ms, until(this.#notBefore)), () => this.#poll());
  }

  async #poll() {
    if (!document.hidden) await this.check();
    if (!this.#isOpen()) this.#planPoll();
  }

  #resync() {
    const now = performance.now();
    if (now - this.#resynced < 2000) return;
    this.#resynced = now;
    if (this.#isOpen()) this.#send();
    // After a long silence, as of a locked phone, the line is probably dead.
    if (!this.#isOpen() || Date.now() - this.#heardAt > 30000) this.#poll();
  }

  #noticeSleep(before) {
    this.#life.later("sleep", 5000, () => {
      const now = Date.now();
      if (now - before > 20000) this.#resync();
      this.#noticeSleep(now);
    });
  }

  async #ask() {
    try {
      const answer = await get(this.#transaction.status_url, this.#transaction.token, this.#life);
      if (answer.ok) this.#learn(JSON.parse(answer.text));
      else this.#refused(answer);
    } catch {
      // Offline, or not JSON.
    }
    return this.current;
  }

  #refused({ status, wait }) {
    this.#notBefore = performance.now() + wait;
    if (this.#life.over || ![401, 403, 404].includes(status)) return;
    this.stop();
    call(this.#tell.onError, Object.assign(new Error(`HTTP ${status}`), { status }));
  }

  #learn(data) {
    if (this.#life.over || !isStatus(data) || data.id !== this.current.id) return;
    if (data.version <= this.current.version) return;
    this.current = pick(data);
    if (isFinal(this.current)) this.stop();
    call(this.#tell.onChange, this.current);
  }
}

export function watch(transaction, { onChange, onError } = {}) {
  const one = new Watch(transaction, { onChange, onError });
  return { stop: () => one.stop(), check: () => one.check(), get current() { return one.current; } };
}

const SHOWN = ["status", "state", "version", "screen", "phase", "in-flight", "guard"];
const [FIRST_ASK, ASK, SLOW_ASK, SLOW_AFTER] = [3000, 10000, 30000, 120000];

const all = (root, name) => [...root.querySelectorAll(`[data-gatewaypay-${name}]`)];

/** When each countdown ends: kept when the element moves. */
const ends = new WeakMap();

function formatter(Format, options) {
  try {
    return new Format(document.documentElement.lang || undefined, options);
  } catch {
    return new Format(undefined, options);
  }
}

function clockText(seconds) {
  const two = formatter(Intl.NumberFormat, { minimumIntegerDigits: 2 });
  const hours = Math.floor(seconds / 3600);
  const rest = `${two.format(Math.floor(seconds / 60) % 60)}:${two.format(seconds % 60)}`;
  return hours ? `${formatter(Intl.NumberFormat, { useGrouping: false }).format(hours)}:${rest}` : rest;
}

function showTime(element) {
  const time = new Date(element.dateTime);
  if (Number.isNaN(time.getTime())) return;
  const day = element.dataset.gatewaypayTime === "datetime" ? { dateStyle: "medium" } : {};
  element.textContent = formatter(Intl.DateTimeFormat, { ...day, timeStyle: "short" }).format(time);
}

function setEnd(element, seconds) {
  ends.set(element, performance.now() + (Number(seconds) || 0) * 1000);
}

/** Whether the countdown has just ended. */
function count(element) {
  const left = Math.max(0, Math.ceil((ends.get(element) - performance.now()) / 1000));
  const text = clockText(left);
  if (element.textContent !== text) element.textContent = text;
  const ended = left === 0 && ends.get(element) > 0;
  if (ended) ends.set(element, 0);
  return ended;
}

/** The browser may forbid it. */
function storage(method, ...words) {
  try {
    return sessionStorage[method](...words);
  } catch {
    return null;
  }
}

export class GatewaypayStatus extends (globalThis.HTMLElement ?? class {}) {
  static observedAttributes = ["guard", "in-flight"];

  #life = null;
  #watch = null;
  #told = null;
  #telling = Promise.resolve();
  #serial = 0;
  #applied = 0;
  #notBefore = 0;
  #retries = 0;
  #flownSince = 0;
  #leftUntil = 0;
  #guard = (event) => {
    if (performance.now() < this.#leftUntil) return;
    event.preventDefault();
    event.returnValue = true;
  };

  connectedCallback() {
    const life = this.#life = new Life();
    const transaction = this.#transaction();
    // What was told before a move of the element is not told again.
    if (this.#told?.id !== transaction.id) this.#told = pick(transaction);
    this.#watch = watch({ ...transaction, ...this.#told }, {
      onChange: (status) => { this.#telling = this.#telling.then(() => this.#tell(status, life)); },
      onError: () => life.cancel("ask"),
    });
    this.#listen(life);
    this.#dress(this);
    this.#fly();
    this.#countdown();
    this.#catchUp();
  }

  #listen(life) {
    life.on(this, "click", (event) => this.#leave(event, event.target.closest("a[href]")));
    life.on(this, "submit", (event) => this.#leave(event, event.target));
    life.on(globalThis, "pageshow", (event) => event.persisted && this.#cameBack());
    life.on(globalThis, "online", () => this.#catchUp());
    life.on(document, "visibilitychange", () => document.hidden || this.#becameVisible());
  }

  disconnectedCallback() {
    this.#watch.stop();
    this.#life.end();
    this.#life = null;
    removeEventListener("beforeunload", this.#guard);
  }

  attributeChangedCallback() {
    if (this.#life) this.#fly();
  }

  get #region() { return this.querySelector("[role=status]"); }

  get #version() { return Number(this.getAttribute("version")); }

  get #key() { return `gatewaypay:gone:${this.getAttribute("transaction-id")}`; }

  #transaction() {
    const read = (name) => this.getAttribute(name);
    return {
      id: read("transaction-id"), status_url: read("status-url"), websocket_url: read("websocket-url"),
      token: read("token"), status: read("status"), state: read("state"), version: this.#version,
    };
  }

  /** The screen first: who hears the event finds the page as it says. */
  async #tell(status, life) {
    if (this.#version < status.version) await this.#load("page-url", life);
    if (life.over) return;
    this.#told = status;
    this.#send("change");
    if (isFinal(status)) this.#send(status.status === "success" ? "success" : "failure");
    this.#retries = 0;
    this.#retryLater();
  }

  #send(name) {
    this.dispatchEvent(new CustomEvent(`gatewaypay:${name}`, { bubbles: true, composed: true, detail: this.#told }));
  }

  async #load(name, life = this.#life) {
    const serial = this.#serial += 1;
    if (life.over || performance.now() < this.#notBefore) return;
    try {
      const answer = await get(this.getAttribute(name), this.getAttribute("token"), life);
      if (answer.wait) this.#notBefore = performance.now() + answer.wait;
      if (answer.ok && !life.over) this.#read(answer.text, serial);
    } catch {
      // Offline: the next change or tick tries again.
    }
  }

  #read(html, serial) {
    const id = CSS.escape(this.getAttribute("transaction-id"));
    const page = new DOMParser().parseFromString(html, "text/html");
    const fresh = page.querySelector(`gatewaypay-status[transaction-id="${id}"]`);
    const region = fresh?.querySelector("[role=status]");
    if (!region) return;
    const ahead = Number(fresh.getAttribute("version")) - this.#version;
    // Of two answers of one version, the one asked for last is the newer.
    if (ahead < 0 || (ahead === 0 && serial < this.#applied)) return;
    this.#applied = serial;
    const differs = (name) => fresh.getAttribute(name) !== this.getAttribute(name);
    if (ahead > 0 || differs("screen") || differs("phase")) this.#show(fresh, region);
    else this.#setClocks(region);
  }

  #show(fresh, region) {
    for (const name of SHOWN) {
      if (fresh.hasAttribute(name)) this.setAttribute(name, fresh.getAttribute(name));
      else this.removeAttribute(name);
    }
    this.#dress(region);
    this.#replace(region);
    this.#countdown();
    // The page may know before the watch does.
    if (this.#version > this.#watch.current.version) this.#watch.check();
  }

  /** Screen readers announce changes inside a live region that stays in place. */
  #replace(fresh) {
    const region = this.#region;
    const hadFocus = region.contains(this.getRootNode().activeElement);
    region.className = fresh.className;
    region.replaceChildren(...fresh.childNodes);
    if (!hadFocus) return;
    const target = region.querySelector("h1, h2, h3, h4, h5, h6, [role=heading]") ?? region;
    if (!target.hasAttribute("tabindex")) target.tabIndex = -1;
    target.focus();
  }

  /** Countdowns may have stood still while the machine slept. */
  #setClocks(region) {
    const fresh = all(region, "seconds");
    all(this.#region, "seconds").forEach((element, index) => {
      const seconds = Number(fresh[index]?.dataset.gatewaypaySeconds);
      if (seconds > 0) setEnd(element, seconds);
    });
  }

  #dress(root) {
    for (const element of all(root, "js")) element.hidden = false;
    for (const element of all(root, "nojs")) element.hidden = true;
    all(root, "time").forEach(showTime);
    all(root, "seconds").forEach((element) => {
      // Inside a live region every second would be read aloud.
      element.setAttribute("aria-live", "off");
      if (!ends.has(element)) setEnd(element, element.dataset.gatewaypaySeconds);
    });
    this.#showBack(root);
  }

  #countdown() {
    const running = all(this, "seconds");
    if (running.length === 0) return;
    if (running.map(count).includes(true)) this.#load("return-url");
    const left = Math.max(0, ends.get(running[0]) - performance.now());
    this.#life.later("second", left ? (left % 1000) + 1 : 1000, () => this.#countdown());
  }

  #fly() {
    const flies = this.hasAttribute("in-flight");
    if (flies && this.hasAttribute("guard")) addEventListener("beforeunload", this.#guard);
    else removeEventListener("beforeunload", this.#guard);
    if (!flies) this.#life.cancel("ask");
    if (!flies || this.#life.waits("ask")) return;
    this.#flownSince = performance.now();
    this.#askLater(FIRST_ASK);
  }

  #askLater(ms) {
    this.#life.later("ask", Math.max(ms, until(this.#notBefore)), () => this.#ask());
  }

  /** return-url makes the server ask the gateway. */
  #ask() {
    if (!document.hidden) this.#load("return-url");
    this.#askLater(performance.now() - this.#flownSince < SLOW_AFTER ? ASK : SLOW_ASK);
  }

  #becameVisible() {
    if (this.#life.waits("ask")) this.#askLater(FIRST_ASK);
    this.#catchUp();
  }

  #cameBack() {
    this.#showBack(this);
    this.#load("page-url");
  }

  async #catchUp() {
    if (this.#told.version <= this.#version) return;
    await this.#load("page-url");
    this.#retryLater();
  }

  /** After a final state no change will come to try again with. */
  #retryLater() {
    if (!this.#life || this.#told.version <= this.#version) return;
    this.#retries += 1;
    const ms = Math.min(2000 * 2 ** this.#retries, 60000);
    this.#life.later("retry", Math.max(ms, until(this.#notBefore)), () => this.#catchUp());
  }

  /** A click that leads nowhere (a new tab, an app) lifts the guard for two seconds only. */
  #leave({ submitter }, way) {
    if (!way) return;
    this.#leftUntil = performance.now() + 2000;
    const goes = [way, submitter].some((element) => element?.hasAttribute("data-gatewaypay-go"));
    if (goes) storage("setItem", this.#key, "1");
  }

  #showBack(root) {
    if (this.getAttribute("status") !== "pending") storage("removeItem", this.#key);
    if (!storage("getItem", this.#key)) return;
    for (const element of all(root, "back")) element.hidden = false;
  }
}

if (globalThis.customElements && !customElements.get("gatewaypay-status")) {
  customElements.define("gatewaypay-status", GatewaypayStatus);
}
