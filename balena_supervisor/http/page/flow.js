// Who sends to whom: arcs beside the list of actors, and the same as a table.

const ROW_PX = 32;
const NAME_HALF_PX = 62;
const HOT_MS = 3500;
const WARM_MS = 30000;
const MESSAGES_SHOWN = 12;

const flow = {
  counts: {},
  lastSeen: new Map(), // "sender > recipient" -> {type, at: time of the device, seenAt: time of this browser}
  messages: [], // newest first
  after: 0,
  chosen: "",
  names: [],
};

/** Forget what another root has counted. */
function forgetFlow() {
  Object.assign(flow, { counts: {}, messages: [], after: 0 });
  flow.lastSeen.clear();
}

/** Take over an answer of /debug/trace. True when a message to http was among the new ones. */
function takeTrace({ trace, flow: counts }) {
  const isFirst = flow.after === 0;
  flow.counts = counts;
  for (const entry of trace) {
    flow.after = Math.max(flow.after, entry.number);
    if (isLooking(entry, entry.recipient)) continue;
    flow.lastSeen.set(`${entry.sender} > ${entry.recipient}`, { ...entry, seenAt: isFirst ? 0 : Date.now() });
    flow.messages.unshift(entry);
  }
  flow.messages.length = Math.min(flow.messages.length, 200);
  return trace.some((entry) => entry.recipient === "http");
}

function showFlow(actors) {
  const pairs = Object.keys(flow.counts).map((pair) => pair.split(" > ", 2));
  const known = actors.filter((actor) => hasMailbox(actor, pairs)).map((actor) => actor.name);
  flow.names = [...new Set([...known, ...pairs.flat()])];
  const edges = Object.entries(flow.counts).map(([pair, count]) => edgeOf(pair, count)).sort(byPlace);
  showNames(actors);
  showArcs(edges);
  showEdges(edges.filter((edge) => isChosen(edge)));
  showMessages();
}

/** The nursery and gunicorn's arbiter take part in no conversation. */
function hasMailbox(actor, pairs) {
  const speaks = pairs.some((pair) => pair.includes(actor.name));
  return speaks || !(actor.name === "nursery" || actor.name.endsWith("-arbiter"));
}

function edgeOf(pair, count) {
  const [sender, recipient] = pair.split(" > ", 2);
  const last = flow.lastSeen.get(pair);
  const age = last ? Date.now() - last.seenAt : Infinity;
  return {
    pair, sender, recipient, last, count,
    from: flow.names.indexOf(sender), to: flow.names.indexOf(recipient),
    heat: age < HOT_MS ? "hot" : age < WARM_MS ? "warm" : "cold",
  };
}

const byPlace = (one, other) => one.from - other.from || one.to - other.to;
const isChosen = (edge) => !flow.chosen || edge.sender === flow.chosen || edge.recipient === flow.chosen;

// --- the picture ---------------------------------------------------------------------------------------------------

const arcs = makeSvg("svg", { "aria-hidden": "true" }); // the table says the same
const names = make("div", { class: "names", role: "group", "aria-label": "Show the messages of one actor" });

function showNames(actors) {
  if (!arcs.isConnected) byId("diagram").append(arcs, names);
  keepList(names, flow.names, (name) => name, makeName, (button, name) => {
    const actor = actors.find((one) => one.name === name);
    setText(button.glyph, glyphOf(actor?.state));
    setAttribute(button, "data-level", levelOf(actor?.state));
    setAttribute(button, "aria-pressed", String(flow.chosen === name));
    const waiting = actor ? actor.mailbox.depth - actor.in_hand.length : 0;
    setText(button.depth, waiting > 0 ? ` ${waiting} wait` : "");
  });
}

function makeName(name) {
  const choose = () => {
    flow.chosen = flow.chosen === name ? "" : name;
    showFlow(page.actors);
  };
  const glyph = make("span", { class: "glyph", "aria-hidden": "true" });
  const depth = make("span", { class: "small" });
  return Object.assign(make("button", { type: "button", onclick: choose }, glyph, name, depth), { glyph, depth });
}

function showArcs(edges) {
  const width = byId("diagram").clientWidth;
  const height = flow.names.length * ROW_PX;
  setAttribute(arcs, "width", `${width}`);
  setAttribute(arcs, "height", `${height}`);
  const ordered = [...edges].sort((one, other) => rank(one) - rank(other)); // what matters is drawn on top
  arcs.replaceChildren(...ordered.map((edge) => makeArc(edge, width)), ...ordered.map((edge) => makeArcCount(edge, width)));
}

const rank = (edge) => ["cold", "warm", "hot"].indexOf(edge.heat) + (isChosen(edge) ? 3 : 0);

/** Half an ellipse, clockwise: downwards on the right, upwards on the left. */
function shapeOf(edge, width) {
  const side = edge.to > edge.from ? 1 : -1;
  const rows = Math.abs(edge.to - edge.from);
  const reach = width / 2 - NAME_HALF_PX - 22;
  const out = 16 + (reach - 16) * (rows / Math.max(1, flow.names.length - 1));
  const x = width / 2 + side * NAME_HALF_PX;
  const y = (place, shift) => place * ROW_PX + ROW_PX / 2 + shift;
  return { side, x, out, start: y(edge.from, side * 5), end: y(edge.to, side * -5) };
}

function makeArc(edge, width) {
  const { side, x, out, start, end } = shapeOf(edge, width);
  const group = makeSvg("g", { class: `arc ${edge.heat}${isChosen(edge) ? "" : " faint"}` });
  const tip = x + side * 7;
  const line = `M${x},${start} A${out},${Math.abs(end - start) / 2} 0 0 1 ${x},${end}`;
  const thickness = 1 + Math.log10(edge.count) * 0.8;
  group.append(
    makeSvg("path", { class: "line", d: line, "stroke-width": thickness.toFixed(2) }),
    makeSvg("path", { class: "tip", d: `M${x},${end} L${tip},${end - 3.5} L${tip},${end + 3.5} Z` }));
  return group;
}

function makeArcCount(edge, width) {
  const { side, x, out, start, end } = shapeOf(edge, width);
  const label = makeSvg("text", {
    class: `count ${edge.heat}${isChosen(edge) ? "" : " faint"}`, x: `${x + side * out}`, y: `${(start + end) / 2 + 3}`,
  });
  label.textContent = formatBriefly(edge.count);
  return label;
}

new ResizeObserver(() => { if (page.actors.length) showFlow(page.actors); }).observe(byId("diagram"));

// --- the same as a table -------------------------------------------------------------------------------------------

function showEdges(edges) {
  keepList(byId("edges"), edges, (edge) => edge.pair, makeEdgeRow, (row, edge) => {
    setAttribute(row, "data-heat", edge.heat);
    setText(row.count, formatCount(edge.count));
    setName(row.last, edge.last ? edge.last.type : "–");
  });
}

function makeEdgeRow(edge) {
  const count = make("td", { class: "number" });
  const last = make("td", { class: "type" });
  const row = make("tr", {}, make("td", {}, edge.sender), make("td", {}, `→ ${edge.recipient}`), count, last);
  return Object.assign(row, { count, last });
}

function showMessages() {
  const chosen = flow.messages.filter(isChosen);
  keepShortList(byId("messages"), chosen, MESSAGES_SHOWN, "none yet", (entry) => entry.number, (entry) =>
    make("li", {},
      make("time", { datetime: entry.at }, formatTime(entry.at)),
      make("span", { class: "what" }, entry.type),
      make("span", { class: "line" }, `${entry.sender} → ${entry.recipient}, ${entry.kind}, ${formatBytes(entry.size_bytes)}`)));
}
