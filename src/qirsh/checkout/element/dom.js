// Small makers of elements. Nothing here reads HTML from a string, so nothing a server says can become markup.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element with its attributes and children. `true` is an attribute without a value; `false`, `null` and
 * `undefined` leave it out; a function is a listener for the event that its name ends with: `onclick`. A class is a
 * `::part` as well.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string | number | boolean | null | undefined | ((event: any) => void)>} [attributes]
 * @param {...(Node | string | null | undefined | false)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value != null && value !== false) {
      element.setAttribute(name, value === true ? "" : `${value}`);
      if (name === "class") element.setAttribute("part", `${value}`); // what we style, a shop may style
    }
  }
  for (const child of children) if (child) element.append(child);
  return element;
}

/**
 * Act later, unless the signal comes first.
 *
 * @param {AbortSignal} signal
 * @param {number} milliseconds
 * @param {() => void} act
 */
export function later(signal, milliseconds, act) {
  const timer = setTimeout(act, milliseconds);
  signal.addEventListener("abort", () => clearTimeout(timer));
}

/**
 * A line drawing of our own, hidden from screen readers: the words beside it say the same.
 *
 * @param {string} name
 * @returns {SVGElement}
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", DRAWINGS[name] ?? PHONE);
  svg.append(path);
  return svg;
}

/** Whatever has no drawing of its own is on a phone. */
const PHONE = "M8 3h8v18H8zM11 18.2h2";

/** @type {Record<string, string>} */
const DRAWINGS = {
  card: "M3 6.5h18v11H3zM3 10h18M6 14.5h4",
  mobile_wallet: "M4 7h13V4H6a2 2 0 0 0-2 2v12a2 2 0 0 0 2 2h14V7H4M20 11h-4a2 2 0 0 0 0 4h4",
  wallet_qr: "M4 4h6v6H4zM14 4h6v6h-6zM4 14h6v6H4zM14 14h3v3h-3zM20 14v2M20 19v1h-3",
  fawry: "M6 3h12v18l-2-1.5-2 1.5-2-1.5L10 21l-2-1.5L6 21zM9 8h6M9 12h6",
  kiosk: "M4 10v10h16V10M3 6.5 5 4h14l2 2.5V8a3 3 0 0 1-6 0 3 3 0 0 1-6 0 3 3 0 0 1-6 0zM10 20v-5h4v5",
  paypal: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8M4 20c1-4 4-5.5 8-5.5S19 16 20 20",
  done: "M4 12.5l5 5L20 6.5",
  failed: "M12 5v9M12 18.5v.5",
  late: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18M12 7v5l3.5 2",
  back: "M9 14 4 9l5-5M4 9h10a6 6 0 0 1 0 12h-3",
};
