// The dashboard: one stream of small messages, kept as maps of rows, shown by building elements.
// Whatever comes from a barcode goes into textContent; nothing here ever reads markup from data.

import { t, listen, h } from "./tallyman.js";

const $ = (id) => document.getElementById(id);
const numbers = new Intl.NumberFormat("en");
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

// --- words ------------------------------------------------------------------------------------------

const number = (value) => numbers.format(value);

/** A word of the catalogue; what this page does not know yet is shown by its own name. */
function word(find, raw) {
  try {
    return find(raw);
  } catch {
    return String(raw);
  }
}

const eventWord = (event) => word((name) => t(`dashboard.event.${name}`), event);
const kindWord = (kind) => word((name) => t(`dashboard.kind.${name}`), kind);
const statusWord = (status) => word((name) => t(`dashboard.status.${name}`), status);
const placeWord = (place) => word((name) => t(`dashboard.account.${name}`), place);
const outcomeWord = (outcome) => word((name) => t(`dashboard.outcome.${name}`), outcome);

/** Seconds as people say them, in the largest unit that fits. */
function age(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return t("dashboard.age.seconds", { count: s });
  if (s < 3600) return t("dashboard.age.minutes", { count: Math.floor(s / 60) });
  if (s < 48 * 3600) return t("dashboard.age.hours", { count: Math.floor(s / 3600) });
  return t("dashboard.age.days", { count: Math.floor(s / 86400) });
}

const secondsSince = (time) => (Date.now() - Date.parse(time)) / 1000;

// Texts with an age in them are brought up to date every second, without a message.
const ageing = new Map();

function withAge(element, text) {
  ageing.set(element, text);
  element.textContent = text();
  return element;
}

setInterval(() => {
  for (const [element, text] of ageing) {
    if (element.isConnected) element.textContent = text();
    else ageing.delete(element);
  }
}, 1000);

// --- parts ------------------------------------------------------------------------------------------

const code = (text) => h("span", { class: "code" }, text ?? "");

/** One row of a section, with the panel's own element for "nothing here". */
function fill(section, rows, build, emptyText) {
  const panel = $(section);
  const body = panel.querySelector("tbody, .list");
  body.replaceChildren(...rows.map(build));
  const nothing = rows.length === 0;
  (body.closest(".table") ?? body).hidden = nothing;
  const empty = panel.querySelector("[data-empty]");
  empty.hidden = !nothing;
  empty.textContent = emptyText;
}

function count(section, shown, total) {
  const text = total > shown ? t("dashboard.shown_of", { shown: number(shown), total: number(total) }) : total ? number(total) : "";
  $(section).querySelector(".count").textContent = text;
}

function figure(id, value, aside, alarm, wait) {
  const element = $(id);
  element.querySelector(".value").textContent = value;
  if (typeof aside === "function") withAge(element.querySelector(".aside"), aside);
  else {
    ageing.delete(element.querySelector(".aside"));
    element.querySelector(".aside").textContent = aside;
  }
  element.toggleAttribute("data-alarm", Boolean(alarm));
  element.toggleAttribute("data-wait", Boolean(wait));
}

// --- sections ---------------------------------------------------------------------------------------

/** What waits at an agent; of one that is away only what it said last is known. */
function queueText(agent) {
  const known = queueWords(agent);
  if (agent.status === "online" || !agent.since) return known;
  return t("dashboard.last_known", { age: age(secondsSince(agent.since)), queue: known });
}

function queueWords(agent) {
  if (!agent.queued) return t("dashboard.queue_empty");
  if (!agent.oldest_queued_at) return t("dashboard.queue", { count: number(agent.queued) });
  return t("dashboard.queue_age", { count: number(agent.queued), age: age(secondsSince(agent.oldest_queued_at)) });
}

const status = (value) => h("span", { class: "status", "data-status": value }, statusWord(value));

function deviceRow(device) {
  const reason = device.reason ? h("span", { class: "soft" }, device.reason) : "";
  return h("li", { class: "line", title: device.port }, h("span", {}, `${device.name} `, h("span", { class: "soft" }, device.driver)), status(device.status), reason);
}

