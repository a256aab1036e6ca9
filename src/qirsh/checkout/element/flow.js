// One purchase on its way: from what is remembered, or the methods, to its end. A new start is a new flow.

import { failed, faceOf, unknown } from "./actions.js";
import { Client } from "./client.js";
import { later } from "./dom.js";
import { checking, deadEnd, link, main, verdict, waiting } from "./faces.js";
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

/** Nobody waits longer for a provider without being told of another way. In milliseconds. */
const SLOW = 20_000;

/** The server asks the provider before it sends a frame back, so news come with it or soon. In milliseconds. */
const DECIDED = 5000;

export class Flow {
  #shell;
  #wanted;
  #host;
  #client;
  #run = new AbortController();
  /** What the server is asked at the moment: one thing at a time. */
  #turn = new AbortController();
  /** @type {Form | null} */
  form = null;
  #busy = false;
  /** The form of a flow before, with what was chosen and typed there. */
  #before = /** @type {Form | null | undefined} */ (null);
  /** What is shown of the draft, so that what has not changed is not drawn anew under the payer's hands. */
  #drawn = "";

  /**
   * @param {import("./shell.js").Shell} shell
   * @param {ReturnType<import("./attributes.js").attributesOf>} wanted
   * @param {Host} host
   * @param {Flow | null} before
   */
  constructor(shell, wanted, host, before) {
    this.#shell = shell;
    this.#wanted = wanted;
    this.#host = host;
    this.#before = before?.typed;
    this.#client = new Client(wanted.server);
    this.memory = new Memory(wanted.facts, wanted.order);
  }

  begin() {
    const { signal } = this.#run;
    const { draft, product, amount, currency } = this.#wanted;
    const { entry } = this.memory;
    const { language } = this.#shell;
    const on = (/** @type {string} */ name, /** @type {(event: any) => void} */ act) => window.addEventListener(name, act, { signal });
    on("storage", (event) => this.#elsewhere(event));
    on("offline", () => this.#net(true));
    on("online", () => this.#net(true));
    // A page that comes back by the back button was frozen in the middle of a step.
    on("pageshow", (event) => event.persisted && this.#host.restart());
    this.#shell.price(language.pick(entry?.name), amount ? language.money(amount, currency) : "");
    const known = draft || entry?.draft;
    const lost = this.memory.unanswered();
    if (known) this.#follow(known);
    else if (lost) this.#register(lost, false); // the payer pressed, so it counts: the same key asks again
    else this.#offer();
    if (draft && product) this.#named(product, currency);
  }

  /** Stop, with everything as it is. */
  end() {
    this.#run.abort();
    this.#turn.abort();
  }

  /**
   * The form, or the one of the flow before as long as there is none.
   *
   * @returns {Form | null | undefined}
   */
  get typed() {
    return this.form ?? this.#before;
  }

  /** A signal for what is asked next; what was asked before is not waited for any more. */
  #next() {
    this.#turn.abort();
    this.#turn = new AbortController();
    return this.#turn.signal;
  }

  /**
   * Show the methods.
   *
   * @param {string} [problem] what went wrong before
   */
  async #offer(problem = "") {
    const signal = this.#next();
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
      const paid = (/** @type {Offer} */ offer, /** @type {any} */ payer) => this.#pay(offer, payer, answer.body.name);
      this.form = new Form(this.#shell, offers, paid, this.#before);
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
    this.#register(this.memory.tried(asked, name), true);
  }

  /**
   * Post what is kept, until it is known what became of it.
   *
   * @param {Record<string, any>} request
   * @param {boolean} fresh the payer pressed on this page, and did not only load it
   */
  async #register(request, fresh) {
    const signal = this.#next();
    this.#drawn = "";
    this.#busy = true;
    this.#shell.busy(true);
    later(signal, this.#shell.face === "methods" ? 1500 : 0, () => this.#asking());
    const answer = await this.#client.initiate(request, this.#hears(), signal).catch(() => null);
    if (!answer || signal.aborted) return;
    this.#next();
    this.#busy = false;
    const { paymentDraftId: draft, paymentAction } = answer.body;
    this.memory.became(request.idempotency_key, draft ? { draft } : {});
    if (answer.status !== 201) return this.#refused(answer, request);
    // What was answered once may be over by now: a repeat is believed only that there is a draft.
    if (paymentAction && !answer.replayed) {
      const { product_amount: amount, currency } = request;
      const stands = { status: "awaiting_user_action", reason: null, amount, currency, ...answer.body };
      this.#stands(stands, fresh);
    }
    this.#follow(draft);
  }

  /** The provider takes its time; where it takes too long, there is a way out. */
  #asking() {
    const face = (text = "") => waiting("asking", this.#say("wait"), text);
    this.#show(() => face());
    later(this.#shell.leaving.signal, SLOW, () => {
      const slow = this.#say("slow");
      this.#show(() => ({ ...face(slow), below: this.#other() }));
      this.#shell.tell(slow);
    });
  }

  /**
   * @param {import("./client.js").Answer} answer
   * @param {Record<string, any>} request
   */
  #refused({ body }, request) {
    const { code = "", retry, reason } = body;
    if (code === "gateway_rejected") {
      const { product_amount: amount, currency } = request;
      const failed = { paymentDraftId: null, ...body, status: "failed", reason, amount, currency };
      return this.#stands(failed, false);
    }
    if (retry === "never") {
      this.memory.renew();
      this.#host.tell("qirsh-failed", { paymentDraftId: null, reason: code });
      console.error(`qirsh-checkout: ${code}`, body.errors ?? body.detail);
    }
    if (/^pr/.test(code)) return this.#dead(code); // the product, or its price
    this.#offer(this.#say(code.replace("misconfigured", "unavailable")) || this.#say("problem"));
    if (body.errors?.[0].pointer === "#/payer/phone") this.form?.complain(this.#say("phone_wrong"));
  }

  /**
   * Show how a draft stands, and each change of it.
   *
   * @param {string} draft
   */
  async #follow(draft) {
    const signal = this.#next();
    if (!this.#drawn) this.#show(() => checking(this.#shell.language));
    await this.#client.follow(draft, this.#hears(), signal).catch(() => {}); // it ends with the signal alone
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
        return this.#asking();
    }
  }

  /**
   * @param {Status} status
   * @param {string} money
   */
  #completed({ paymentDraftId, amount, currency }, money) {
    this.memory.paid(paymentDraftId);
    this.end();
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
    const { server, ahead } = this.#client;
    const sheet = new URLSearchParams({ locale: this.#shell.language.code, product_id: this.#wanted.product });
    return {
      ...{ shell: this.#shell, status, money, fresh, ahead },
      again: this.#mine() && (() => this.#again()),
      another: this.#mine() && (() => this.#another()),
      open: () => this.#open(status, money),
      returned: () => this.#returned(status, money),
      handIn: (otp) => this.#client.handIn(status.paymentDraftId, status.actionData?.token, otp, this.#run.signal),
      print: `${server}/pay/${status.paymentDraftId}?${sheet}#print`,
    };
  }

  /** Whether this browser began what is followed, and so can begin anew. */
  #mine() {
    return this.memory.entry?.request && !this.#wanted.draft ? true : null;
  }

  /** The same method once more, as a new try of the same order: what was declined may be over at the PSP. */
  #again() {
    if (this.#busy) return;
    const { idempotency_key: _, ...asked } = this.memory.entry?.request ?? {};
    this.memory.renew();
    this.#register(this.memory.tried(asked), true);
  }

  #another() {
    this.memory.renew();
    this.#offer();
  }

  #other() {
    return this.#mine() && link(this.#say("another"), () => this.#another());
  }

