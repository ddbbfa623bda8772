// What `watch` promises, at the wire.

import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, test } from "node:test";

import { watch } from "../../django_gatewaypay/static/gatewaypay/gatewaypay.js";
import { ID, World, settle, status, transaction } from "./world.mjs";

let world;
let changes;
let errors;
let watcher;

beforeEach(() => {
  world = new World();
  changes = [];
  errors = [];
});

afterEach(() => {
  watcher?.stop();
  watcher = null;
  world.end();
});

function start(more = {}) {
  const onChange = (change) => changes.push(change);
  watcher = watch(transaction(more), { onChange, onError: (error) => errors.push(error) });
  return watcher;
}

/** A watch whose socket is open and has said what is known already. */
function startLive(more) {
  start(more);
  world.socket.open();
  world.socket.snapshot(1);
}

/** The server answers whatever is asked, for so many seconds. */
async function chat(seconds) {
  for (let second = 0; second < seconds; second += 1) {
    world.socket.say({ type: "pong" });
    await world.pass(1000);
  }
  world.socket.say({ type: "pong" });
}

const gaps = (times) => times.slice(1).map((at, index) => at - times[index]);
const polls = () => world.requests.map(({ at }) => at);
const refusal = (code, headers = {}) => () => new Response("", { status: code, headers });
const count = (word) => world.sockets.flatMap(({ sent }) => sent).filter((one) => one === word).length;

/** Nothing is left that could do anything, now or later. */
async function assertOver() {
  const [sockets, requests] = [world.sockets.length, world.requests.length];
  for (const name of ["focus", "online", "pageshow", "pagehide"]) await world.fire(name);
  await world.setHidden(false);

  assert.equal(world.timers.size, 0);
  assert.ok(world.sockets.every(({ closed }) => closed));
  await world.pass(600_000);
  assert.deepEqual([world.sockets.length, world.requests.length], [sockets, requests]);
}

describe("what is told", () => {
  test("a newer version is told once, with exactly the fields of a status", () => {
    startLive();
    world.socket.snapshot(2, "pending", { state: "processing", type: "transaction.status", extra: 1 });
    world.socket.snapshot(2);

    assert.deepEqual(changes, [status(2, "pending", { state: "processing" })]);
    assert.deepEqual(watcher.current, changes[0]);
  });

  test("a stale version is not told, and does not change what is known", () => {
    startLive({ version: 5 });
    world.socket.snapshot(4, "failure");

    assert.deepEqual(changes, []);
    assert.equal(watcher.current.version, 5);
  });

  for (const [name, frame] of Object.entries({
    "no JSON": "<html>", "null": "null", "a number": "7", "a list": "[]", "another type": { type: "pong", ...status(9) },
    "no version": { type: "transaction.status", ...status(9), version: undefined },
    "a version in words": { type: "transaction.status", ...status(9), version: "9" },
    "no status": { type: "transaction.status", ...status(9), status: undefined },
    "an empty status": { type: "transaction.status", ...status(9), status: "" },
    "another payment": { type: "transaction.status", ...status(9), id: "other" },
  })) {
    test(`a frame with ${name} is ignored`, () => {
      startLive();
      world.socket.say(frame);

      assert.deepEqual(changes, []);
      assert.equal(watcher.current.version, 1);
    });
  }

  test("a final status is told once, and ends everything", async () => {
    startLive();
    world.socket.snapshot(2, "success");
    world.socket.snapshot(3, "failure");

    assert.deepEqual(changes, [status(2, "success")]);
    await assertOver();
  });

  test("a final status from a poll ends everything too", async () => {
    world.answers(Response.json(status(2, "failure", { reason: "declined", late: true })));
    start();
    await world.pass(2500);

    assert.deepEqual(changes, [status(2, "failure", { reason: "declined", late: true })]);
    await assertOver();
  });

  test("a watch that starts final opens nothing", async () => {
    start({ status: "success", state: "success" });

    assert.equal(world.sockets.length, 0);
    assert.deepEqual(await watcher.check(), status(1, "success"));
    await assertOver();
  });

  test("what onChange throws is reported, and does not end the watch", (context) => {
    const seen = [];
    const reported = [];
    globalThis.reportError = ({ message }) => reported.push(message);
    context.after(() => { delete globalThis.reportError; });
    watcher = watch(transaction(), { onChange: ({ version }) => { seen.push(version); throw new Error("theirs"); } });
    world.socket.open();
    world.socket.snapshot(2);
    world.socket.snapshot(3);

    assert.deepEqual(seen, [2, 3]);
    assert.deepEqual(reported, ["theirs", "theirs"]);
  });

  test("it needs no callbacks", () => {
    watcher = watch(transaction());
    world.socket.open();
    world.socket.snapshot(2, "success");

    assert.equal(watcher.current.status, "success");
  });
});