function agentRow(agent) {
  const queue = withAge(h("span", { class: agent.queued ? "tag wait" : "" }), () => queueText(agent));
  const devices = agent.devices.length
    ? h("ul", { class: "devices" }, ...agent.devices.map(deviceRow))
    : h("p", { class: "small" }, t("dashboard.no_devices"));
  return h(
    "li", { "data-agent": agent.id, class: agent.status === "online" ? null : "away" },
    h("div", { class: "line" }, h("span", {}, h("strong", {}, agent.id), h("span", { class: "soft" }, ` · ${agent.site}`)), status(agent.status)),
    h("p", { class: "small" }, queue),
    devices,
  );
}

function showAgents({ rows, total }) {
  fill("agents", rows, agentRow, t("dashboard.agents_empty"));
  count("agents", rows.length, total);
  const online = rows.filter((agent) => agent.status === "online").length;
  figure("figure-agents", number(online), t("dashboard.of_total", { total: number(total) }), online < total);
  const queued = rows.reduce((sum, agent) => sum + agent.queued, 0);
  const oldest = rows.map((agent) => agent.oldest_queued_at).filter(Boolean).sort()[0];
  figure("figure-queued", number(queued), oldest ? () => t("dashboard.oldest", { age: age(secondsSince(oldest)) }) : "", false, queued > 0);
}

const stock = new Map();
let stockTotal = 0;

function level(value, strong) {
  const classes = ["number", value === 0 ? "zero" : "", strong ? "strong" : ""].filter(Boolean).join(" ");
  return h("td", { class: classes }, number(value));
}

function stockRow(row) {
  const tags = [];
  if (row.owed) tags.push(h("span", { class: "tag alarm", title: t("dashboard.owed_hint") }, t("dashboard.owed", { count: number(row.owed) })));
  if (row.overpromised) tags.push(h("span", { class: "tag alarm", title: t("dashboard.overpromised_hint") }, t("dashboard.overpromised", { count: number(row.overpromised) })));
  return h(
    "tr", { "data-sku": row.sku, "data-alarm": tags.length > 0 },
    h("th", { scope: "row" }, code(row.sku), h("span", { class: "name" }, row.name), h("span", { class: "tags" }, ...tags)),
    level(row.on_hand), level(row.available, true), level(row.reserved), level(row.committed), level(row.picked), level(row.packed),
  );
}

function showStock() {
  const wanted = $("filter").value.trim().toLowerCase();
  const worried = (row) => (row.owed || row.overpromised ? 0 : 1);
  const rows = [...stock.values()].filter((row) => `${row.sku}\n${row.name}`.toLowerCase().includes(wanted));
  rows.sort((a, b) => worried(a) - worried(b) || (a.sku < b.sku ? -1 : 1));
  $("filter").hidden = stock.size === 0;
  fill("stock", rows, stockRow, stock.size ? t("dashboard.stock_no_match") : t("dashboard.stock_empty"));
  count("stock", rows.length, stockTotal);
}

function place(row) {
  const ends = [row.from, row.to].map((end) => (end === null ? null : placeWord(end)));
  return ends[0] === null && ends[1] === null ? "" : ends.map((end) => end ?? "–").join(" → ");
}

const movements = new Map();

function movementRow(row, arrived) {
  const time = h("time", { datetime: row.at, title: whole.format(new Date(row.at)) }, clock.format(new Date(row.at)));
  const mark = row.outcome === "accepted" ? "" : h("span", { class: "tag wait", title: row.reason ?? "" }, outcomeWord(row.outcome));
  return h(
    "tr", { "data-movement": row.movement, class: arrived ? "arrived" : null },
    h("td", { class: "number no" }, number(row.movement)),
    h("td", { class: "when" }, time),
    h("td", { class: "what" }, eventWord(row.event), mark ? " " : "", mark),
    h("td", { class: "number amount" }, row.quantity === null ? "" : number(row.quantity)),
    h("td", { class: "item" }, row.sku === null ? "" : code(row.sku)),
    h("td", { class: "place" }, place(row)),
    h("td", { class: "document" }, row.document ?? ""),
    h("td", { class: "who", title: row.actor }, row.actor.replace(/^(agent|token):/, "")),
  );
}

function showMovements(section) {
  if (section.whole) movements.clear();
  for (const key of section.gone ?? []) movements.delete(key);
  const fresh = new Set(section.whole ? [] : section.rows.map((row) => row.movement));
  for (const row of section.rows) movements.set(row.movement, row);
  const rows = [...movements.values()].sort((a, b) => b.movement - a.movement);
  fill("movements", rows, (row) => movementRow(row, fresh.has(row.movement)), t("dashboard.feed_empty"));
}

