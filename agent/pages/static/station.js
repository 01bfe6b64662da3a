// The station page: shows the state that the agent pushes, and makes its outcomes heard and felt. It keeps nothing:
// whatever it shows was pushed, so that it resumes by itself. All text goes through textContent.
import { t, listen, h } from "./tallyman.js";
import { signal, offerSound } from "./station_signal.js";

const BEAT_MS = 2000; // as the agent sends it
const LOST_MS = 3 * BEAT_MS;
const PASSED_MS = 1200; // nothing passes for so long: the gate's signal is given once more, for all of it
const work = document.querySelector(".work");
const base = `/stations/${encodeURIComponent(work.dataset.station)}`;
const at = (id) => document.getElementById(id);

let state = null;
let token = null; // of the outcome shown last; null before the first state
let waited = false; // the banner says that a scan waits for the disk
let heard = { number: 0, rank: -1, timer: 0 }; // of the passage that was signalled last
let heardAt = performance.now();

// --- the agent's side ------------------------------------------------------------------------------------

listen(`${base}/events`, ["beat"], (data, name) => {
  heardAt = performance.now();
  if (name === "message") show(data);
  else if (!at("lost").hidden) show(state);
}, (live) => {
  if (live) heardAt = performance.now();
  else setLost(true);
});
setInterval(() => {
  if (performance.now() - heardAt > LOST_MS) setLost(true);
}, BEAT_MS / 2);

function setLost(lost) {
  if (!state && !lost) return;
  at("lost").hidden = !lost;
  if (lost) {
    at("status").dataset.status = "failed";
    at("status").textContent = t("station.lost_short");
  }
  document.documentElement.dataset.lost = String(lost);
}

