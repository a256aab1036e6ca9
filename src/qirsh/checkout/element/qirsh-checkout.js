// <qirsh-checkout product-id="…" amount="300.00" currency="EGP" locale="ar">: takes one payment. docs/checkout.md.

import { FRAME } from "./actions.js";
import { ATTRIBUTES, attributesOf } from "./attributes.js";
import { checking, deadEnd } from "./faces.js";
import { Flow } from "./flow.js";
import { Shell } from "./shell.js";
import { Language } from "./strings.js";

const HERE = new URL(import.meta.url).origin;

export class QirshCheckout extends HTMLElement {
  static observedAttributes = ATTRIBUTES;

  #shell = new Shell(this);
  /** @type {Flow | null} */
  #flow = null;
  #queued = false;
  /** What was told last: an event for each change, and none twice. */
  #told = "";

  connectedCallback() {
    this.#restart();
  }

  disconnectedCallback() {
    this.#flow?.end();
    this.#shell.leaving.abort();
  }

  attributeChangedCallback() {
    if (this.isConnected) this.#restart();
  }

  /**
   * Pay, as if the payer had pressed the button: where there is one.
   *
   * @param {string} [method] chosen first; where it is not offered, nothing is begun
   */
  start(method) {
    const form = this.#flow?.form;
    if (form && this.#shell.face === "methods" && (!method || form.choose(method))) form.submit();
  }

  /** Forget this purchase's key and draft, and begin again with the methods. What was paid stays paid. */
  reset() {
    this.#flow?.memory.forget();
    this.#flow?.end();
    this.#flow = null;
    this.removeAttribute("payment-draft-id");
    this.#restart();
  }

  /** Begin with what is remembered: once for all attributes that change together. */
  #restart() {
    if (this.#queued) return;
    this.#queued = true;
    queueMicrotask(() => {
      this.#queued = false;
      if (this.isConnected) this.#open();
    });
  }

  #open() {
    const before = this.#flow;
    before?.end();
    this.#flow = null;
    const shell = this.#shell;
    const wanted = attributesOf(this, HERE);
    const language = new Language(wanted.locale);
    shell.dress(language);
    if (window.name === FRAME && window !== window.parent) {
      // We stand in our own frame, sent back from a PSP: the page around us goes on.
      shell.show(() => checking(language, "handed_back"));
      window.parent.postMessage({ qirsh: "returned" }, "*"); // it says nothing that anybody may not know
    } else if (!wanted.whole) {
      console.error("qirsh-checkout: no product-id, or no currency");
      shell.show(() => deadEnd(language, "invalid_request"));
    } else {
      const tell = this.#emit.bind(this);
      this.#flow = new Flow(shell, wanted, { restart: this.#restart.bind(this), reset: this.reset.bind(this), tell }, before);
      this.#flow.begin();
    }
  }

  /**
   * Each once for a draft.
   *
   * @param {string} name
   * @param {Record<string, any>} detail
   */
  #emit(name, detail) {
    const told = JSON.stringify([name, detail]);
    if (told === this.#told) return;
    this.#told = told;
    this.dispatchEvent(new CustomEvent(name, { bubbles: true, composed: true, detail }));
  }
}

if (!customElements.get("qirsh-checkout")) customElements.define("qirsh-checkout", QirshCheckout);
