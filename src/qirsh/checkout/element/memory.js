// What the page remembers of a purchase, in localStorage: the key before the first request, and then the draft.

/**
 * @typedef {object} Entry
 * @property {string} key the idempotency key of this try
 * @property {string} order the order_reference of every try
 * @property {Record<string, any>} [request] what is, or was, posted with the key
 * @property {number} [asked] when it was posted, in milliseconds since 1970, as long as nobody answered
 * @property {string} [draft] the payment draft that came of it
 * @property {Record<string, string>} [name] the product's name, by language
 * @property {string} [page] where it was begun; /pay/{paymentDraftId} sends the payer back there
 * @property {number} [ended] when it was paid, in milliseconds since 1970
 */

const PREFIX = "qirsh:";

/** How long a reload still shows that it is paid, in milliseconds; after that the same purchase is a new one. */
const PAID_SHOWN = 3_600_000;

/** How long a reload posts by itself what the payer began and nobody answered, in milliseconds. */
const ASKED_STANDS = 300_000;

/** One purchase. Tabs share it, and so share its key. */
export class Memory {
  #order;

  /**
   * @param {string[]} facts what makes it this purchase and no other
   * @param {string} order the shop's own reference, if it has one
   */
  constructor(facts, order) {
    this.name = PREFIX + facts.map(encodeURIComponent).join("&");
    this.#order = order;
    this.entry = this.read();
  }

  /**
   * What is kept now: another tab may have gone on.
   *
   * @returns {Entry | null}
   */
  read() {
    /** @type {Entry | null | undefined} */
    const entry = attempt(() => JSON.parse(localStorage.getItem(this.name) ?? "null"));
    if (!entry?.key || !entry.order) return null;
    // An order that the shop named is paid once and for all.
    return entry.ended && !this.#order && Date.now() - entry.ended > PAID_SHOWN ? null : entry;
  }

  /** @param {Entry} entry */
  keep(entry) {
    this.entry = entry;
    attempt(() => localStorage.setItem(this.name, JSON.stringify({ ...entry, page: location.href })));
  }

  /**
   * Keep what became of a try, unless another tab is at another try by now.
   *
   * @param {string} key of the try
   * @param {Partial<Entry>} more
   */
  became(key, more) {
    const entry = /** @type {Entry} */ ({ ...this.entry, ...more, asked: 0 });
    if ((this.read()?.key ?? key) === key) this.keep(entry);
    else this.entry = entry;
  }

  /** What was posted just now, by this page before a reload or by a tab that is gone, and was not answered. */
  unanswered() {
    const { request, asked = 0 } = this.entry ?? {};
    return Date.now() - asked < ASKED_STANDS ? request : undefined;
  }

  /** Forget the purchase. */
  forget() {
    attempt(() => localStorage.removeItem(this.name));
  }

  /**
   * The next try: a new key for the same order.
   *
   * @returns {Entry}
   */
  renew() {
    const { order, name } = this.entry ?? {};
    const entry = { key: crypto.randomUUID(), order: order || this.#order || crypto.randomUUID(), name };
    this.keep(entry);
    return entry;
  }

  /**
   * Keep what is about to be posted, under the key that was kept for it, or for the same before: a second click, a
   * reload and another tab post the same, wherever each of them would come back to.
   *
   * @param {Record<string, any>} asked
   * @param {Record<string, string>} [name] the product's
   */
  tried(asked, name) {
    this.entry = this.read() ?? this.entry;
    const before = this.entry?.request;
    const same = before && told(before) === told({ ...asked, order_reference: this.entry?.order });
    const { key, order } = this.entry && (same || !before) ? this.entry : this.renew();
    const request = same ? before : { ...asked, order_reference: order, idempotency_key: key };
    this.keep({ key, order, name: name ?? this.entry?.name, request, asked: Date.now() });
    return request;
  }

  /**
   * The payment is made. The request may hold the payer's phone, and has no more use.
   *
   * @param {string} draft
   */
  paid(draft) {
    if (this.entry) this.keep({ ...this.entry, request: undefined, draft, ended: Date.now() });
  }
}

/**
 * What makes one request another.
 *
 * @param {Record<string, any>} request
 */
function told(request) {
  return JSON.stringify(request, (name, value) => (/^(idempotency_key|return_url)$/.test(name) ? undefined : value));
}

/**
 * Nothing where the browser gives us no storage, or what is there is not ours: the page then remembers by itself.
 *
 * @template T
 * @param {() => T} act
 * @returns {T | undefined}
 */
function attempt(act) {
  try {
    return act();
  } catch {
    return undefined;
  }
}
