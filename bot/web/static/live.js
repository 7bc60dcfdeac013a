// Keeps a page live: the server draws its parts anew, this puts in what changed and leaves the rest alone, so that
// focus, selection, what is typed, open details and scroll positions stay. Without it the page is complete, too.
"use strict";

const parts = document.querySelectorAll("[data-live]");
const bar = document.getElementById("live");
const told = bar.querySelector("[role=status]");
const pause = bar.querySelector("button");
const view = new URL(location.href);
view.searchParams.delete("done");
const address = "/events?view=" + encodeURIComponent(view.pathname + view.search);
const LONGEST_WAIT = 30000;

let source = null;
let again = 0; // the timer of the next try
let wait = 1000;
let held = {}; // parts that came while the pointer was over something to press in theirs
let mood = moodNow();
const title = document.title;

// -- the connection

function connect() {
  clearTimeout(again);
  source?.close();
  source = new EventSource(address);
  source.onopen = () => { wait = 1000; tell("", ""); document.title = title; announce(); };
  source.addEventListener("parts", (event) => { hold(JSON.parse(event.data)); });
  source.onerror = lost;
}

function disconnect() {
  clearTimeout(again);
  source?.close();
  source = null;
}

// The browser tries again by itself where it can; where it gave up, the server said no.
function lost() {
  tell("lost", "Connection lost, trying again");
  document.title = "Connection lost · bot"; // what else it says is how it was
  if (source.readyState !== EventSource.CLOSED) return;
  clearTimeout(again);
  again = setTimeout(ask, wait);
  wait = Math.min(wait * 2, LONGEST_WAIT);
}

async function ask() {
  let answer = {};
  try {
    answer = await fetch(view, { method: "HEAD", cache: "no-store", redirect: "manual" });
  } catch {
    // still gone
  }
  if (source === null) return; // paused meanwhile
  if (answer.status === 401 || answer.type === "opaqueredirect") tell("out", "Signed out. ", "/signin", "Sign in");
  else if (answer.status === 404) tell("out", "This page is gone. ", "/", "Status page");
  else connect();
}

function tell(state, text, href, label) {
  bar.dataset.state = document.body.dataset.connection = state;
  if (told.textContent === text + (label || "")) return;
  told.textContent = text;
  if (href) told.append(Object.assign(document.createElement("a"), { href, textContent: label }));
}

// -- pausing, and being looked at

function paused() {
  return pause.getAttribute("aria-pressed") === "true";
}

function obey(pressed) {
  pause.setAttribute("aria-pressed", String(pressed));
  if (pressed) { disconnect(); tell("paused", "This page stays as it is"); } else if (!document.hidden) connect();
}
// For this window, over its links and forms.
pause.addEventListener("click", () => {
  sessionStorage.setItem("paused", String(!paused()));
  obey(!paused());
});
// A page that nobody sees needs no connection: a browser has six to one server, and a phone a battery.
document.addEventListener("visibilitychange", () => {
  if (paused()) return;
  if (document.hidden) disconnect(); else connect();
});
window.addEventListener("online", () => { if (!paused() && !document.hidden) connect(); });
window.addEventListener("pageshow", (event) => { if (event.persisted && !paused()) connect(); });
window.addEventListener("pagehide", disconnect);

// -- putting in what changed

// Nothing moves away under a pointer that is about to press it. (A finger leaves no pointer behind.)
const HOVERS = matchMedia("(hover: hover)").matches;
const PRESSED = ":is(a, button, summary, label, input, textarea, select):hover";

function hold(changed) {
  Object.assign(held, changed);
  put();
}

function put() {
  if (!Object.keys(held).length) return;
  const topOf = (element) => element.getBoundingClientRect().top;
  const anchor = [...document.querySelectorAll("[data-live], [data-key]")].find((element) => topOf(element) >= 0);
  const before = anchor && topOf(anchor);
  const focused = document.activeElement;
  for (const part of parts) {
    if (!(part.id in held) || (HOVERS && part.querySelector(PRESSED)) || selecting(part)) continue;
    const fresh = document.createElement("template");
    fresh.innerHTML = held[part.id];
    delete held[part.id];
    children(part, fresh.content);
  }
  if (focused !== document.activeElement && focused?.isConnected) focused.focus({ preventScroll: true });
  const moved = anchor?.isConnected ? topOf(anchor) - before : 0;
  if (moved && scrollY > 0) scrollBy({ top: moved, behavior: "instant" });
  announce();
}

for (const what of ["pointerout", "selectionchange"]) document.addEventListener(what, () => setTimeout(put, 200));

function selecting(part) {
  const selection = getSelection();
  return !selection.isCollapsed && selection.rangeCount > 0 && selection.getRangeAt(0).intersectsNode(part);
}

// What is in both is kept and made like the new one: rows know each other by their key, all else by tag, class and id
// or, where nothing else fits there, by its tag alone.
const key = (node) => node.dataset?.key;
const sign = (node) => key(node) ? `key ${key(node)}` : `${node.nodeName} ${node.getAttribute?.("class")} ${node.id}`;
const alike = (one, other) => one.nodeName === other.nodeName && key(one) === key(other) && one.id === other.id;
const blank = (node) => node.nodeType === Node.TEXT_NODE && !node.data.trim();

function children(old, fresh) {
  const left = new Map(); // how many of each are still to come
  for (const node of fresh.childNodes) left.set(sign(node), (left.get(sign(node)) ?? 0) + 1);
  for (const row of [...old.children]) if (key(row) && !left.has(sign(row))) row.remove();
  const rows = new Map([...old.children].filter(key).map((row) => [key(row), row]));
  let at = old.firstChild;
  for (const next of [...fresh.childNodes]) {
    left.set(sign(next), left.get(sign(next)) - 1);
    // What is no more goes first, so that what stays isn't moved: moving costs focus and scroll position.
    while (at && !alike(at, next) && (blank(at) || !left.get(sign(at)))) at = drop(at);
    const fits = at && (sign(at) === sign(next) || (alike(at, next) && !left.get(sign(at))));
    const same = key(next) ? rows.get(key(next)) : fits ? at : null;
    if (same && alike(same, next)) {
      if (same === at) at = at.nextSibling; else old.insertBefore(same, at);
      become(same, next);
    } else old.insertBefore(next, at);
  }
  while (at) at = drop(at);
}

function drop(node) {
  const following = node.nextSibling;
  node.remove();
  return following;
}

function become(old, fresh) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  if (old.isEqualNode(fresh)) return;
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !mine(old, name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value && !mine(old, name)) old.setAttribute(name, value);
  }
  children(old, fresh);
}

// What the person opened, checked or typed is theirs.
function mine(element, name) {
  return (element.tagName === "DETAILS" && name === "open") || (name === "value" && element === document.activeElement);
}

function moodNow() {
  return document.querySelector("[data-title]")?.className;
}

// The title follows; a screen reader hears of it when it gets better or worse, not at each figure.
function announce() {
  const header = document.querySelector("[data-title]");
  if (!header) return;
  document.title = header.dataset.title;
  if (moodNow() === mood) return;
  mood = moodNow();
  document.getElementById("news").textContent = header.dataset.title;
}

bar.hidden = false;
obey(sessionStorage.getItem("paused") === "true");
