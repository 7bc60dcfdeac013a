// The phone: who is writing, what has been said, what happens right now. The emulator remembers; a reload loses nothing.

import { clock, day, draw, element, summary, tick } from "./bubble.js";

const $ = (id) => document.getElementById(id);
const BURSTS = [
  ["Hola, una pregunta", "¿tienen macetas grandes?", "de barro, si se puede", "¿cuánto cuestan?", "y ¿hacen envíos?"],
  ["Hi, quick question", "do you sell large pots?", "clay ones, if possible", "how much are they?", "and do you deliver?"],
];
const SPANISH = ["52", "54", "34"];
const NARROW = matchMedia("(max-width: 860px)");

const state = { customers: [], chats: new Map(), typing: new Set(), unread: new Map(), drafts: new Map(), scenes: new Map(), me: null };

// -- what is known ---------------------------------------------------------------------------------------------------

async function load() {
  const told = await (await fetch("/state")).json();
  state.customers = told.customers;
  state.chats = new Map(told.customers.map(({ key }) => [key, new Map()]));
  for (const [key, bubbles] of Object.entries(told.bubbles)) state.chats.set(key, new Map(bubbles.map((b) => [b.id, b])));
  state.typing = new Set(told.typing);
  $("shop").textContent = told.shop;
  document.querySelector(".avatar.shop").textContent = initials(told.shop);
  $("status").href = told.status_url;
  $("stats").href = new URL("queue-stats", told.status_url);
  for (const button of document.querySelectorAll(".try.model")) button.hidden = told.real_model;
  document.querySelector(".model-note").hidden = !told.real_model;
  choose(decodeURIComponent(location.hash.slice(1)));
}

function follow() {
  const events = new EventSource("/events");
  let waiting = []; // what happens while the state is fetched
  events.onopen = async () => {
    waiting = [];
    await load();
    $("banner").hidden = true;
    for (const event of waiting) take(event);
    waiting = null;
  };
  events.onerror = () => {
    $("banner").hidden = false;
    if (events.readyState === EventSource.CLOSED) setTimeout(follow, 1000); // the browser gives up where something else answers
  };
  events.onmessage = ({ data }) => (waiting ? waiting.push(JSON.parse(data)) : take(JSON.parse(data)));
}

function take(event) {
  if (event.type === "bubble") {
    const { bubble } = event;
    if (!state.chats.has(bubble.customer)) return void load();
    const chat = state.chats.get(bubble.customer);
    const known = chat.has(bubble.id);
    chat.set(bubble.id, bubble);
    if (!known && bubble.direction === "out" && (bubble.customer !== state.me || listShown())) {
      state.unread.set(bubble.customer, (state.unread.get(bubble.customer) || 0) + 1);
    }
    if (bubble.customer === state.me) append(bubble);
    drawPeople();
  } else if (event.type === "tick") {
    const bubble = state.chats.get(event.customer)?.get(event.id);
    if (!bubble) return;
    bubble.tick = event.tick;
    if (event.customer === state.me) document.getElementById(event.id)?.querySelector(".tick")?.replaceWith(tick(event.tick));
    drawPeople();
  } else if (event.type === "typing") {
    if (event.on) state.typing.add(event.customer);
    else state.typing.delete(event.customer);
    if (event.customer === state.me) drawTyping();
    drawPeople();
  } else if (event.type === "call") {
    const words = scene(event);
    const scenes = state.scenes.get(event.customer) || [];
    scenes.push({ ...words, at: Date.now() / 1000 });
    state.scenes.set(event.customer, scenes.slice(-40));
    if (event.customer === state.me) drawScenes();
  }
}

// -- the customers ---------------------------------------------------------------------------------------------------

const listShown = () => NARROW.matches && !document.body.classList.contains("chatting");
const initials = (name) => name.split(/\s+/).map((word) => word[0]).join("").slice(0, 2).toUpperCase();

function address(customer) {
  return customer.wa_id ? `+${customer.wa_id}` : `@${customer.username}, no phone number shown`;
}

