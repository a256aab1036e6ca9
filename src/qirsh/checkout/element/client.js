// The server's HTTP API, as the page uses it: what is lost is asked again, with the same key.

import { later } from "./dom.js";

/**
 * @typedef {object} Offer
 * @property {string} payment_method
 * @property {Record<string, string>} label
 * @property {string} currency
 * @property {string} amount
 * @property {string[]} fields
 *
 * @typedef {object} Status
 * @property {string} paymentDraftId
 * @property {string} status
 * @property {string | null} reason
 * @property {string} amount
 * @property {string} currency
 * @property {string} refunded
 * @property {string} [paymentAction]
 * @property {Record<string, any>} [actionData]
 * @property {string} [expiresAt]
 *
 * @typedef {object} Answer
 * @property {number} status
 * @property {any} body
 * @property {string | null} etag
 * @property {number} retryAfter in seconds; 0 where the server names none
 * @property {boolean} replayed
 *
 * @typedef {object} Told what the loops below tell the page
 * @property {() => void} lost no answer came; it is asked again
 * @property {() => void} heard an answer came
 */

/** An initiate is answered within 12 s and a status within its wait; nobody waits much longer. In milliseconds. */
const PATIENCE = 40_000;
const WAIT_SECONDS = 25;
/** Between questions that nobody answered: quick first, then no burden. */
const PAUSES = [1, 2, 4, 8];
const LAST_PAUSE = 15;
/** How often a server that is in trouble is asked again before the payer hears of it. */
const TRIES = 3;

export class Client {
  /** How far the server's clock is ahead of this device's, in milliseconds, as far as the server lets us know. */
  ahead = 0;

  /** @param {string} server its origin */
  constructor(server) {
    this.server = server;
  }

  /**
   * @param {string} productId
   * @param {string} currency
   * @param {Told} told
   * @param {AbortSignal} signal
   */
  methods(productId, currency, told, signal) {
    const query = new URLSearchParams({ product_id: productId, ...(currency && { currency }) });
    return this.#insist(`methods?${query}`, told, signal);
  }

  /**
   * @param {string} draft
   * @param {string} token
   * @param {string} otp
   * @param {AbortSignal} signal
   */
  handIn(draft, token, otp, signal) {
    return this.#ask(`${draft}/otp`, signal, { token, otp });
  }

  /**
   * Post an initiate until the server says what became of it: 201, or a refusal.
   *
   * @param {Record<string, any>} request with its key, which makes every repeat the same
   * @param {Told} told
   * @param {AbortSignal} signal
   */
  initiate(request, told, signal) {
    return this.#insist("initiate", told, signal, request);
  }

  /**
   * Tell each change of a draft until the signal. Nothing is asked while the page is hidden.
   *
   * @param {string} draft
   * @param {Told & { stands: (status: Status) => void, gone: () => void }} told
   * @param {AbortSignal} signal
   */
  async follow(draft, told, signal) {
    for (let etag = "", lost = 0; ; ) {
      if (document.hidden) await until(document, "visibilitychange", signal);
      const hidden = whenHidden(signal);
      const began = performance.now();
      const asked = this.#ask(`status/${draft}?wait=${WAIT_SECONDS}`, hidden.signal, undefined, etag);
      const answer = await asked.catch(() => null);
      const left = hidden.signal.aborted;
      hidden.abort();
      signal.throwIfAborted();
      if (!answer && left) continue;
      if (answer?.status === 404) return told.gone();
      if (answer?.status !== 200 && answer?.status !== 304) {
        told.lost();
        await pause(PAUSES[lost++] ?? LAST_PAUSE, signal);
        continue;
      }
      lost = 0;
      told.heard();
      if (answer.status === 200) {
        etag = answer.etag ?? "";
        told.stands(answer.body);
      }
      // A server between us that does not wait must not be asked without a pause.
      else if (performance.now() - began < 1000) await pause(2, signal);
    }
  }

  /**
   * Ask until there is an answer that asking again would not change, or trouble that lasts.
   *
   * @param {string} path
   * @param {Told} told
   * @param {AbortSignal} signal
   * @param {unknown} [body]
   * @returns {Promise<Answer>}
   */
  async #insist(path, told, signal, body) {
    for (let lost = 0, troubled = 0; ; ) {
      let answer;
      try {
        answer = await this.#ask(path, signal, body);
      } catch (error) {
        signal.throwIfAborted();
        told.lost();
        await pause(PAUSES[lost++] ?? LAST_PAUSE, signal);
        continue;
      }
      told.heard();
      const waits = answer.status === 202 || answer.body.code === "request_in_progress";
      const troubles = answer.body.retry === "same_key" && answer.status !== 429 && ++troubled < TRIES;
      if (!waits && !troubles) return answer;
      await pause(answer.retryAfter || 2, signal);
    }
  }

  /**
   * @param {string} path
   * @param {AbortSignal} signal
   * @param {any} [body] makes it a POST
   * @param {string} [etag] what is known already
   * @returns {Promise<Answer>}
   * @throws where no answer of the server came, in time or at all
   */
  async #ask(path, signal, body, etag) {
    const response = await fetch(`${this.server}/api/payments/${path}`, {
      method: body ? "POST" : "GET",
      headers: { ...(body && { "Content-Type": "application/json" }), ...(etag && { "If-None-Match": etag }) },
      body: body && JSON.stringify(body),
      credentials: "omit",
      cache: "no-store",
      signal: either(signal),
    });
    const { status } = response;
    const answered = status === 304 ? {} : ((await response.json()) ?? {});
    // Every trouble of ours has a code; any other is of something that stands between us.
    if (status >= 500 && !answered.code) throw new Error(`${status}`);
    const date = Date.parse(response.headers.get("Date") ?? "");
    if (date) this.ahead = date - Date.now();
    return {
      ...{ status, body: answered },
      etag: response.headers.get("ETag"),
      retryAfter: Number(response.headers.get("Retry-After")) || 0,
      replayed: response.headers.has("Idempotent-Replayed"),
    };
  }
}

/**
 * The signal, or no patience any more. (The types of older compilers know neither function.)
 *
 * @param {AbortSignal} signal
 * @returns {AbortSignal}
 */
function either(signal) {
  const signals = /** @type {any} */ (AbortSignal);
  return signals.any([signal, signals.timeout(PATIENCE)]);
}

/**
 * Wait so many seconds, or until the browser is back on the net.
 *
 * @param {number} seconds
 * @param {AbortSignal} signal
 */
function pause(seconds, signal) {
  return until(window, "online", signal, seconds);
}

/**
 * Wait for an event, at most so many seconds. It throws with the signal.
 *
 * @param {EventTarget} target
 * @param {string} event
 * @param {AbortSignal} signal
 * @param {number} [seconds]
 * @returns {Promise<void>}
 */
async function until(target, event, signal, seconds) {
  const over = new AbortController();
  const listening = { signal: over.signal };
  await new Promise((/** @type {(value?: any) => void} */ resolve) => {
    target.addEventListener(event, resolve, listening);
    signal.addEventListener("abort", resolve, listening);
    if (seconds) later(over.signal, seconds * 1000, resolve);
  });
  over.abort();
  signal.throwIfAborted();
}

/**
 * Ends with the signal, or as soon as the page is hidden.
 *
 * @param {AbortSignal} signal
 */
function whenHidden(signal) {
  const hidden = new AbortController();
  const listening = { signal: hidden.signal };
  signal.addEventListener("abort", () => hidden.abort(), listening);
  document.addEventListener("visibilitychange", () => document.hidden && hidden.abort(), listening);
  return hidden;
}
