// What every page's script needs: texts from the catalogue, and a live connection that heals itself.
// Pages import it: import { t, listen } from "./tallyman.js";

const texts = JSON.parse(document.body.dataset.texts);

/** The text under a key, with {values} filled in. What is filled in is text: put it into textContent. */
export function t(key, values = {}) {
  if (!(key in texts)) throw new Error(`no text ${key} on this page`);
  return texts[key].replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

/**
 * Follows server-sent events at `url`. `onEvent(data, name)` gets each one; `onLive(boolean)` says whether the
 * connection stands. The browser reconnects by itself; where it gives up (an error status), we try again.
 */
export function listen(url, names, onEvent, onLive) {
  const source = new EventSource(url);
  const again = () => {
    source.close();
    setTimeout(() => listen(url, names, onEvent, onLive), 2000);
  };
  source.onopen = () => onLive(true);
  source.onerror = () => {
    onLive(false);
    if (source.readyState === EventSource.CLOSED) again();
  };
  for (const name of ["message", ...names]) {
    source.addEventListener(name, (event) => onEvent(JSON.parse(event.data), name));
  }
}

/** An element: h("td", { class: "number" }, "12"). Children are text or elements, never markup. */
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

/** Says on the page whether its connection stands; the element has class "status". */
export function showLive(element, live) {
  element.dataset.status = live ? "online" : "offline";
  element.textContent = live ? t("common.live") : t("common.connection_lost");
}

/** The mark of an outcome (ok, reject, duplicate): shape, colour and word. */
export function outcomeMark(outcome) {
  return h("span", { class: "outcome mark", "data-outcome": outcome }, t(`outcome.${outcome}`));
}
