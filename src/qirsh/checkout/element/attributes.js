// What the shop's page wrote on the element.

import { canonical } from "./strings.js";

const AMOUNT = /^\d{1,12}(\.\d{1,3})?$/;
const LOCALE = /^[a-z]{2}(-[A-Z]{2})?$/;
/** The server takes no longer address to come back to. */
const MAX_BACK = 2000;

export const ATTRIBUTES = [
  ...["product-id", "amount", "currency", "quantity", "order-reference", "payment-draft-id"],
  ...["server", "locale", "return-url"],
];

/**
 * The attributes of one moment.
 *
 * @param {HTMLElement} element
 * @param {string} here the origin that this script is from
 */
export function attributesOf(element, here) {
  const [product, amount, currency, quantity, order, draft, written, spoken, back] = ATTRIBUTES.map((name) =>
    (element.getAttribute(name) ?? "").trim(),
  );
  const server = written.replace(/\/+$/, "") || here;
  const locale = canonical(spoken || document.documentElement.lang || navigator.language);
  const page = location.href.split("#")[0];
  return {
    ...{ product, amount, currency, order, draft, server, locale },
    quantity: Number(quantity || 1),
    /** What makes it this purchase and no other. */
    facts: [server, draft, product, amount, currency, quantity, order],
    /** What the server may know of the locale. */
    told: LOCALE.test(locale) ? locale : undefined,
    /** Where the payer comes back to; our own pages are found by the server itself. */
    back: back || (location.origin === server || page.length > MAX_BACK ? undefined : page),
    /** Whether the page says what to pay for: an amount means nothing without its currency. */
    whole: (draft || product) && (!amount || (AMOUNT.test(amount) && currency)),
  };
}