describe("stop", () => {
  for (const [name, arrange] of Object.entries({
    "while the socket opens": () => start(),
    "with an open socket": () => startLive(),
    "while it waits to reconnect": () => { startLive(); world.socket.hangUp(); },
  })) {
    test(`leaves nothing behind ${name}`, async () => {
      arrange();
      watcher.stop();
      watcher.stop();

      await assertOver();
    });
  }

  test("a request under way is given up, and its answer is not told", async () => {
    world.answer = () => new Promise(() => {});
    start();
    const asked = watcher.check();
    watcher.stop();

    assert.deepEqual(await asked, status(1));
    assert.equal(world.requests[0].signal.aborted, true);
    await assertOver();
  });

  test("what the socket says afterwards is not told", () => {
    startLive();
    watcher.stop();
    world.socket.snapshot(2);

    assert.deepEqual(changes, []);
  });
});

describe("the proof", () => {
  test("without a token it is the cookie", async () => {
    start();
    await watcher.check();

    assert.deepEqual(world.socket.protocols, ["gatewaypay.v1"]);
    assert.equal(world.requests[0].credentials, "same-origin");
    assert.deepEqual(world.requests[0].headers, {});
    assert.equal(world.requests[0].cache, "no-store");
  });

  test("with a token it is the token", async () => {
    start({ token: "gwp_x" });
    await watcher.check();

    assert.deepEqual(world.socket.protocols, ["gatewaypay.v1", "gwp_x"]);
    assert.equal(world.requests[0].headers.Authorization, "Bearer gwp_x");
  });
});

describe("the address of the socket", () => {
  for (const [given, want] of [
    ["/ws/payments/1/", "wss://shop.example/ws/payments/1/"],
    ["wss://other.example/ws/1/", "wss://other.example/ws/1/"],
    ["http://localhost:8000/ws/1/", "ws://localhost:8000/ws/1/"],
  ]) {
    test(`${given} is ${want}`, () => {
      start({ websocket_url: given });

      assert.equal(world.socket.url, want);
    });
  }
});