function drawPeople() {
  const rows = state.customers.map((customer, index) => {
    const { key } = customer;
    const last = [...state.chats.get(key).values()].at(-1);
    const unread = state.unread.get(key);
    const preview = element("span", { class: "preview" });
    if (state.typing.has(key)) preview.append(element("i", {}, "typing…"));
    else if (last) {
      if (last.direction === "in") preview.append(tick(last.tick));
      preview.append(summary(last));
    } else preview.append(address(customer));
    const row = element("button", { type: "button", class: "person", "aria-pressed": String(key === state.me) },
      element("span", { class: "avatar", "data-tone": String(index % 5) }, initials(customer.name)),
      element("span", { class: "name" }, customer.name),
      element("span", { class: "when" }, last ? clock(last.at) : ""), preview);
    if (unread) row.append(element("span", { class: "unread", "aria-label": `${unread} unread` }, String(unread)));
    row.onclick = () => choose(key, true);
    return row;
  });
  $("people").replaceChildren(...rows);
}

function choose(key, opened = false) {
  const known = state.customers.some((customer) => customer.key === key);
  if (state.me) state.drafts.set(state.me, $("words").value);
  state.me = known ? key : state.customers[0].key;
  document.body.classList.toggle("chatting", known);
  if (known) {
    state.unread.delete(key);
    const hash = `#${encodeURIComponent(key)}`;
    if (location.hash !== hash) history[opened && NARROW.matches ? "pushState" : "replaceState"](null, "", hash);
  }
  const me = state.customers.find((customer) => customer.key === state.me);
  $("me").textContent = me.name;
  document.querySelector(".me-too").textContent = me.name;
  $("words").value = state.drafts.get(state.me) || "";
  drawPeople();
  drawChat();
  drawScenes();
  if (opened && !NARROW.matches) $("words").focus();
}

// -- the chat --------------------------------------------------------------------------------------------------------

function drawChat() {
  $("chat").replaceChildren();
  const me = state.customers.find((customer) => customer.key === state.me);
  $("chat").append(element("li", { class: "hint" }, `You write as ${me.name} (${address(me)}). Messages go to the real daemon; WhatsApp and ${document.querySelector(".model-note").hidden ? "the model are" : "nothing else is"} emulated.`));
  for (const bubble of state.chats.get(state.me).values()) append(bubble, false);
  drawTyping();
  toEnd();
}

function append(bubble, moving = true) {
  const chat = $("chat");
  if (document.getElementById(bubble.id)) return;
  const date = day(bubble.at);
  if (chat.dataset.day !== date || !chat.querySelector(".message")) chat.append(element("li", { class: "day" }, date));
  chat.dataset.day = date;
  const item = draw(bubble, state.chats.get(state.me).get(bubble.quotes));
  if (moving) item.classList.add("new");
  chat.append(item);
  const dots = chat.querySelector(".typing");
  if (dots) chat.append(dots);
  if (moving && (atEnd || bubble.direction === "in")) toEnd();
}

function drawTyping() {
  const on = state.typing.has(state.me);
  $("presence").textContent = on ? "typing…" : "online";
  $("presence").classList.toggle("busy", on);
  $("chat").querySelector(".typing")?.remove();
  if (!on) return;
  const dots = element("div", { class: "bubble", role: "img", "aria-label": "typing" }, element("i"), element("i"), element("i"));
  $("chat").append(element("li", { class: "message theirs typing" }, dots));
  toEnd();
}

function toEnd() {
  $("chat").scrollTop = $("chat").scrollHeight;
  atEnd = true;
}

let atEnd = true; // whether the newest message is in view
$("chat").onscroll = ({ target }) => { atEnd = target.scrollHeight - target.scrollTop - target.clientHeight < 160; };
// A keyboard that opens, or a toast, must not hide the newest message.
new ResizeObserver(() => { if (atEnd) toEnd(); }).observe($("chat"));

// -- behind the scenes -----------------------------------------------------------------------------------------------

