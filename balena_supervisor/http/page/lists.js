// Decisions and waits, dead letters, and what was seen while the page was open.

const SHOWN = 12;
const SEEN_KEPT = 100;
const OUTCOMES = { running: "◌", done: "●", failed: "✕", withdrawn: "–" };

function showDecisions(status) {
  keepShortList(byId("waiting"), status.waiting, SHOWN, "nothing",
    (wait) => `${wait.subject} ${wait.reason}`,
    (wait) => {
      const until = make("span", { class: "small" });
      const item = make("li", {}, make("span", { class: "what" }, wait.subject),
        make("span", { class: "line" }, wait.reason, until));
      return Object.assign(item, { until });
    },
    (item, wait) => setText(item.until, wait.retryAt ? ` again at ${formatTime(wait.retryAt)}` : ""));
  keepShortList(byId("decisions"), [...status.decisions].reverse(), SHOWN, "none yet",
    (decision) => `${decision.number} ${decision.at}`, makeDecision, updateDecision);
}

function makeDecision(decision) {
  const glyph = make("span", { class: "glyph", "aria-hidden": "true" });
  const outcome = make("span", { class: "small" });
  const error = make("span", { class: "problem" });
  const item = make("li", {},
    make("time", { datetime: decision.at }, formatTime(decision.at)),
    make("span", { class: "what" }, glyph, decision.step, outcome),
    make("span", { class: "line" }, decision.reason, error));
  return Object.assign(item, { glyph, outcome, error });
}

function updateDecision(item, decision) {
  setAttribute(item, "data-outcome", decision.outcome);
  setText(item.glyph, OUTCOMES[decision.outcome] ?? "?");
  setText(item.outcome, ` ${decision.outcome}`);
  setText(item.error, decision.error ?? "");
}

function showDeadLetters(letters) {
  setText(byId("dead-count"), formatCount(letters.length));
  setAttribute(byId("dead-count"), "data-level", letters.length ? "warn" : null);
  keepShortList(byId("dead-letters"), [...letters].reverse(), SHOWN, "none: nothing was lost",
    (letter) => `${letter.number} ${letter.at}`, (letter) =>
      make("li", {},
        make("time", { datetime: letter.at }, formatTime(letter.at)),
        make("span", { class: "what" }, letter.type || "unreadable bytes", make("span", { class: "small" }, ` ${letter.code}`)),
        make("span", { class: "line" }, letter.reason),
        make("span", { class: "line small" }, `${letter.kind || "frame"} from ${letter.sender} to ${letter.recipient}`),
        makeBody(letter.body, `Body of dead letter ${letter.number}`)));
}

// --- what was seen -------------------------------------------------------------------------------------------------

const seen = [];

function note(subject, fact, level = "good") {
  seen.unshift({ number: (seen[0]?.number ?? 0) + 1, at: new Date(), subject, fact, level });
  seen.length = Math.min(seen.length, SEEN_KEPT);
  showSeen();
}

function showSeen() {
  keepShortList(byId("seen"), seen, SHOWN, "no process has changed", (entry) => entry.number, (entry) =>
    make("li", { "data-level": entry.level },
      make("time", { datetime: entry.at.toISOString() }, formatMyTime(entry.at)),
      make("span", { class: "what" }, entry.subject),
      make("span", { class: "line" }, entry.fact)));
}

/** Name of a process -> the pid with which it was last seen running. */
const lastPids = new Map();

/** What has become of the processes since the last look. */
function noteChanges(before, now) {
  for (const actor of now) {
    const old = before.find((one) => one.name === actor.name);
    const lastPid = lastPids.get(actor.name);
    if (actor.state === "running") lastPids.set(actor.name, actor.pid);
    if (old === undefined || (old.pid === actor.pid && old.state === actor.state)) continue;
    processRows.get(actor.name)?.markFresh();
    note(actor.name, changeOf(old, actor, lastPid), levelOf(actor.state));
  }
}

function changeOf(old, now, lastPid) {
  const how = now.last_exit && (now.restarts !== old.restarts || now.state !== "running") ? `: ${now.last_exit}` : "";
  if (now.state !== "running") return `is ${wordsOf(now.state)}${now.problem ? `: ${now.problem}` : how}`;
  const was = lastPid && lastPid !== now.pid ? ` (was ${lastPid})` : "";
  return old.state === "running" && was ? `was restarted${how}. Runs as pid ${now.pid}${was}` : `runs again as pid ${now.pid}${was}`;
}
