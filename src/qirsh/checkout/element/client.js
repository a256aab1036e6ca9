// The server's HTTP API, as the page uses it: what is lost is asked again, with the same key.

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
const PAUSES = [1, 2, 4, 8, 15];
/** How often a server that is in trouble is asked again before the payer hears of it. */
const TRIES = 3;

export class Client {
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
      try {
        const began = performance.now();
        const answer = await this.#ask(`status/${draft}?wait=${WAIT_SECONDS}`, hidden.signal, undefined, etag);
        if (answer.status === 404) return told.gone();
        if (answer.status !== 200 && answer.status !== 304) throw new Error(`${answer.status}`);
        lost = 0;
        told.heard();
        if (answer.status === 200) {
          etag = answer.etag ?? "";
          told.stands(answer.body);
        }
        // A server between us that does not wait must not be asked without a pause.
        if (performance.now() - began < 1000 && answer.status === 304) await pause(2, signal);
      } catch (error) {
        signal.throwIfAborted();
        if (hidden.signal.aborted) continue;
        told.lost();
        await pause(PAUSES[Math.min(lost++, PAUSES.length - 1)], signal);
      } finally {
        hidden.abort();
      }
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
        await pause(PAUSES[Math.min(lost++, PAUSES.length - 1)], signal);
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
   * @param {unknown} [body] makes it a POST
   * @param {string} [etag] what is known already
   * @returns {Promise<Answer>}
   * @throws where no answer of the server came, in time or at all
   */
  async #ask(path, signal, body, etag) {
    const response = await fetch(`${this.server}/api/payments/${path}`, {
      method: body ? "POST" : "GET",
      headers: { ...(body ? { "Content-Type": "application/json" } : {}), ...(etag && { "If-None-Match": etag }) },
      body: body ? JSON.stringify(body) : undefined,
      credentials: "omit",
      cache: "no-store",
      signal: either(signal),
    });
    return {
      status: response.status,
      body: response.status === 304 ? null : await response.json(),
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
function until(target, event, signal, seconds) {
  return new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer);
      target.removeEventListener(event, end);
      signal.removeEventListener("abort", end);
      signal.aborted ? reject(signal.reason) : resolve();
    };
    const timer = seconds && setTimeout(end, seconds * 1000);
    target.addEventListener(event, end);
    signal.addEventListener("abort", end);
  });
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
