// Asking the supervisor. A key that came in the address is kept in memory only, and taken out of the address bar and
// the history.

const address = new URL(location.href);
const apiKey = address.searchParams.get("apikey") ?? "";
if (apiKey) {
  address.searchParams.delete("apikey");
  history.replaceState(null, "", address);
}

const LIMIT_MS = 4000;
const PATIENT_MS = 12000; // the supervisor itself gives an actor 10 s

/** The supervisor answered, but not with what was asked for. */
class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The decoded answer. Rejects with a Refusal, or with another error when there was no whole answer. */
async function ask(path, { method = "GET", limitMs = LIMIT_MS } = {}) {
  const answer = await fetch(path, {
    method,
    headers: apiKey ? { Authorization: `Bearer ${apiKey}` } : {},
    cache: "no-store",
    signal: AbortSignal.timeout(limitMs),
  });
  if (answer.ok) return answer.json();
  if (answer.status === 401) throw new Refusal(401, "a key for the whole device is needed: open /debug?apikey=KEY");
  const text = await answer.text();
  let message = `status ${answer.status}`;
  try {
    message = JSON.parse(text).message;
  } catch {
    // no JSON: the status must do
  }
  throw new Refusal(answer.status, message);
}

const pathOf = (name, what) => `/debug/actors/${encodeURIComponent(name)}/${what}`;
