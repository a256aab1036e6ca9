// What every step stands in: the amount at its place, one step at a time, and where focus and screen readers go.

import { icon, make } from "./dom.js";
import { STYLE } from "./style.js";
import { Language } from "./strings.js";

/**
 * @typedef {object} Face one step
 * @property {string} name
 * @property {string} title
 * @property {(Node | string | null)[]} body
 * @property {string} [sign] an icon above the title, for the end or a dead end
 * @property {HTMLElement | null} [main] the one thing to do, always at the same place
 * @property {HTMLElement | null} [below] what else can be done
 * @property {() => void} [submit] what the main button does, where it is one of a form
 * @property {boolean} [bad] bad news
 * @property {boolean} [silent] it is on its way to another step, and takes no focus
 */

export class Shell {
  /** The step's own end: whatever ticks on a face stops with it. */
  leaving = new AbortController();
  face = "";
  #product = make("p", { class: "product" });
  #amount = make("p", { class: "amount" });
  #net = make("p", { class: "notice", hidden: true });
  #said = make("p", { role: "status", class: "unseen" });
  #step = make("form");
  #card = make("section", { class: "card" });
  #quiet = true;

  /** @param {HTMLElement} host */
  constructor(host) {
    this.host = host;
    this.language = new Language("en");
    this.root = host.attachShadow({ mode: "open" });
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    this.root.adoptedStyleSheets = [sheet];
    this.#card.append(make("header", { class: "header" }, this.#product, this.#amount), this.#net, this.#step, this.#said);
    this.root.append(this.#card);
  }

  /**
   * Speak a language, with nothing shown yet. Who is elsewhere on the page is not called here.
   *
   * @param {Language} language
   */
  dress(language) {
    this.#quiet = !this.#holdsFocus();
    this.language = language;
    this.#card.lang = language.code;
    this.#card.dir = language.direction;
    this.#card.classList.toggle("rtl", language.direction === "rtl");
    this.#card.setAttribute("aria-label", language.say("payment"));
    this.#product.textContent = language.say("payment");
    this.#amount.textContent = "";
  }

  /**
   * @param {string} product
   * @param {string} amount as it is written for the payer
   */
  price(product, amount) {
    if (product) this.#product.textContent = product;
    if (amount) this.#amount.replaceChildren(make("bdi", {}, amount));
  }

  /**
   * Show one step in place of the other.
   *
   * @param {() => Face} made what it starts ends with `leaving`
   */
  show(made) {
    this.leaving.abort();
    this.leaving = new AbortController();
    const face = made();
    const heading = make("h2", { class: "title", tabindex: -1 }, face.title);
    const below = make("div", { class: "below" }, face.below);
    const step = make(
      "form",
      { class: `step${face.sign ? " verdict" : ""}${face.bad ? " bad" : ""}`, novalidate: true, "data-face": face.name },
      face.sign && make("div", { class: "badge" }, icon(face.sign)),
      heading,
      ...face.body,
      make("div", { class: "foot" }, face.main, below),
    );
    step.addEventListener("submit", (event) => {
      event.preventDefault();
      face.submit?.();
    });
    const moves = !face.silent && (this.#holdsFocus() || (!this.#quiet && nobodyHasFocus()));
    this.#step.replaceWith(step);
    this.#step = step;
    this.face = face.name;
    if (moves) heading.focus({ preventScroll: false });
    else if (!this.#quiet || face.bad) this.tell(face.title);
    if (!face.silent) this.#quiet = false;
  }

  /**
   * Say it to who cannot see it.
   *
   * @param {string} sentence
   */
  tell(sentence) {
    this.#said.textContent = sentence;
  }

  /**
   * How the connection fares; an empty sentence is a connection.
   *
   * @param {string} sentence
   */
  net(sentence) {
    if (this.#net.textContent === sentence) return;
    this.#net.hidden = !sentence;
    this.#net.textContent = sentence;
    if (sentence) this.tell(sentence);
  }

  /**
   * The main button works, or waits.
   *
   * @param {boolean} busy
   */
  busy(busy) {
    const main = this.#step.querySelector("button.button");
    if (!main) return;
    main.setAttribute("aria-disabled", `${busy}`);
    main.querySelector(".spin")?.remove();
    if (busy) main.prepend(make("span", { class: "spin" }));
  }

  /** Our page may be a shop's own shadow root, and the document sees no further than its host. */
  #holdsFocus() {
    return /** @type {Document | ShadowRoot} */ (this.host.getRootNode()).activeElement === this.host;
  }
}

/** Whether taking the focus takes it from nobody on the page. */
function nobodyHasFocus() {
  return !document.activeElement || document.activeElement === document.body;
}
