// One purchase on its way: from what is remembered, or the methods, to its end. A new start is a new flow.

import { failed, faceOf } from "./actions.js";
import { Client } from "./client.js";
import { deadEnd, link, main, verdict, waiting } from "./faces.js";
import { Form, possible } from "./form.js";
import { Memory } from "./memory.js";

/** @typedef {import("./client.js").Status} Status */
/** @typedef {import("./client.js").Offer} Offer */

/**
 * What a flow may ask of the element.
 *
 * @typedef {object} Host
 * @property {() => void} restart begin with what is remembered by then
 * @property {() => void} reset forget the purchase, and begin with the methods
 * @property {(name: string, detail: Record<string, any>) => void} tell an event for the page
 */

export class Flow {
  #shell;
  #wanted;
  #host;
  #client;
  #run = new AbortController();
  /** @type {Form | null} */
  form = null;
  #busy = false;
  /** What is shown of the draft, so that what has not changed is not drawn anew under the payer's hands. */
  #drawn = "";

  /**
   * @param {import("./shell.js").Shell} shell
   * @param {ReturnType<import("./attributes.js").attributesOf>} wanted
   * @param {Host} host
   */
  constructor(shell, wanted, host) {
    this.#shell = shell;
    this.#wanted = wanted;
    this.#host = host;
    this.#client = new Client(wanted.server);
    this.memory = new Memory(wanted.facts, wanted.order);
  }