function dueText(due) {
  const left = -secondsSince(due);
  return left >= 0 ? t("dashboard.due_in", { age: age(left) }) : t("dashboard.overdue", { age: age(-left) });
}

function discrepancyRow(row) {
  const due = h("time", { datetime: row.due_at, title: whole.format(new Date(row.due_at)), class: secondsSince(row.due_at) > 0 ? "tag alarm" : "tag" });
  const about = [row.sku, row.location, row.site].filter(Boolean).join(" · ");
  const numbersText = row.expected === null || row.actual === null
    ? "" : t("dashboard.expected_actual", { expected: number(row.expected), actual: number(row.actual) });
  return h(
    "li", { "data-discrepancy": row.id },
    h("div", { class: "line" }, h("strong", {}, kindWord(row.kind)), withAge(due, () => dueText(row.due_at))),
    about || numbersText ? h("p", { class: "small" }, code(about), numbersText ? ` ${numbersText}` : "") : "",
    row.detail ? h("p", { class: "small" }, row.detail) : "",
    h("p", { class: "small" }, t("dashboard.owner", { owner: row.owner || t("dashboard.nobody") })),
  );
}

function showDiscrepancies({ rows, total, overdue }) {
  fill("discrepancies", rows, discrepancyRow, t("dashboard.discrepancies_empty"));
  count("discrepancies", rows.length, total);
  const aside = overdue ? t("dashboard.discrepancies_overdue", { count: number(overdue) }) : total ? t("dashboard.discrepancies_none_overdue") : "";
  figure("figure-discrepancies", number(total), aside, overdue > 0, total > 0);
}

function documentRow(progressText) {
  return (row) => {
    const over = row.over ? h("span", { class: "tag wait" }, t("dashboard.over", { count: number(row.over) })) : "";
    const text = progressText(row);
    return h(
      "li", { "data-document": row.id },
      h("div", { class: "line" }, h("span", {}, h("strong", {}, row.id), h("span", { class: "soft" }, row.partner ? ` · ${row.partner}` : "")), h("span", { class: "soft" }, row.site)),
      h("div", { class: "line small" }, h("span", {}, text), over),
      h("progress", { max: Math.max(1, row.ordered), value: row.done, "aria-label": text }),
    );
  };
}

const received = (row) => t("dashboard.received_of", { done: number(row.done), ordered: number(row.ordered) });
const picked = (row) => t("dashboard.picked_of", { done: number(row.done), ordered: number(row.ordered) });

function showDocuments(section, progressText, emptyText) {
  return ({ rows, total }) => {
    fill(section, rows, documentRow(progressText), emptyText);
    count(section, rows.length, total);
  };
}

// --- the stream -------------------------------------------------------------------------------------

const show = {
  agents: showAgents,
  stock(section) {
    if (section.whole) stock.clear();
    for (const key of section.gone ?? []) stock.delete(key);
    for (const row of section.rows) stock.set(row.sku, row);
    stockTotal = section.total;
    showStock();
  },
  movements: showMovements,
  discrepancies: showDiscrepancies,
  purchase_orders: showDocuments("purchase_orders", received, t("dashboard.purchase_orders_empty")),
  orders: showDocuments("orders", picked, t("dashboard.orders_empty")),
  books({ as_of, backup }) {
    const aside = backup ? () => t("dashboard.backup_age", { age: age(secondsSince(backup.at)) }) : t("dashboard.backup_none");
    figure("figure-movement", number(as_of), aside);
    $("no-backup").hidden = Boolean(backup);
  },
  status({ database, broker }) {
    $("database-away").hidden = database;
    $("broker-away").hidden = broker;
    document.body.classList.toggle("stale", !database);
  },
};

async function onLive(live) {
  const element = $("live");
  element.dataset.status = live ? "online" : "offline";
  element.textContent = live ? t("common.live") : t("common.connection_lost");
  document.body.classList.toggle("stale", !live);
  if (live) return;
  // A session that has ended is answered by the way to the sign-in page.
  const answer = await fetch("/", { redirect: "manual", cache: "no-store" }).catch(() => null);
  if (answer?.type === "opaqueredirect") location.assign("/sign-in");
}

$("filter").addEventListener("input", showStock);
listen("/dashboard/events", Object.keys(show), (data, name) => show[name]?.(data), onLive);
