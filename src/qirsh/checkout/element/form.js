// The first step: how to pay, what that needs to know, and the button with the amount on it.

import { icon, make } from "./dom.js";
import { main } from "./faces.js";
import { latin } from "./strings.js";

/** @typedef {import("./client.js").Offer} Offer */
/** @typedef {import("./shell.js").Shell} Shell */

/** What a method may need to know of the payer, that this page can ask for. */
const FIELDS = ["payer.phone"];
const MOBILE = /^(?:\+20|0020|0)(1[0125]\d{8})$/;

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
    ...{ class: "text", name: "phone", type: "tel", inputmode: "tel", autocomplete: "tel", maxlength: 20 },
    ...{ id: "phone", required: true, "aria-describedby": "phone-note phone-error" },
  });
  #wrong = make("p", { class: "error small", id: "phone-error", role: "alert" });
  #asked = make("div", { hidden: true });
  #pay = main("");

  /**
   * @param {Shell} shell
   * @param {Offer[]} offers at least one
   * @param {(offer: Offer, payer: { phone: string } | null) => void} paid
   */
  constructor(shell, offers, paid) {
    this.shell = shell;
    this.offers = offers;
    this.paid = paid;
  }

  /**
   * @param {string | null} [problem] what went wrong before
   * @returns {import("./shell.js").Face}
   */
  face(problem = null) {
    const { language } = this.shell;
    const label = make("label", { class: "field", for: "phone" }, language.say("phone"), this.#phone);
    const note = make("p", { class: "quiet small", id: "phone-note" }, language.say("phone_hint"));
    this.#asked.replaceChildren(label, note, this.#wrong);
    const title = language.say("choose");
    const methods = make("div", { class: "methods" }, ...this.offers.map((offer, index) => this.#row(offer, index)));
    this.#choose(this.#chosen);
    return {
      name: "methods",
      title,
      bad: Boolean(problem),
      body: [
        problem ? make("p", { class: "alert", role: "alert" }, problem) : null,
        make("fieldset", {}, make("legend", { class: "unseen" }, title), methods),
        this.#asked,
      ],
      submit: () => this.submit(),
      main: this.#pay,
      below: make("p", { class: "quiet small" }, language.say("pay_note")),
    };
  }

  /**
   * Choose by the method's name, where it is offered.
   *
   * @param {string} method
   */
  choose(method) {
    const index = this.offers.findIndex((offer) => offer.payment_method === method);
    if (index >= 0) this.#choose(index);
  }

  /** As if the payer had pressed the button. */
  submit() {
    const offer = this.offers[this.#chosen];
    if (!offer.fields.includes("payer.phone")) return this.paid(offer, null);
    const match = MOBILE.exec(latin(this.#phone.value).replace(/[\s()-]/g, ""));
    if (!match) return this.complain(this.shell.language.say("phone_wrong"));
    this.paid(offer, { phone: `0${match[1]}` });
  }

  /**
   * Something is wrong with the phone number.
   *
   * @param {string} sentence
   */
  complain(sentence) {
    this.#wrong.textContent = sentence;
    this.#phone.setAttribute("aria-invalid", "true");
    this.#phone.focus();
  }

  /**
   * @param {Offer} offer
   * @param {number} index
   */
  #row(offer, index) {
    const { language } = this.shell;
    const hint = `hint_${offer.payment_method}`;
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
        language.has(hint) && make("span", { class: "quiet small" }, language.say(hint)),
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
    this.#pay.textContent = language.say("pay", { amount: money });
    this.shell.price("", money);
  }
}
