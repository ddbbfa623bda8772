// Keeps the pay page true: a nudge over the WebSocket, or polling, makes it fetch itself again.
// The server renders every screen, so that this file knows no words and no states.

const POLL_MS = 5000;
const ASK_GATEWAY_MS = 10000;
const RESYNC_MS = 10000;
const page = () => document.getElementById("gatewaypay");
const isFinal = () => page().hasAttribute("data-final");
const version = () => Number(page().dataset.version);

let socket = null;
let failures = 0;
let loading = false;

async function show(url) {
  if (loading) return;
  loading = true;
  try {
    const response = await fetch(url, { credentials: "same-origin", cache: "no-store" });
    if (!response.ok) return;
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html").getElementById("gatewaypay");
    if (!fresh) return;
    const changed = Number(fresh.dataset.version) > version() || fresh.dataset.screen !== page().dataset.screen;
    if (changed && Number(fresh.dataset.version) >= version()) replace(fresh);
  } catch {
    // Offline: the next poll or the browser's "online" event tries again.
  } finally {
    loading = false;
  }
}

function replace(fresh) {
  // Screen readers announce changes inside the live region that stays in place.
  page().querySelector("[role=status]").replaceChildren(...fresh.querySelector("[role=status]").childNodes);
  page().querySelector("[role=status]").className = fresh.querySelector("[role=status]").className;
  for (const { name, value } of fresh.attributes) page().setAttribute(name, value);
  document.dispatchEvent(new CustomEvent("gatewaypay:change", { detail: { screen: fresh.dataset.screen } }));
  if (isFinal()) socket?.close();
}

function connect() {
  if (isFinal()) return;
  const origin = location.origin.replace(/^http/, "ws");
  socket = new WebSocket(origin + page().dataset.websocketPath, ["gatewaypay.v1"]);
  socket.addEventListener("open", () => { failures = 0; });
  socket.addEventListener("message", (event) => {
    const message = JSON.parse(event.data);
    if (message.type === "transaction.status" && message.version > version()) show(page().dataset.pageUrl);
  });
  socket.addEventListener("close", () => {
    socket = null;
    if (isFinal()) return;
    failures += 1;
    const wait = Math.min(1000 * 2 ** failures, 60000);
    setTimeout(connect, wait * (0.5 + Math.random() / 2));
  });
}

async function poll() {
  if (isFinal() || document.hidden) return;
  if (socket?.readyState === WebSocket.OPEN) return;
  const response = await fetch(page().dataset.statusUrl, { credentials: "same-origin", cache: "no-store" }).catch(() => null);
  if (response?.ok && (await response.json()).version > version()) show(page().dataset.pageUrl);
}

// A nudge may be lost on its way to an open socket: asking costs one read, and shows the truth.
function resync() {
  if (socket?.readyState === WebSocket.OPEN) socket.send("resync");
}

function askGateway() {
  if (!isFinal() && !document.hidden && page().dataset.screen === "confirming") show(page().dataset.returnUrl);
}

setInterval(poll, POLL_MS);
setInterval(askGateway, ASK_GATEWAY_MS);
setInterval(resync, RESYNC_MS);
addEventListener("online", () => show(page().dataset.pageUrl));
addEventListener("pageshow", (event) => { if (event.persisted) show(page().dataset.pageUrl); });
connect();