async function post(path, body) {
  try {
    await fetch(`${base}/${path}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
  } catch {
    setLost(true); // a refusal is an outcome, and pushed like any other
  }
}

/** Control and reordering characters are made visible; everything else is as it was read. */
function visible(text) {
  return String(text ?? "").replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g,
    (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function button(label, onClick, attributes = {}) {
  const made = h("button", { type: "button", ...attributes }, label);
  made.addEventListener("click", () => {
    made.blur(); // a scanner that types Enter must not press it again
    onClick();
  });
  return made;
}

// --- showing ---------------------------------------------------------------------------------------------

function show(next) {
  const first = token === null;
  state = next;
  setLost(false);
  showStatus(state.status);
  showDisk(state.status.journal);
  showOutcome(first);
  SHOW_JOB[state.job.kind](state.job, state.status.leases_passed && !state.status.online);
  showConcerns();
  at("count").textContent = state.count;
  at("operator").textContent = visible(state.operator_name ?? t("station.operator_none"));
  showUndo();
  showRecorded();
  showNotes();
}

function showStatus(status) {
  const pill = at("status");
  pill.dataset.status = status.online ? "online" : "offline";
  if (!status.online) pill.textContent = t("station.offline", { queued: status.queued });
  else if (status.queued) pill.textContent = t("station.sending", { queued: status.queued });
  else pill.textContent = t("station.online");
  const hints = [];
  const records = !status.journal.refuses && status.journal.waiting_s === null;
  if (!status.online && records) hints.push(t("station.offline_hint", { reason: visible(status.reason) }));
  for (const { name, status: is, reason } of status.devices) {
    if (is === "failed") hints.push(t("station.device_failed", { name, reason: visible(reason) }));
    else if (reason) hints.push(t("station.device_says", { name, reason: visible(reason) }));
    else if (is === "connecting") hints.push(t("station.device_connecting", { name }));
  }
  if (status.journal.moved_from) hints.push(t("station.disk_moved", { file: visible(status.journal.moved_from) }));
  at("hints").hidden = hints.length === 0;
  at("hints").replaceChildren(...hints.map((hint) => h("p", { class: "notice" }, hint)));
}

/** Nobody may take the last OK for the answer to a scan that is not recorded yet, or not at all. */
function showDisk(disk) {
  let word = "", text = "";
  if (disk.waiting_s !== null) {
    word = t("station.disk_slow", { seconds: disk.waiting_s });
    text = t("station.disk_slow_hint");
  } else if (disk.refuses) {
    word = t("station.disk_refuses");
    text = t("station.disk_refuses_hint", { reason: visible(disk.text) });
  } else if (disk.text) {
    word = t("station.disk_low");
    text = visible(disk.text);
  }
  at("disk").hidden = !word;
  at("disk-word").textContent = word;
  at("disk-text").textContent = text;
}

function showOutcome(first) {
  const { last, before_restart: unseen } = state;
  const banner = at("banner");
  const now = last ? last.token : 0;
  if (state.recording !== null && state.status.journal.waiting_s !== null) {
    waited = true;
    token ??= now;
    setBanner(null, t("station.disk_waiting"), t("station.disk_waiting_hint", { code: visible(state.recording) }));
    return;
  }
  if (now === token && !waited) return;
  first ||= now === token; // what was heard already is shown again, and not heard again
  waited = false;
  token = now;
  if (last && state.passage?.token === now) {
    showPassage(state.passage, first);
  } else if (last) {
    setBanner(last.outcome, t(`outcome.${last.outcome}`), last.text);
    if (first) return;
    signal(last.outcome, banner);
    at("chooser").hidden = true;
  } else if (unseen && isGate()) {
    setBanner("ok", t("station.gate_before_restart", { count: state.count }), t("station.gate_before_restart_hint"));
  } else if (unseen) {
    const values = { quantity: unseen.quantity, name: visible(unseen.name) };
    setBanner("ok", t("station.before_restart", values), t("station.before_restart_hint"));
  } else setBanner(null, t("station.waiting"), t(isGate() ? "station.gate_waiting_hint" : "station.waiting_hint"));
}

function isGate() {
  return state.job.kind === "gate";
}

/** Fifty tags in a second are one message: what needs a person most stands large, the rest beside it. */
function showPassage(passage, first) {
  const said = Object.entries(passage.counts).map(([tally, count]) => t(`station.passed.${tally}`, { count }));
  const worst = said.pop();
  setBanner(passage.outcome, worst, said.join(" · ") || t(passage.outcome === "ok" ? "station.passed_well" : "station.passed_badly"));
  const rank = ["ok", "duplicate", "reject"].indexOf(passage.outcome);
  const isNews = passage.number !== heard.number || rank > heard.rank;
  clearTimeout(heard.timer);
  heard = { number: passage.number, rank, timer: 0 };
  if (first) return;
  at("chooser").hidden = true;
  if (isNews) signal(passage.outcome, at("banner"));
  else heard.timer = setTimeout(() => signal(passage.outcome, at("banner")), PASSED_MS);
}

function setBanner(outcome, word, text) {
  const banner = at("banner");
  if (outcome) banner.dataset.outcome = outcome;
  else delete banner.dataset.outcome;
  banner.dataset.restart = String(!state.last && outcome === "ok");
  at("word").textContent = word;
  at("text").textContent = text;
}

function showPick(job, passed) {
  const parts = [];
  if (job.step === "idle") {
    parts.push(h("p", { class: "lead" }, t("station.idle")), h("p", { class: "soft" }, t("station.idle_hint")));
  } else {
    const going = job.step === "go";
    parts.push(
      h("p", { class: "step" }, going ? t("station.go_to") : t("station.here", { place: visible(job.from_location ?? state.location) })),
      h("p", { class: "target" }, going ? visible(job.from_location) : `${job.left} ×`),
      h("p", { class: "lead" }, going ? `${job.left} × ${visible(job.name)}` : visible(job.name)),
      h("p", { class: "soft" }, [
        t("station.of_quantity", { done: job.done, quantity: job.quantity }),
        job.lot ? t("station.lot", { lot: visible(job.lot) }) : "",
        job.document ? t("station.for_order", { document: visible(job.document) }) : "",
        job.holder ? t("station.elsewhere", { agent: visible(job.holder) }) : passed ? t("station.maybe_elsewhere") : "",
      ].filter(Boolean).join(" · ")),
      bar(job.done, job.quantity),
    );
  }
  const next = job.next;
  parts.push(h("p", { class: "then soft" }, next
    ? t("station.then", { place: visible(next.from_location ?? ""), quantity: next.quantity, name: visible(next.name) })
    : job.step === "idle" ? "" : t("station.then_nothing")));
  parts.push(documentRow(t("station.order"), state.document ?? t("station.any_order")));
  at("job").replaceChildren(...parts);
}

function showReceive(job) {
  const parts = [
    h("p", { class: "step" }, t("station.place")),
    h("p", { class: "target" }, visible(state.location)),
  ];
  if (job.document && job.expected) {
    const values = { document: visible(job.document), received: job.received, expected: job.expected };
    parts.push(h("p", { class: "lead" }, t("station.order_expected", values)), bar(job.received, job.expected));
  }
  if (job.document && !job.open) {
    parts.push(h("p", { class: "notice" }, t("station.document_closed", { document: visible(job.document) })));
  }
  parts.push(documentRow(t("station.document"), state.document ?? t("station.blind")));
  at("job").replaceChildren(...parts);
  at("expected").hidden = job.lines.length === 0;
  at("expected").replaceChildren(h("h2", {}, t("station.lines")), h("ul", { class: "list" }, ...job.lines.map(line)));
}

function showGate(job) {
  const parts = [
    h("p", { class: "step" }, t("station.place")),
    h("p", { class: "target" }, visible(state.location)),
  ];
  if (job.without) parts.push(h("p", { class: "notice" }, t("station.gate_without", { count: job.without })));
  const row = h("div", { class: "chosen" }, h("span", { class: "soft" }, t("station.gate_hint")));
  if (state.count) row.append(button(t("station.finish"), () => post("document", { document: null })));
  parts.push(row);
  at("job").replaceChildren(...parts);
  at("expected").hidden = false;
  at("expected").replaceChildren(
    h("h2", {}, t("station.gate_orders")),
    ...job.orders.map(order),
    job.orders.length ? "" : h("p", { class: "empty" }, t("station.gate_no_orders")),
    job.more ? h("p", { class: "soft" }, t("station.gate_more", { count: job.more })) : "");
}

function order(one) {
  // What other agents received is not known here: an order that nothing came for only says what it expects.
  const begun = one.received > 0;
  const progress = begun ? `${one.received} / ${one.expected}` : t("station.gate_expected", { count: one.expected });
  const parts = [
    h("div", { class: "order-head" },
      h("strong", {}, visible(one.document)), h("span", { class: "soft" }, visible(one.supplier)),
      h("span", { class: "number" }, progress)),
    begun ? bar(one.received, one.expected) : "",
  ];
  // Line by line only where something has come: the others would push it off the screen.
  if (one.scans) parts.push(h("ul", { class: "list" }, ...one.lines.map(line)));
  return h("div", { class: "order", "data-document": one.document }, ...parts);
}

const SHOW_JOB = { receive: showReceive, pick: showPick, gate: showGate };

function line(item) {
  const over = item.received - item.expected;
  const mark = over > 0
    ? h("span", { class: "outcome mark", "data-outcome": "duplicate" }, t("station.over_mark", { over }))
    : over === 0 ? h("span", { class: "outcome mark", "data-outcome": "ok" }, t("station.done_mark")) : "";
  return h("li", {},
    h("span", { class: "what" }, visible(item.name)), mark,
    h("span", { class: "number" }, `${item.received} / ${item.expected}`));
}

function bar(done, of) {
  return h("progress", { max: Math.max(of, 1), value: Math.min(done, of), "aria-hidden": "true" });
}

// --- choosing, undoing -------------------------------------------------------------------------------------

function documentRow(label, current) {
  const row = h("div", { class: "chosen" },
    h("span", {}, h("span", { class: "soft" }, `${label} `), h("strong", {}, visible(current))),
    button(t("station.choose"), openChooser));
  if (state.document) row.append(button(t("station.finish"), () => post("document", { document: null })));
  return row;
}

async function openChooser() {
  const chooser = at("chooser");
  if (!chooser.hidden) {
    chooser.hidden = true;
    return;
  }
  let documents;
  try {
    documents = (await (await fetch(`${base}/documents`)).json()).documents;
  } catch {
    setLost(true);
    return;
  }
  const rows = documents.map((document) => button(
    h("span", {}, h("strong", {}, visible(document.id)), " ", visible(document.supplier ?? document.channel), " ",
      h("span", { class: "soft" }, t("station.document_row", { lines: document.lines, quantity: document.quantity }))),
    () => post("document", { document: document.id })));
  chooser.replaceChildren(
    h("div", { class: "choices" }, ...rows),
    rows.length ? "" : h("p", { class: "empty" }, t("station.no_documents")),
    button(t("station.choose_close"), () => { chooser.hidden = true; }));
  chooser.hidden = false;
  chooser.scrollIntoView({ block: "nearest" });
}

function newest() {
  return state.recorded.find((entry) => !entry.undone);
}

function showUndo() {
  const entry = newest();
  const undo = at("undo");
  undo.disabled = !entry;
  undo.textContent = entry
    ? t("station.undo", { name: `${entry.quantity} × ${visible(entry.name)}` })
    : t("station.undo_nothing");
  // By its id: a second tap takes back nothing more.
  undo.onclick = () => {
    undo.blur();
    if (entry) post("undo", { event_id: entry.event_id });
  };
}

// --- lists -----------------------------------------------------------------------------------------------

const MARKS = { accepted: "ok", discrepant: "duplicate", rejected: "reject", conflict: "reject" };

function entryRow(entry) {
  const verdict = entry.verdict ?? "waiting";
  const mark = h("span", { class: "outcome mark", "data-outcome": MARKS[verdict] ?? null }, t(`station.verdict.${verdict}`));
  return h("li", { "data-event": entry.event_id, "data-undone": entry.undone ? "true" : null },
    h("span", { class: "what" }, `${entry.quantity} × ${visible(entry.name)}`),
    entry.undone ? h("span", { class: "soft" }, t("station.undone")) : mark,
    h("span", { class: "code soft" }, [isGate() && entry.serial ? "" : entry.code, entry.serial, entry.lot, entry.document].filter(Boolean).map(visible).join(" · ")),
    h("time", { class: "soft", datetime: entry.at }, new Date(entry.at).toLocaleTimeString()));
}

function showRecorded() {
  const rows = [];
  let divided = !state.recorded.some((entry) => !entry.before_restart);
  for (const entry of state.recorded) {
    if (entry.before_restart && !divided) {
      divided = true;
      rows.push(h("li", { class: "divider soft" }, t("station.restarted_here")));
    }
    rows.push(entryRow(entry));
  }
  if (!rows.length) rows.push(h("li", { class: "empty" }, t("station.recorded_none")));
  at("recorded").replaceChildren(...rows);
}

function showConcerns() {
  const rows = state.concerns.map((one) => h("li", { "data-tally": one.tally },
    h("span", { class: "what" }, `${one.count} × ${visible(one.what)}`),
    h("span", { class: "outcome mark", "data-outcome": one.outcome }, t(`station.concern.${one.tally}`)),
    h("span", { class: "reason" }, visible(one.text)),
    h("span", { class: "code soft" }, one.codes.map(visible).join(" · ")),
    h("time", { class: "soft", datetime: one.at }, new Date(one.at).toLocaleTimeString())));
  at("concerns").hidden = rows.length === 0;
  at("concern-list").replaceChildren(...rows);
  // Only what is shown now is taken off: what comes meanwhile stays. The button itself stays, too: while tags pass,
  // the page is shown anew many times within one press.
  const newestShown = Math.max(0, ...state.concerns.map((one) => one.token));
  at("looked").onclick = () => {
    at("looked").blur();
    post("looked", { token: newestShown });
  };
}

function showNotes() {
  const rows = state.notes.map((entry) => {
    const row = entryRow(entry);
    if (entry.reason) row.append(h("span", { class: "reason" }, visible(entry.reason)));
    return row;
  });
  at("notes").hidden = rows.length === 0;
  at("notes").replaceChildren(h("h2", {}, t("station.notes")), h("ol", { class: "list" }, ...rows));
}

offerSound(at("sound"));
