// The table of processes: one row for each, and below it what is folded open (mailbox, stack).

const GLYPHS = { running: "●", starting: "◌", "back-off": "▲", hung: "✕", stopped: "■" };
const OLD_IN_HAND_S = 10; // no handler waits, so a message that is in one for so long is worth a look
const IN_HAND_SHOWN = 3;
const FRESH_MS = 8000;
/** Ends with the container only, so there is nothing that could be restarted. */
const NOT_RESTARTED = "nursery";

/** The messages by which these pages look into root; they are left out where they would drown the others. */
const LOOKING = new Set(["ListActors", "ListDeadLetters", "ShowTrace", "ShowMailbox", "ShowStack"]);
const isLooking = (message, recipient) => recipient === "root" && message.sender === "http" && LOOKING.has(message.type);

/** How many of the messages in hand are questions of these pages. */
const countLooking = (actor) => actor.in_hand.filter((message) => isLooking(message, actor.name)).length;

const glyphOf = (state) => GLYPHS[state] ?? "?";
const wordsOf = (state) => (state === "back-off" ? "in back-off" : state);
const levelOf = (state) => (state === "running" ? "good" : state === "starting" ? "warn" : "bad");

const processRows = new Map();
const lastMemory = new Map();

/** `view` is the answer of /debug/actors; without `hasMemory` the last known values stay. */
function showProcesses(view, hasMemory) {
  if (hasMemory) {
    lastMemory.clear();
    for (const actor of view) lastMemory.set(actor.name, { pid: actor.pid, bytes: actor.pss_bytes });
  }
  const most = Math.max(1, ...[...lastMemory.values()].map((memory) => memory.bytes));
  keepList(byId("processes"), view.flatMap(rowsOf), ([name, part]) => `${name} ${part}`, ([name, part]) => {
    const row = processRows.get(name) ?? new ProcessRow(name);
    processRows.set(name, row);
    return part === "row" ? row.element : row.detail;
  });
  for (const actor of view) processRows.get(actor.name).show(actor, most);
}

const rowsOf = (actor) => [[actor.name, "row"], [actor.name, "detail"]];

class ProcessRow {
  constructor(name) {
    this.name = name;
    this.glyph = make("span", { class: "glyph", "aria-hidden": "true" });
    this.state = make("span", { class: "state" });
    this.identity = make("span", { class: "small identity" });
    this.problem = make("span", { class: "small problem" });
    this.uptime = make("span", { class: "value" });
    this.exits = make("span", { class: "small" });
    this.depth = make("span", { class: "value" });
    this.water = make("span", { class: "small" });
    this.inHand = make("ul", { class: "in-hand" });
    this.handled = make("span", { class: "value" });
    this.failed = make("span", { class: "small" });
    this.memory = make("span", { class: "value" });
    this.bar = make("span", {});
    this.actions = make("div", { class: "actions" });
    this.makeActions();
    const cell = (label, ...children) => make("td", { role: "cell", "data-label": label }, ...children);
    this.element = make("tr", { role: "row", "data-name": name },
      make("th", { role: "rowheader", scope: "row" },
        make("span", {}, this.glyph, make("span", { class: "name" }, name), " ", this.state),
        this.identity, this.problem),
      cell("Up for", this.uptime, this.exits),
      cell("Mailbox", this.depth, this.water),
      cell("In hand", this.inHand),
      cell("Handled", this.handled, this.failed),
      cell("Memory", this.memory, make("span", { class: "bar", "aria-hidden": "true" }, this.bar)),
      make("td", { role: "cell", class: "buttons" }, this.actions, this.outcome));
    this.makeDetail();
  }

  makeActions() {
    this.look = make("button", {
      type: "button", "aria-expanded": "false", "aria-controls": `detail-${this.name}`,
      "aria-label": `Look into ${this.name}`, onclick: () => this.toggle(),
    }, "Look");
    this.restart = make("button", {
      type: "button", "aria-label": `Restart ${this.name}`, onclick: () => this.confirm(),
    }, "Restart");
    this.cancel = make("button", {
      type: "button", "aria-label": `No, leave ${this.name}`, onclick: () => this.withdraw(),
    }, "No");
    this.really = make("button", {
      type: "button", class: "danger", "aria-label": `Yes, restart ${this.name}`, onclick: () => this.doRestart(),
    }, "Yes, restart");
    this.question = make("span", { class: "confirm", role: "group", "aria-label": `Restart ${this.name}?`, hidden: "" },
      this.really, this.cancel);
    this.question.addEventListener("keydown", (event) => { if (event.key === "Escape") this.withdraw(); });
    this.outcome = make("span", { class: "small", role: "status" });
    this.actions.append(this.look);
    if (this.name !== NOT_RESTARTED) this.actions.append(this.restart, this.question);
  }

  makeDetail() {
    this.mailboxNote = make("p", { class: "note" }, "asking …");
    this.mailbox = make("ul", { class: "entries" });
    this.stack = make("div", { class: "stack" });
    this.detail = make("tr", { role: "row", class: "detail", id: `detail-${this.name}`, hidden: "" },
      make("td", { role: "cell", colspan: "7" },
        make("h3", {}, "Mailbox"), this.mailboxNote, this.mailbox,
        make("h3", {}, "Stack ",
          make("button", { type: "button", "aria-label": `Show stack of ${this.name}`, onclick: () => this.showStack() },
            "Show stack")),
        this.stack));
  }