describe("polling", () => {
  test("it starts soon, and grows to 15 seconds at most", async () => {
    world.random = 1;
    start();
    await world.pass(80_000);

    assert.deepEqual(polls().slice(0, 5), [2000, 7000, 17_000, 32_000, 47_000]);
  });

  test("it has jitter", async () => {
    world.random = 0;
    start();
    await world.pass(14_000);

    assert.deepEqual(polls(), [1600, 5600, 13_600]);
  });

  test("it stops while the socket is open", async () => {
    startLive();
    await chat(100);

    assert.deepEqual(world.requests, []);
  });

  test("it starts anew, soon, when the socket is lost", async () => {
    startLive();
    world.socket.hangUp();
    await world.pass(2000);

    assert.equal(world.requests.length, 1);
  });

  test("a hidden document does not poll, and polls at once when it is shown", async () => {
    world.document.hidden = true;
    start();
    await world.pass(120_000);
    assert.equal(world.requests.length, 0);
    assert.ok(world.sockets.length > 1);

    await world.setHidden(false);
    assert.equal(world.requests.length, 1);
    await world.pass(15_000);
    assert.equal(world.requests.length, 2);
  });

  test("a hidden document keeps its socket", async () => {
    startLive();
    await world.setHidden(true);
    await world.pass(9000);

    assert.equal(world.socket.closed, false);
    assert.deepEqual(world.socket.sent, []);
  });

  for (const code of [429, 503]) {
    test(`Retry-After of a ${code} is honoured, by every way to ask`, async () => {
      world.answers(refusal(code, { "Retry-After": "60" }), Response.json(status(1)));
      start();
      await world.pass(2000);
      await world.pass(50_000);
      await world.fire("focus");
      await watcher.check();
      assert.equal(world.requests.length, 1);

      await world.pass(10_100);
      const [gap] = gaps(polls());
      assert.ok(gap >= 60_000 && gap <= 60_100, gap);
    });
  }

  test("Retry-After may be a date", async () => {
    world.answers(refusal(503, { "Retry-After": "Thu, 31 Jan 2030 12:01:00 GMT" }), Response.json(status(1)));
    start();
    await world.pass(65_000);

    assert.ok(polls()[1] >= 60_000 && polls()[1] <= 60_100, polls()[1]);
  });

  for (const value of ["soon", "-5", ""]) {
    test(`a Retry-After of "${value}" is none`, async () => {
      world.answers(refusal(429, { "Retry-After": value }), Response.json(status(1)));
      start();
      await world.pass(7000);

      assert.equal(world.requests.length, 2);
    });
  }

  for (const code of [401, 403, 404]) {
    test(`a ${code} ends the watch, and is told once`, async () => {
      world.answer = refusal(code);
      start();
      await world.pass(60_000);

      assert.deepEqual(errors.map((error) => [error instanceof Error, error.status]), [[true, code]]);
      assert.equal(world.requests.length, 1);
      await assertOver();
    });
  }

  for (const [name, answer] of Object.entries({
    "a 500": refusal(500), "no network": () => { throw new TypeError("offline"); },
    "a page instead of JSON": () => new Response("<html>"), "JSON of another kind": () => Response.json([1]),
  })) {
    test(`${name} is no end`, async () => {
      world.answers(answer, Response.json(status(2, "success")));
      start();
      await world.pass(2000);
      assert.deepEqual([changes, errors], [[], []]);

      await world.pass(5000);
      assert.deepEqual(changes, [status(2, "success")]);
    });
  }

  test("a request that hangs is given up, and the next one is sent", async () => {
    world.answers(() => new Promise(() => {}), Response.json(status(2)));
    start();
    await world.pass(40_000);

    assert.deepEqual(changes, [status(2)]);
  });
});

