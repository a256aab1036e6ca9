// The first step: how to pay, what that needs to know, and the button with the amount on it.

import { icon, make } from "./dom.js";
import { main, warning } from "./faces.js";
import { latin } from "./strings.js";

/** @typedef {import("./client.js").Offer} Offer */
/** @typedef {import("./shell.js").Shell} Shell */

/** What a method may need to know of the payer, that this page can ask for. */
const FIELDS = ["payer.phone"];
const MOBILE = /^(?:\+?20|0020|0)?(1[0125]\d{8})$/;

/**
 * The offers that this page can take: in one currency, the first unless the page names one.
 *
 * @param {Offer[]} offers
 * @param {string} amount what the page shows as the price; the server compares it with the catalogue's
 */
export function possible(offers, amount) {
  return offers
    .filter(({ currency, fields }) => currency === offers[0].currency && fields.every((one) => FIELDS.includes(one)))
    .map((offer) => ({ ...offer, amount: amount || offer.amount }));
}

export class Form {
  #chosen = 0;
  #phone = make("input", {
    ...{ class: "text", name: "phone", type: "tel", inputmode: "tel", autocomplete: "tel" },
    ...{ id: "phone", required: true, "aria-describedby": "phone-note phone-error" },
    oninput: () => this.complain(""),
  });
  #wrong = make("p", { class: "error small", id: "phone-error", role: "alert" });
  #asked = make("div", { hidden: true });
  #label = make("span");

  /**
   * @param {Shell} shell
   * @param {Offer[]} offers at least one
   * @param {(offer: Offer, payer: { phone: string } | null) => void} paid
   * @param {Form | null | undefined} before what was chosen and typed there still stands
   */
  constructor(shell, offers, paid, before) {
    this.shell = shell;
    this.offers = offers;
    this.paid = paid;
    if (!before) return;
    this.choose(before.method);
    this.#phone.value = before.#phone.value;
  }

  /**
   * @param {string} problem what went wrong before, if anything
   * @returns {import("./shell.js").Face}
   */
  face(problem) {
    const { language } = this.shell;
    const label = make("label", { class: "field", for: "phone" }, language.say("phone"), this.#phone);
    const note = make("p", { class: "quiet small", id: "phone-note" }, language.say("phone_hint"));
    this.#asked.replaceChildren(label, note, this.#wrong);
    const title = language.say("choose");
    const pay = main("");
    pay.append(this.#label);
    const methods = make("div", { class: "methods" }, ...this.offers.map((offer, index) => this.#row(offer, index)));
    this.#choose(this.#chosen);
    return {
      name: "methods",
      title,
      bad: Boolean(problem),
      body: [
        problem && warning(problem),
        make("fieldset", {}, make("legend", { class: "unseen" }, title), methods),
        this.#asked,
      ],
      submit: () => this.submit(),
      main: pay,
      below: make("p", { class: "quiet small" }, language.say("pay_note")),
    };
  }

  /**
   * Choose by the method's name, where it is offered.
   *
   * @param {string} method
   * @returns {boolean} whether it is
   */
  choose(method) {
    const index = this.offers.findIndex((offer) => offer.payment_method === method);
    if (index >= 0) this.#choose(index);
    return index >= 0;
  }

  /** The method that is chosen. */
  get method() {
    return this.offers[this.#chosen].payment_method;
  }

  /** As if the payer had pressed the button. */
  submit() {
    const offer = this.offers[this.#chosen];
    if (!offer.fields.includes("payer.phone")) return this.paid(offer, null);
    // What is pasted brings dots, spaces, hyphens and marks of direction along.
    const match = MOBILE.exec(latin(this.#phone.value).replace(/[^\d+]/g, ""));
    if (!match) return this.complain(this.shell.language.say("phone_wrong"));
    this.paid(offer, { phone: `0${match[1]}` });
  }

  /**
   * Say what is wrong with the phone number.
   *
   * @param {string} sentence empty where nothing is, as far as anybody knows
   */
  complain(sentence) {
    this.#wrong.textContent = sentence;
    this.#phone.setAttribute("aria-invalid", `${Boolean(sentence)}`);
    if (sentence) this.#phone.focus();
  }

  /**
   * @param {Offer} offer
   * @param {number} index
   */
  #row(offer, index) {
    const { language } = this.shell;
    const hint = language.say(`hint_${offer.payment_method}`);
    const input = make("input", {
      ...{ type: "radio", name: "method", value: index, checked: index === this.#chosen },
      onchange: () => this.#choose(index),
    });
    return make(
      "label",
      { class: "method", "data-method": offer.payment_method },
      input,
      icon(offer.payment_method),
      make(
        "span",
        {},
        make("b", {}, language.pick(offer.label)),
        hint && make("span", { class: "quiet small" }, hint),
      ),
    );
  }

  /** @param {number} index */
  #choose(index) {
    const { language, root } = this.shell;
    this.#chosen = index;
    const offer = this.offers[index];
    const money = language.money(offer.amount, offer.currency);
    const radio = /** @type {HTMLInputElement | null} */ (root.querySelector(`input[name=method][value="${index}"]`));
    if (radio) radio.checked = true;
    this.#asked.hidden = !offer.fields.includes("payer.phone");
    this.#phone.disabled = this.#asked.hidden;
    this.#label.textContent = language.say("pay", { amount: money });
    this.shell.price("", money);
  }
}
