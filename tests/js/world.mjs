// The browser around the module: a clock, a window, and the two wires (fetch and WebSocket).

const realSetImmediate = setImmediate;
const EPOCH = Date.parse("2030-01-31T12:00:00Z");

export const ID = "8a1f0c0e-0000-4000-8000-000000000001";
export const status = (version, word = "pending", more = {}) => ({
  id: ID, status: word, state: word === "failure" ? "failed" : word, reason: "", late: false, version, ...more,
});
export const transaction = (more = {}) => ({
  ...status(1), status_url: `/payments/status/${ID}/`, websocket_url: `/ws/payments/${ID}/`, order_id: "42", ...more,
});

/** Let promises that are ready run. */
export async function settle() {
  for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => { realSetImmediate(resolve); });
}

/** The server's end of one socket is in `open`, `say` and `hangUp`. */
class FakeSocket extends EventTarget {
  readyState = 0;
  sent = [];
  closed = false;

  constructor(url, protocols) {
    super();
    Object.assign(this, { url, protocols });
  }

  send(text) { this.sent.push(text); }

  // As on a dead line: the "close" event does not come.
  close() {
    this.closed = true;
    this.readyState = 2;
  }

  open() {
    this.readyState = 1;
    this.dispatchEvent(new Event("open"));
  }

  say(data) {
    const text = typeof data === "string" ? data : JSON.stringify(data);
    this.dispatchEvent(new MessageEvent("message", { data: text }));
  }

  snapshot(...words) { this.say({ type: "transaction.status", ...status(...words) }); }

  hangUp(code = 1006) {
    this.readyState = 3;
    this.dispatchEvent(Object.assign(new Event("close"), { code }));
  }
}

export class World {
  now = 0;
  slept = 0;
  random = 0.5;
  timers = new Map();
  sockets = [];
  requests = [];
  answer = () => Response.json(status(1));
  window = new EventTarget();
  document = Object.assign(new EventTarget(), { hidden: false });
  #nextTimer = 1;
  #undo = [];

  constructor() {
    const world = this;
    class WebSocket extends FakeSocket {
      constructor(...words) {
        super(...words);
        world.sockets.push(this);
      }
    }
    this.#put("setTimeout", (run, ms) => this.#setTimeout(run, ms));
    this.#put("clearTimeout", (id) => this.timers.delete(id));
    this.#put("performance", { now: () => this.now });
    this.#put("document", this.document);
    this.#put("location", new URL("https://shop.example/payments/pay/x/"));
    this.#put("addEventListener", (...words) => this.window.addEventListener(...words));
    this.#put("removeEventListener", (...words) => this.window.removeEventListener(...words));
    this.#put("WebSocket", WebSocket);
    this.#put("fetch", (url, init) => this.#fetch(url, init));
    this.#put("now", () => EPOCH + this.now + this.slept, Date);
    this.#put("random", () => this.random, Math);
  }

  end() { this.#undo.forEach((undo) => undo()); }

  get socket() { return this.sockets.at(-1); }

  setWebSocket(value) { this.#put("WebSocket", value); }

  /** Let time pass, timer by timer. */
  async pass(ms) {
    const until = this.now + ms;
    for (let due = this.#next(until); due; due = this.#next(until)) {
      this.timers.delete(due.id);
      this.now = Math.max(this.now, due.at);
      due.run();
      await settle();
    }
    this.now = until;
    await settle();
  }

  /** The machine sleeps: the wall clock goes on, timers and performance.now() do not. */
  sleep(ms) { this.slept += ms; }

  async fire(name, target = this.window, more = {}) {
    target.dispatchEvent(Object.assign(new Event(name), more));
    await settle();
  }

  async setHidden(hidden) {
    this.document.hidden = hidden;
    await this.fire("visibilitychange", this.document);
  }

  /** An answer for each request in turn, the last one for all that follow. */
  answers(...all) {
    this.answer = () => {
      const one = all.length > 1 ? all.shift() : all[0];
      return one instanceof Function ? one() : one.clone();
    };
  }

  #put(name, value, target = globalThis) {
    const before = Object.getOwnPropertyDescriptor(target, name);
    Object.defineProperty(target, name, { value, configurable: true, writable: true });
    this.#undo.unshift(() => {
      if (before) Object.defineProperty(target, name, before);
      else delete target[name];
    });
  }

  #setTimeout(run, ms) {
    const id = this.#nextTimer;
    this.#nextTimer += 1;
    this.timers.set(id, { id, run, at: this.now + ms });
    return id;
  }

  #next(until) {
    return [...this.timers.values()].filter(({ at }) => at <= until).sort((a, b) => a.at - b.at || a.id - b.id)[0];
  }

  #fetch(url, init) {
    this.requests.push({ url, at: this.now, ...init });
    return new Promise((resolve, reject) => {
      init.signal.addEventListener("abort", () => reject(init.signal.reason));
      Promise.resolve().then(() => this.answer()).then(resolve, reject);
    });
  }
}