describe("reconnecting", () => {
  /** When each socket of a server that refuses all of them was asked for. */
  async function refused(ms) {
    const times = [0];
    start();
    for (const until = world.now + ms; world.now < until;) {
      world.socket.hangUp();
      const before = world.sockets.length;
      while (world.sockets.length === before) await world.pass(250);
      times.push(world.now);
    }
    return gaps(times);
  }

  test("the pauses grow from a second to a minute, and it goes on for ever", async () => {
    world.random = 1;
    const pauses = await refused(600_000);

    assert.deepEqual(pauses.slice(0, 8), [2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000]);
    assert.ok(pauses.length > 12);
  });

  test("the pauses are never under a second", async () => {
    world.random = 0;

    assert.deepEqual((await refused(20_000)).slice(0, 5), [1000, 1000, 1000, 1000, 1000]);
  });

  test("the pauses differ between pages", async () => {
    world.random = 0.5;

    assert.deepEqual((await refused(20_000)).slice(0, 3), [1500, 2500, 4500]);
  });

  test("a socket that opens and says nothing does not reset the pauses", async () => {
    world.random = 1;
    start();
    for (const pause of [2000, 4000, 8000]) {
      world.socket.open();
      world.socket.hangUp();
      const before = world.sockets.length;
      await world.pass(pause - 1);
      assert.equal(world.sockets.length, before);
      await world.pass(1);
      assert.equal(world.sockets.length, before + 1);
    }
  });

  test("a socket that has said something does", async () => {
    world.random = 1;
    start();
    world.socket.hangUp();
    await world.pass(2000);
    world.socket.open();
    world.socket.snapshot(1);
    world.socket.hangUp();
    await world.pass(2000);

    assert.equal(world.sockets.length, 3);
  });

  test("a socket that the server closes for its age, with 1000, is opened again", async () => {
    startLive();
    world.socket.hangUp(1000);
    await world.pass(2000);

    assert.equal(world.sockets.length, 2);
  });

  test("what a lost socket says or does later changes nothing", async () => {
    startLive();
    const [old] = world.sockets;
    old.hangUp();
    await world.pass(2000);
    old.snapshot(2);
    old.hangUp();
    await world.pass(900);

    assert.deepEqual(changes, []);
    assert.equal(world.sockets.length, 2);
  });

  for (const [name, value] of Object.entries({
    "whose constructor throws": class { constructor() { throw new Error("SecurityError"); } }, "that is not there": undefined,
  })) {
    test(`with a WebSocket ${name} it polls, and tries again`, async () => {
      const original = globalThis.WebSocket;
      world.setWebSocket(value);
      start();
      await world.pass(20_000);
      assert.equal(world.requests.length, 3);

      world.setWebSocket(original);
      await world.pass(60_000);
      assert.ok(world.sockets.length >= 1);
    });
  }
});

describe("half-open sockets", () => {
  test("ten silent seconds after a question close the socket; polling and a new socket take over", async () => {
    startLive();
    await world.pass(10_000);
    assert.deepEqual(world.socket.sent, ["resync"]);
    await world.pass(9999);
    assert.equal(world.socket.closed, false);

    await world.pass(1);
    assert.equal(world.sockets[0].closed, true);
    await world.pass(2000);
    assert.equal(world.requests.length, 1);
    assert.equal(world.sockets.length, 2);
  });

  test("anything heard is an answer", async () => {
    startLive();
    await world.pass(19_000);
    world.socket.say("not even JSON");
    await world.pass(5000);

    assert.equal(world.socket.closed, false);
  });

  test("a socket that opens and stays silent is closed", async () => {
    start();
    world.socket.open();
    await world.pass(10_000);

    assert.equal(world.sockets[0].closed, true);
  });

  test("a handshake that never ends is given up", async () => {
    start();
    await world.pass(22_000);

    assert.equal(world.sockets[0].closed, true);
    assert.equal(world.sockets.length, 2);
  });
});

