// The loop: looks once a second while the page is visible, less often while the supervisor is away.

const LOOK_EVERY_MS = 1000;
const RETRY_AT_MOST_MS = 8000;
const SLOW_EVERY = 5; // measuring memory costs the device ten times as much as all else

const page = { actors: [], looks: 0, failures: 0, awaySince: null, generation: 0, timer: 0, busy: false };

async function look() {
  page.busy = true;
  const isSlow = page.looks % SLOW_EVERY === 0;
  try {
    // one after the other, so that a question of this page is not seen waiting in root's mailbox
    const { actors } = await ask(isSlow ? "/debug/actors" : "/debug/actors?memory=0");
    const trace = await ask(`/debug/trace?after=${flow.after}`);
    const somethingNew = takeLook(actors, trace, isSlow);
    if (isSlow || somethingNew) await lookAtState();
    if (isSlow) showDeadLetters((await ask("/debug/dead-letters")).dead_letters);
    await Promise.all([...processRows.values()].map((row) => row.refreshDetail()));
    page.looks += 1;
    showAnswered();
  } catch (error) {
    showAway(error);
  }
  page.busy = false;
  plan();
}

function takeLook(actors, trace, hasMemory) {
  const { generation } = actors.find((actor) => actor.name === "root");
  const isNewRoot = page.generation !== 0 && page.generation !== generation;
  page.generation = generation;
  if (isNewRoot) forgetFlow(); // its numbers begin anew; the next look asks for all of them
  const somethingNew = isNewRoot || takeTrace(trace);
  const before = page.actors;
  page.actors = actors;
  showProcesses(actors, hasMemory);
  noteChanges(before, actors);
  showFlow(actors);
  showSummary(actors);
  return somethingNew;
}

/** Decisions and engine: these are there as soon as the planner has reported. */
async function lookAtState() {
  const problem = byId("state-problem");
  try {
    const [status, found] = await Promise.all([ask("/v2/state/status"), ask("/debug/capabilities")]);
    showDecisions(status);
    setText(byId("version"), found.version);
    setText(byId("engine"), found.engine.up ? "up" : "down");
    setText(byId("engine-problem"), found.engine.problem);
    setAttribute(byId("engine"), "data-level", found.engine.up ? "good" : "bad");
    setText(byId("apply"), status.appState);
    setText(byId("target"), `target ${status.targetVersion}`);
    problem.hidden = true;
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    setText(problem, error.message);
    problem.hidden = false;
  }
}

function showSummary(actors) {
  const down = actors.filter((actor) => actor.state !== "running");
  const verdict = down.length === 0
    ? `All ${actors.length} processes run`
    : down.map((actor) => `${actor.name} is ${wordsOf(actor.state)}`).join(", ");
  setText(byId("verdict"), verdict);
  setAttribute(byId("verdict"), "data-level", down.length ? "bad" : null);
  document.title = `${down.length ? "▲" : "●"} ${verdict} · ${location.host}`;
  const sum = (values) => values.reduce((total, value) => total + value, 0);
  setText(byId("restarts"), formatCount(sum(actors.map((actor) => actor.restarts))));
  const inHand = sum(actors.map((actor) => actor.in_hand.length - countLooking(actor)));
  const present = sum(actors.map((actor) => actor.mailbox.depth - countLooking(actor)));
  setText(byId("waiting-count"), `${formatCount(present - inHand)} / ${formatCount(inHand)}`);
  setText(byId("memory"), formatBytes(sum([...lastMemory.values()].map((memory) => memory.bytes))));
}

// --- whether it answers --------------------------------------------------------------------------------------------

function showAnswered() {
  if (page.awaySince) note("supervisor", "answers again");
  page.failures = 0;
  page.awaySince = null;
  showConnection("live", "live");
}

function showAway(error) {
  if (!page.awaySince) {
    page.awaySince = new Date();
    note("supervisor", error instanceof Refusal ? error.message : "does not answer", "bad");
  }
  page.failures += 1;
  page.looks = 0; // begin with a whole look when it is back
  page.reason = error instanceof Refusal ? `: ${error.message}` : "";
  const since = formatMyTime(page.awaySince);
  showConnection("away", error instanceof Refusal && error.status === 401
    ? error.message
    : `no answer since ${since}${page.reason}`);
}

function showConnection(state, text) {
  const place = byId("connection");
  setAttribute(place, "data-state", state);
  setText(place, text);
  document.body.classList.toggle("stale", state === "away");
}

// --- when to look --------------------------------------------------------------------------------------------------

function plan() {
  clearTimeout(page.timer);
  if (document.hidden) {
    showConnection("paused", "paused while hidden");
    return;
  }
  const wait = page.failures ? Math.min(LOOK_EVERY_MS * 2 ** (page.failures - 1), RETRY_AT_MOST_MS) : LOOK_EVERY_MS;
  page.timer = setTimeout(look, wait);
}

document.addEventListener("visibilitychange", () => {
  clearTimeout(page.timer);
  if (page.busy) return; // plans the next look itself
  if (document.hidden) plan();
  else look();
});

showSeen();
look();