  show(actor, mostBytes) {
    this.actor = actor;
    const depth = actor.mailbox.depth - countLooking(actor);
    setAttribute(this.element, "data-state", actor.state);
    setAttribute(this.element, "data-level", levelOf(actor.state));
    setAttribute(this.element, "data-fresh", Date.now() < (this.freshUntil ?? 0) ? "" : null);
    setText(this.glyph, glyphOf(actor.state));
    setText(this.state, actor.state);
    setText(this.identity, `${actor.pid ? `pid ${actor.pid}` : "no process"}, gen. ${actor.generation}`);
    setText(this.problem, actor.problem);
    setText(this.uptime, actor.pid ? formatDuration(actor.uptime_s) : "–");
    setText(this.exits, exitsOf(actor));
    setText(this.depth, `${depth}`);
    const size = depth ? `, ${formatBytes(actor.mailbox.size_bytes)}` : "";
    setText(this.water, actor.mailbox.high_water ? `peak ${actor.mailbox.high_water}${size}` : "");
    setText(this.handled, formatCount(actor.handled));
    setText(this.failed, actor.failed ? `${formatCount(actor.failed)} failed` : "");
    setAttribute(this.failed, "data-level", actor.failed ? "warn" : null);
    this.showMemory(mostBytes);
    this.showOutcome();
    this.showInHand(actor.in_hand.filter((message) => !isLooking(message, actor.name)));
  }

  showMemory(mostBytes) {
    const memory = lastMemory.get(this.name);
    const known = memory !== undefined && memory.pid === this.actor.pid && memory.bytes > 0;
    setText(this.memory, known ? formatBytes(memory.bytes) : "–");
    this.bar.style.width = `${known ? (100 * memory.bytes) / mostBytes : 0}%`;
  }

  showInHand(messages) {
    const shown = messages.slice(0, IN_HAND_SHOWN).map((message) => ({ ...message, key: message.id }));
    const rest = messages.length - shown.length;
    if (rest > 0) shown.push({ key: "rest", rest });
    if (messages.length === 0) shown.push({ key: "none" });
    setAttribute(this.inHand.parentElement, "data-empty", messages.length ? null : "");
    keepList(this.inHand, shown, (message) => message.key, () => make("li", {}), (item, message) => {
      if (message.key === "none") setText(item, "–");
      else if (message.key === "rest") setText(item, `and ${message.rest} more`);
      else setText(item, `${message.type} from ${message.sender}, ${message.state} for ${formatDuration(message.age_s)}`);
      const isOld = message.state === "handling" && message.age_s > OLD_IN_HAND_S;
      setAttribute(item, "data-level", isOld ? "warn" : null);
    });
  }

  /** The order to restart has had its effect when another process runs. */
  showOutcome() {
    if (this.askedOf === undefined || this.actor.state !== "running" || this.actor.pid === this.askedOf) return;
    this.askedOf = undefined;
    setText(this.outcome, "");
  }

  /** Mark the row for some seconds. */
  markFresh() {
    this.freshUntil = Date.now() + FRESH_MS;
  }

  toggle() {
    this.detail.hidden = !this.detail.hidden;
    setAttribute(this.look, "aria-expanded", String(!this.detail.hidden));
    this.refreshDetail();
  }

  /** Called with every look at the supervisor; asks only while it is folded open. */
  async refreshDetail() {
    if (this.detail.hidden) return;
    let messages = [];
    let note = "nothing in hand, nothing waits";
    try {
      messages = (await ask(pathOf(this.name, "mailbox"))).messages.filter((message) => !isLooking(message, this.name));
      if (messages.length) note = "In hand first, then what waits, in order.";
    } catch (error) {
      note = error.message;
    }
    setText(this.mailboxNote, note);
    keepList(this.mailbox, messages, (message) => message.id, makeMailboxEntry, updateMailboxEntry);
  }

  async showStack() {
    this.stack.replaceChildren("asking …");
    try {
      const { stack } = await ask(pathOf(this.name, "stack"), { limitMs: PATIENT_MS });
      this.stack.replaceChildren(makeScrollText(stack, `Stack of ${this.name}`));
    } catch (error) {
      this.stack.replaceChildren(error.message);
    }
  }

  confirm() {
    this.ask(true);
    this.really.focus();
  }

  withdraw() {
    this.ask(false);
    this.restart.focus();
  }

  /** Put the question in the place of the other buttons, or these back. */
  ask(isAsked) {
    this.look.hidden = this.restart.hidden = isAsked;
    this.question.hidden = !isAsked;
  }

  async doRestart() {
    this.withdraw();
    this.askedOf = this.actor.pid;
    setText(this.outcome, "asked to restart");
    try {
      await ask(pathOf(this.name, "restart"), { method: "POST", limitMs: PATIENT_MS });
    } catch (error) {
      setText(this.outcome, error instanceof Refusal ? error.message : "asked to restart, no answer");
    }
  }
}

function exitsOf(actor) {
  if (!actor.restarts) return actor.last_exit;
  return `${plural(actor.restarts, "restart")}${actor.last_exit ? `, ${actor.last_exit}` : ""}`;
}

function makeMailboxEntry(message) {
  const line = make("span", { class: "line" });
  const item = make("li", {},
    make("span", { class: "what" }, message.type, make("span", { class: "small" }, ` ${message.kind} from ${message.sender}`)),
    line, makeBody(message.body, `Body of message ${message.id}`));
  item.line = line;
  return item;
}

function updateMailboxEntry(item, message) {
  const deadline = message.deadline_s === null ? "" : `, deadline in ${formatDuration(message.deadline_s)}`;
  setText(item.line, `${message.state} for ${formatDuration(message.age_s)}, ${plural(message.tries, "try", "tries")}${deadline}`);
}
