// The module outside of a browser, and where the name of the element is taken.

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

const MODULE = "../../django_gatewaypay/static/gatewaypay/gatewaypay.js";

afterEach(() => { delete globalThis.customElements; });

/** Import the module with these names taken; returns what it has defined. */
async function importWith(taken, turn) {
  const defined = [];
  globalThis.customElements = {
    get: (name) => taken.find((one) => one === name), define: (name, element) => defined.push([name, element.name]),
  };
  await import(`${MODULE}?${turn}`);
  return defined;
}

test("it can be imported without a browser", async () => {
  assert.deepEqual(Object.keys(await import(MODULE)).sort(), ["GatewaypayStatus", "watch"]);
});

test("it defines the element", async () => {
  assert.deepEqual(await importWith([], 1), [["gatewaypay-status", "GatewaypayStatus"]]);
});

test("it leaves a name that is taken alone", async () => {
  assert.deepEqual(await importWith(["gatewaypay-status"], 2), []);
});