  /**
   * The PSP's form, for one more try: whatever the server says next is news, be it the same refusal again.
   *
   * @param {Status} status
   * @param {string} money
   */
  #open(status, money) {
    this.#drawn = "";
    this.#show(() => faceOf({ ...this.#scene(status, money, false), status: { ...status, reason: null } }));
  }

  /**
   * The frame came back: its payment may be decided any moment, or not be made at all. A second refusal for the reason
   * of the first changes nothing that the server shows, so where nothing comes it is taken to be that.
   *
   * @param {Status} status
   * @param {string} money
   */
  #returned(status, money) {
    this.#drawn = "";
    this.#show(() => ({
      ...checking(this.#shell.language),
      main: main(this.#say("framed"), () => this.#open(status, money)),
      below: this.#other(),
    }));
    if (status.reason) later(this.#shell.leaving.signal, DECIDED, () => this.#stands(status, false));
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
   * Show a step. One that cannot be drawn is said to be so, and the payment goes on.
   *
   * @param {() => import("./shell.js").Face} made
   */
  #show(made) {
    try {
      this.#shell.show(made);
    } catch (error) {
      reportError(error);
      this.#shell.show(() => unknown(this.#shell.language, this.#other()));
    }
  }

  /**
   * The product's name, for a page that follows a payment.
   *
   * @param {string} product
   * @param {string} currency
   */
  async #named(product, currency) {
    const { signal } = this.#run;
    const answer = await this.#client.methods(product, currency, this.#hears(), signal).catch(() => null);
    this.#shell.price(this.#shell.language.pick(answer?.body.name), "");
  }

  /**
   * @param {string} name
   * @param {Record<string, string>} [values]
   */
  #say(name, values) {
    return this.#shell.language.say(name, values);
  }

  #hears() {
    return {
      lost: () => this.#net(false),
      heard: () => this.#net(true),
      stands: (/** @type {Status} */ status) => this.#stands(status, false),
      gone: () => this.#gone(),
    };
  }

  /** @param {boolean} answers */
  #net(answers) {
    this.#shell.net(!navigator.onLine ? this.#say("offline") : answers ? "" : this.#say("lost"));
  }
}
