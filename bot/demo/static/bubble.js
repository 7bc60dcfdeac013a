// Draws messages. Everything a customer or a model wrote becomes text nodes, never markup.

const SVG = "http://www.w3.org/2000/svg";
const KINDS = {
  image: ["🖼️", "Photo"], audio: ["🎤", "Voice note"], video: ["🎬", "Video"], document: ["📄", "Document"],
  sticker: ["💠", "Sticker"], location: ["📍", "Location"], reaction: ["", "Reaction"], revoke: ["🚫", "Deleted a message"],
  unsupported: ["❔", "Something this phone can't show"],
};
const TICKS = {
  "": "not confirmed", sending: "sending", sent: "sent", delivered: "delivered", read: "read", failed: "not delivered",
};

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") made.className = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

export function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

export function day(seconds) {
  const date = new Date(seconds * 1000);
  if (date.toDateString() === new Date().toDateString()) return "Today";
  return date.toLocaleDateString([], { weekday: "long", day: "numeric", month: "long" });
}

export function summary(bubble) {
  const [sign, name] = KINDS[bubble.kind] || ["", ""];
  return [sign, bubble.text || name].filter(Boolean).join(" ").replace(/[*_~`]/g, "");
}

export function tick(state) {
  const holder = element("span", { class: "tick", "data-tick": state, role: "img", "aria-label": TICKS[state] ?? state });
  const paths = {
    sent: ["M3 9l4 4 8-9"], delivered: ["M1 9l4 4 8-9", "M8 12l1 1 8-9"], read: ["M1 9l4 4 8-9", "M8 12l1 1 8-9"],
    failed: ["M9 3v8", "M9 14v1"],
  }[state] || ["M9 4v5l3 2", "M9 1a8 8 0 100 16A8 8 0 009 1"];
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("viewBox", "0 0 18 18");
  for (const line of paths) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", line);
    drawing.append(path);
  }
  holder.append(drawing);
  return holder;
}

export function draw(bubble, quoted) {
  const body = element("div", { class: "bubble" });
  if (quoted) body.append(element("blockquote", {}, summary(quoted)));
  const [sign, name] = KINDS[bubble.kind] || [];
  if (bubble.kind === "audio") body.append(voice());
  else if (sign !== undefined && bubble.kind !== "reaction") {
    body.append(element("div", { class: `card ${bubble.kind}` }, element("span", {}, sign), element("small", {}, name)));
  }
  if (bubble.text) body.append(element("div", { class: "words" }, ...formatted(bubble.text)));
  body.append(element("span", { class: "meta" }, element("time", {}, clock(bubble.at)), tick(bubble.tick)));
  const side = bubble.direction === "in" ? "mine" : "theirs";
  return element("li", { class: `message ${side}`, id: bubble.id, "data-kind": bubble.kind }, body);
}

function voice() {
  const bars = [3, 6, 9, 5, 8, 12, 7, 4, 9, 11, 6, 3, 7, 10, 5, 8, 4, 6, 3, 5];
  const wave = element("span", { class: "wave" });
  for (const height of bars) {
    const bar = element("i");
    bar.style.height = `${height * 1.6}px`;
    wave.append(bar);
  }
  return element("div", { class: "card audio" }, element("span", {}, "▶"), wave, element("small", {}, "0:07"));
}

// WhatsApp's own formatting: *bold* _italic_ ~struck~ `code` ```block```, lists, quotes and links.
export function formatted(text) {
  const nodes = [];
  for (const [index, part] of text.split("```").entries()) {
    if (index % 2) nodes.push(element("pre", {}, part.replace(/^\n/, "")));
    else if (part.trim()) nodes.push(...lines(part.replace(/^\n|\n$/g, "")));
  }
  return nodes;
}

function lines(text) {
  const nodes = [];
  for (const line of text.split("\n")) {
    const [, bullet, item] = line.match(/^\s*([-*•]|\d{1,3}\.)\s+(.*)$/) || [];
    const [, quote] = line.match(/^>\s?(.*)$/) || [];
    if (item !== undefined) {
      const mark = /\d/.test(bullet) ? bullet : "•";
      nodes.push(element("div", { class: "item" }, element("span", {}, mark), element("span", {}, ...spans(item))));
    } else if (quote !== undefined) nodes.push(element("div", { class: "quote" }, ...spans(quote)));
    else nodes.push(element("p", {}, ...spans(line)));
  }
  return nodes;
}

function spans(line) {
  const pattern = /(?<![\w*])\*(\S(?:.*?\S)?)\*(?![\w*])|(?<!\w)_(\S(?:.*?\S)?)_(?!\w)|(?<!\w)~(\S(?:.*?\S)?)~(?!\w)|`([^`]+)`|(https?:\/\/[^\s<>"]+)/u;
  const found = line.match(pattern);
  if (!found) return line ? [line] : [];
  const [whole, bold, italic, struck, code, link] = found;
  const before = line.slice(0, found.index);
  const after = line.slice(found.index + whole.length);
  let node;
  if (bold) node = element("strong", {}, ...spans(bold));
  else if (italic) node = element("em", {}, ...spans(italic));
  else if (struck) node = element("s", {}, ...spans(struck));
  else if (code) node = element("code", {}, code);
  else node = element("a", { href: link, target: "_blank", rel: "noopener noreferrer" }, link);
  return [...spans(before), node, ...spans(after)];
}