function scene(call) {
  const good = call.status === 200;
  const ended = call.status ? `${call.status}${call.code ? ` (${call.code})` : ""}` : "no answer";
  const names = {
    "graph.send": "WhatsApp takes the answer",
    "graph.read": call.typing ? "read mark and typing dots" : "read mark",
    model: "the model is asked",
  };
  let name = names[call.service] || call.service;
  if (call.service === "webhook") name = /^\d+$/.test(call.what) ? "webhook: your message" : `webhook: status ${call.what}`;
  return { name, ended, good, took: call.ms < 1000 ? `${call.ms} ms` : `${(call.ms / 1000).toFixed(1)} s` };
}

function drawScenes() {
  const scenes = state.scenes.get(state.me) || [];
  $("quiet").hidden = scenes.length > 0;
  $("scenes").replaceChildren(...scenes.map((step) => element("li", { class: step.good ? "" : "bad" },
    element("time", {}, new Date(step.at * 1000).toLocaleTimeString([], { hourCycle: "h23" })),
    element("span", {}, step.name), element("b", {}, step.ended), element("small", {}, step.took))));
  $("scenes").scrollTop = $("scenes").scrollHeight;
}

// -- what one can do -------------------------------------------------------------------------------------------------

async function ask(verb, body = {}) {
  try {
    const answer = await fetch(`/${verb}`, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ customer: state.me, ...body }),
    });
    if (answer.ok) return await answer.json();
    toast(await answer.text());
  } catch { // what the browser says of it is no sentence for people
    toast("The demo isn't running, so this was not sent. Start it again (make run): this page goes on by itself.");
  }
  return null;
}

let fading;
function toast(text) {
  $("toast").textContent = text;
  $("toast").hidden = false;
  clearTimeout(fading);
  fading = setTimeout(() => { $("toast").hidden = true; }, 4500);
}

function closeTools() {
  document.body.classList.remove("trying");
  $("more").setAttribute("aria-expanded", "false");
}

$("composer").onsubmit = async (event) => {
  event.preventDefault();
  const text = $("words").value.trim();
  if (!text) return;
  $("words").value = "";
  if (await ask("say", { text }) === null) $("words").value = text;
};
$("words").onkeydown = (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("composer").requestSubmit();
  }
};
$("attach").onclick = ({ target }) => {
  if (!target.dataset.kind) return;
  $("attach").open = false;
  ask("attach", { kind: target.dataset.kind });
};
$("burst").onclick = () => {
  closeTools();
  ask("burst", { texts: BURSTS[SPANISH.some((code) => state.me.startsWith(code)) ? 0 : 1] });
};
for (const button of document.querySelectorAll(".try.model")) {
  button.onclick = async () => {
    closeTools();
    if (await ask("fail", { how: button.dataset.how })) toast("Done: write something, and it meets the failure.");
    $("words").focus();
  };
}
$("redeliver").onclick = async () => {
  closeTools();
  const answer = await ask("redeliver");
  if (answer) toast(answer.status === 200 ? "The daemon said 200 and knows the message already: no second answer." : answer.status ? `The daemon answered ${answer.status}: WhatsApp would deliver it again.` : "The daemon didn't answer: WhatsApp would deliver it again.");
};
$("warn").onclick = async () => {
  closeTools();
  if (await ask("warn")) toast("WhatsApp told it: look at the log, and at the status page.");
};
$("more").onclick = () => {
  const open = document.body.classList.toggle("trying");
  $("more").setAttribute("aria-expanded", String(open));
};
$("chat").onclick = closeTools;
$("back").onclick = () => {
  history.pushState(null, "", location.pathname);
  choose("");
};
document.onkeydown = ({ key }) => {
  if (key !== "Escape") return;
  closeTools();
  $("attach").open = false;
};
window.onpopstate = () => choose(decodeURIComponent(location.hash.slice(1)));
for (const sign of document.querySelectorAll(".legend dt")) sign.append(tick(sign.dataset.tick));

follow();