describe("resync", () => {
  const returned = { persisted: true };

  for (const name of ["focus", "online", "pageshow"]) {
    test(`${name} asks over the open socket`, async () => {
      startLive();
      await world.pass(3000);
      await world.fire(name, undefined, returned);

      assert.deepEqual(world.socket.sent, ["resync"]);
      assert.equal(world.requests.length, 0);
    });

    test(`${name} polls at once without one`, async () => {
      start();
      await world.fire(name, undefined, returned);

      assert.deepEqual(polls(), [0]);
    });
  }

  test("the pageshow of a first load asks nothing: the page was rendered a moment ago", async () => {
    start();
    await world.fire("pageshow", undefined, { persisted: false });

    assert.deepEqual(polls(), []);
  });

  test("a document that becomes visible asks, one that becomes hidden does not", async () => {
    startLive();
    await world.setHidden(true);
    assert.deepEqual(world.socket.sent, []);

    await world.setHidden(false);
    assert.deepEqual(world.socket.sent, ["resync"]);
  });

  test("it asks after sleep", async () => {
    startLive();
    await world.pass(1000);
    world.sleep(3_600_000);
    await world.pass(4500);

    assert.deepEqual(world.socket.sent, ["resync"]);
  });

  test("after a long silence it does not rely on the socket alone", async () => {
    startLive();
    world.sleep(60_000);
    await world.fire("focus");

    assert.deepEqual(world.socket.sent, ["resync"]);
    await chat(20);
    assert.equal(world.requests.length, 1);
  });

  test("a line that died in the sleep is found ten seconds later", async () => {
    startLive();
    world.sleep(3_600_000);
    await world.pass(15_000);

    assert.equal(world.sockets[0].closed, true);
  });

  test("without sleep that timer asks nothing", async () => {
    startLive();
    await world.pass(9000);

    assert.deepEqual(world.socket.sent, []);
  });

  test("events that come together are one", async () => {
    startLive();
    for (const name of ["focus", "pageshow", "online"]) await world.fire(name);
    await world.pass(1999);
    await world.fire("focus");
    assert.deepEqual(world.socket.sent, ["resync"]);

    await world.pass(1);
    await world.fire("focus");
    assert.deepEqual(world.socket.sent, ["resync", "resync"]);
  });

  test("every 10 seconds it asks without an event: a nudge may have been lost", async () => {
    startLive();
    await chat(61);

    assert.equal(count("resync"), 6);
  });

  test("no restless shopper makes it send more than the server's 20 frames in a minute", async () => {
    startLive();
    const times = [];
    world.socket.send = () => { times.push(world.now); world.socket.say({ type: "pong" }); };
    for (let turn = 0; turn < 300; turn += 1) {
      await world.fire("focus");
      await world.pass(1000);
    }

    const busiest = Math.max(...times.map((from) => times.filter((at) => at >= from && at <= from + 60_000).length));
    assert.ok(busiest <= 18, `${busiest} frames`);
    assert.ok(times.length > 50);
  });

  test("each socket has a minute of its own", async () => {
    startLive();
    const restless = async () => {
      for (let turn = 0; turn < 20; turn += 1) {
        await world.fire("focus");
        await world.pass(2000);
        world.socket.say({ type: "pong" });
      }
    };
    await restless();
    world.socket.hangUp();
    await world.pass(2000);
    world.socket.open();
    world.socket.snapshot(1);
    await world.fire("focus");

    assert.deepEqual(world.sockets.map(({ sent }) => sent.length), [15, 1]);
  });

  test("a page that goes away closes its socket, for the back/forward cache, and opens one when it is back", async () => {
    startLive();
    await world.fire("pagehide");
    assert.equal(world.socket.closed, true);

    await world.fire("pageshow");
    await world.pass(2000);
    assert.deepEqual([world.requests.length >= 1, world.sockets.length], [true, 2]);
  });
});

describe("check", () => {
  test("it asks now, tells what is new, and answers with it", async () => {
    world.answers(Response.json(status(2)));
    startLive();

    assert.deepEqual(await watcher.check(), status(2));
    assert.deepEqual(changes, [status(2)]);
    assert.equal(world.requests[0].url, `/payments/status/${ID}/`);
  });

  test("calls that overlap share one request, polls too", async () => {
    let release;
    world.answer = () => new Promise((resolve) => { release = () => resolve(Response.json(status(2))); });
    start();
    const both = [watcher.check(), watcher.check()];
    await world.pass(3000);
    release();

    assert.deepEqual(await Promise.all(both), [status(2), status(2)]);
    assert.equal(world.requests.length, 1);
  });

  test("calls in turn ask in turn", async () => {
    startLive();
    await watcher.check();
    await watcher.check();

    assert.equal(world.requests.length, 2);
  });

  test("it does not reject: what cannot be asked leaves what is known", async () => {
    world.answer = () => { throw new TypeError("offline"); };
    startLive();

    assert.deepEqual(await watcher.check(), status(1));
  });

  test("a slow answer does not undo what the socket has said meanwhile", async () => {
    let release;
    world.answer = () => new Promise((resolve) => { release = () => resolve(Response.json(status(1))); });
    startLive();
    const asked = watcher.check();
    await settle();
    world.socket.snapshot(2);
    release();

    assert.deepEqual(await asked, status(2));
    assert.equal(changes.length, 1);
  });
});