  begin() {
    const { signal } = this.#run;
    const { draft, amount, currency } = this.#wanted;
    const { entry } = this.memory;
    const { language } = this.#shell;
    window.addEventListener("storage", (event) => this.#elsewhere(event), { signal });
    window.addEventListener("offline", () => this.#net(true), { signal });
    window.addEventListener("online", () => this.#net(true), { signal });
    // A page that comes back by the back button was frozen in the middle of a step.
    window.addEventListener("pageshow", (event) => event.persisted && this.#host.restart(), { signal });
    this.#shell.price(language.pick(entry?.name), amount ? language.money(amount, currency) : "");
    const known = draft || entry?.draft;
    if (known) this.#follow(known);
    else if (entry?.request) this.#register(entry.request); // its answer was lost: the same key asks again
    else this.#offer();
  }

  /** Stop, with everything as it is. */
  end() {
    this.#run.abort();
  }

  /**
   * Show the methods.
   *
   * @param {string | null} [problem] what went wrong before
   */
  async #offer(problem = null) {
    const { signal } = this.#run;
    const { language } = this.#shell;
    this.#busy = false;
    this.#drawn = "";
    // Kept before anybody can press: tabs that press at once press with one key.
    if (!this.memory.entry) this.memory.renew();
    if (!this.form) {
      const { product, amount, currency } = this.#wanted;
      this.#show(() => waiting("loading", this.#say("wait")));
      const answer = await this.#client.methods(product, currency, this.#hears(), signal).catch(() => null);
      if (!answer || signal.aborted) return;
      if (answer.status !== 200) return this.#dead(answer.body.code);
      const offers = possible(answer.body.methods, amount);
      if (!offers.length) return this.#dead("nothing_text");
      this.form = new Form(this.#shell, offers, (offer, payer) => this.#pay(offer, payer, answer.body.name));
      this.#shell.price(language.pick(answer.body.name), "");
    }
    const form = this.form;
    this.#show(() => form.face(problem));
  }

  /**
   * @param {Offer} offer
   * @param {{ phone: string } | null} payer
   * @param {Record<string, string>} name the product's
   */
  #pay(offer, payer, name) {
    if (this.#busy) return;
    const { product, quantity, back, told } = this.#wanted;
    const asked = {
      product_id: product,
      product_amount: offer.amount,
      currency: offer.currency,
      payment_method: offer.payment_method,
      quantity,
      order_reference: "", // in its place, so that two requests are compared as they are written
      payer,
      return_url: back,
      locale: told,
    };
    this.#register(this.memory.tried(asked, name));
  }

  /**
   * Post what is kept, until it is known what became of it.
   *
   * @param {Record<string, any>} request
   */
  async #register(request) {
    const { signal } = this.#run;
    const ask = () => this.#show(() => waiting("asking", this.#say("wait")));
    this.#busy = true;
    this.#shell.busy(true);
    const slow = setTimeout(ask, this.#shell.face === "methods" ? 1500 : 0);
    signal.addEventListener("abort", () => clearTimeout(slow));
    const answer = await this.#client.initiate(request, this.#hears(), signal).catch(() => null);
    clearTimeout(slow);
    if (!answer || signal.aborted) return;
    this.#busy = false;
    if (answer.status !== 201) return this.#refused(answer, request);
    const { paymentDraftId, paymentAction } = answer.body;
    this.memory.keep({ .../** @type {any} */ (this.memory.entry), draft: paymentDraftId });
    // What was answered once may be over by now: a repeat is believed only that there is a draft.
    if (paymentAction && !answer.replayed) {
      const { product_amount: amount, currency } = request;
      const stands = { status: "awaiting_user_action", reason: null, amount, currency, ...answer.body };
      this.#stands(stands, true);
    }
    this.#follow(paymentDraftId);
  }

  /**
   * @param {import("./client.js").Answer} answer
   * @param {Record<string, any>} request
   */
  #refused({ body }, request) {
    const { language } = this.#shell;
    const { code, retry, reason } = body;
    if (code === "gateway_rejected") {
      const failed = { ...request, amount: request.product_amount, status: "failed", reason };
      return this.#stands(/** @type {any} */ ({ ...failed, paymentDraftId: body.paymentDraftId ?? null }), false);
    }
    if (retry === "never") {
      this.memory.renew();
      this.#host.tell("qirsh-failed", { paymentDraftId: null, reason: code });
      console.error(`qirsh-checkout: ${code}`, body.errors ?? body.detail);
    }
    if (/^pr/.test(code)) return this.#dead(code); // the product, or its price
    const about = code.replace("misconfigured", "unavailable");
    this.#offer(this.#say(language.has(about) ? about : "problem"));
    if (body.errors?.[0].pointer === "#/payer/phone") this.form?.complain(this.#say("phone_wrong"));
  }

  /**
   * Show how a draft stands, and each change of it.
   *
   * @param {string} draft
   */
  async #follow(draft) {
    const { signal } = this.#run;
    if (!this.#drawn) this.#show(() => waiting("checking", this.#say("checking"), this.#say("by_itself")));
    const told = {
      ...this.#hears(),
      stands: (/** @type {Status} */ status) => this.#stands(status, false),
      gone: () => this.#gone(),
    };
    await this.#client.follow(draft, told, signal).catch(() => {}); // it ends with the signal alone
  }

  /**
   * @param {Status} status
   * @param {boolean} fresh the payer asked for it just now
   */
  #stands(status, fresh) {
    const { paymentDraftId, paymentAction, actionData, expiresAt } = status;
    // A wrong code is told where it was typed: drawn anew, the step would lose that, and what is being typed.
    const reason = paymentAction === "otp_token" && status.reason === "authentication_failed" ? null : status.reason;
    const drawn = JSON.stringify([status.status, paymentAction, actionData, reason]);
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    const { language } = this.#shell;
    const money = language.money(status.amount, status.currency);
    this.#shell.price("", money);
    switch (status.status) {
      case "awaiting_user_action":
        this.#host.tell("qirsh-action", { paymentDraftId, paymentAction, actionData, expiresAt });
        return this.#show(() => faceOf(this.#scene({ ...status, reason }, money, fresh)));
      case "completed":
        return this.#completed(status, money);
      case "failed":
        this.#host.tell("qirsh-failed", { paymentDraftId, reason });
        return this.#show(() => failed(this.#scene(status, money, false)));
      case "refunded":
      case "partially_refunded": {
        const refunded = language.money(status.refunded, status.currency);
        const sentences = [this.#say("refunded_text", { refunded })];
        return this.#show(() => verdict("refunded", "back", this.#say("refunded"), sentences));
      }
      default:
        return this.#show(() => waiting("asking", this.#say("wait")));
    }
  }

  /**
   * @param {Status} status
   * @param {string} money
   */
  #completed({ paymentDraftId, amount, currency }, money) {
    this.memory.paid(paymentDraftId);
    this.#run.abort();
    this.#shell.net("");
    this.#host.tell("qirsh-completed", { paymentDraftId, orderReference: this.memory.entry?.order ?? null, amount, currency });
    const { product, order } = this.#wanted;
    const below = product && !order ? link(this.#say("done_again"), () => this.#host.reset()) : null;
    const sentences = [this.#say("done_text", { amount: money })];
    this.#show(() => verdict("completed", "done", this.#say("done"), sentences, { below, slot: "completed" }));
  }

  /**
   * @param {Status} status
   * @param {string} money
   * @param {boolean} fresh
   * @returns {import("./actions.js").Scene}
   */
  #scene(status, money, fresh) {
    const { signal } = this.#run;
    return {
      ...{ shell: this.#shell, status, money, fresh },
      again: () => this.#again(),
      another: this.memory.entry && (() => this.#another()),
      returned: () => this.#returned(status, money),
      leave: (url) => location.assign(url),
      handIn: (otp) => this.#client.handIn(status.paymentDraftId, status.actionData?.token, otp, signal),
      stands: (now) => this.#stands(now, false),
      print: `${this.#client.server}/pay/${status.paymentDraftId}?${new URLSearchParams({ locale: this.#shell.language.code })}#print`,
    };
  }

  /** The same method once more, as a new try of the same order: what was declined may be over at the PSP. */
  #again() {
    const { idempotency_key: _, ...asked } = this.memory.entry?.request ?? {};
    this.memory.renew();
    if (asked.product_id) this.memory.tried(asked);
    this.#host.restart(); // what is kept and has no draft yet is posted
  }

  #another() {
    this.memory.renew();
    this.#host.restart();
  }

  /**
   * The frame came back: its payment may be decided any moment, or not be made at all.
   *
   * @param {Status} status
   * @param {string} money
   */
  #returned(status, money) {
    const open = () => this.#show(() => faceOf(this.#scene({ ...status, reason: null }, money, false)));
    this.#show(() => ({
      ...waiting("checking", this.#say("checking"), this.#say("by_itself")),
      main: main(this.#say("framed"), open),
      below: link(this.#say("another"), () => this.#another()),
    }));
  }

  #gone() {
    if (!this.#wanted.draft) return this.#host.reset();
    this.#dead("gone");
  }

  /**
   * Another tab has gone on with this purchase.
   *
   * @param {StorageEvent} event
   */
  #elsewhere({ key }) {
    if (key !== this.memory.name) return;
    const draft = this.memory.read()?.draft;
    if (draft && draft !== this.memory.entry?.draft) this.#host.restart();
  }

  /** @param {string} code */
  #dead(code) {
    this.#show(() => deadEnd(this.#shell.language, code));
  }

  /**
   * Show a step.
   *
   * @param {() => import("./shell.js").Face} made
   */
  #show(made) {
    this.#shell.show(made);
  }

  /**
   * @param {string} name
   * @param {Record<string, string>} [values]
   */
  #say(name, values) {
    return this.#shell.language.say(name, values);
  }

  #hears() {
    return { lost: () => this.#net(false), heard: () => this.#net(true) };
  }

  /** @param {boolean} answers */
  #net(answers) {
    this.#shell.net(!navigator.onLine ? this.#say("offline") : answers ? "" : this.#say("lost"));
  }
}
