// What the page remembers of a purchase, in localStorage: the key before the first request, and then the draft.

/**
 * @typedef {object} Entry
 * @property {string} key the idempotency key of this try
 * @property {string} order the order_reference of every try
 * @property {Record<string, any>} [request] what is, or was, posted with the key
 * @property {string} [draft] the payment draft that came of it
 * @property {Record<string, string>} [name] the product's name, by language
 * @property {string} [page] where it was begun; /pay/{paymentDraftId} sends the payer back there
 * @property {number} [ended] when it was paid, in milliseconds since 1970
 */

const PREFIX = "qirsh:";

/** How long a reload still shows that it is paid, in milliseconds; after that the same purchase is a new one. */
const PAID_SHOWN = 3_600_000;

/** One purchase. Tabs share it, and so share its key. */
export class Memory {
  /** @param {(string | null)[]} facts what makes it this purchase and no other */
  constructor(facts) {
    this.name = PREFIX + facts.map((fact) => encodeURIComponent(fact ?? "")).join("&");
  }

  /** @returns {Entry | null} */
  read() {
    /** @type {Entry | null | undefined} */
    const entry = attempt(() => JSON.parse(localStorage.getItem(this.name) ?? "null"));
    if (!entry?.key || !entry.order) return null;
    return entry.ended && Date.now() - entry.ended > PAID_SHOWN ? null : entry;
  }

  /**
   * Keep an entry. The payer's phone is in its request only while the try may have to be repeated.
   *
   * @param {Entry} entry
   */
  write(entry) {
    attempt(() => localStorage.setItem(this.name, JSON.stringify(entry)));
  }

  /** Forget the purchase. */
  forget() {
    attempt(() => localStorage.removeItem(this.name));
  }
}

/**
 * A new try: a new key for the same order.
 *
 * @param {string | null | undefined} order
 * @returns {Entry}
 */
export function newTry(order) {
  return { key: crypto.randomUUID(), order: order || crypto.randomUUID() };
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
