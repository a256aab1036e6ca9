// The demo shop: a few products, the element, and what the server's journal says of the payment meanwhile.

import { WORDS } from "./words.js";

const REFRESH = 1000; // milliseconds; this machine alone asks
const PICTURES = ["tshirt", "mug", "ebook"];

/**
 * @param {string} id
 * @returns {any} one that stands in shop.html
 */
const find = (id) => document.getElementById(id);

/**
 * @param {string} tag
 * @param {Record<string, any>} [properties]
 * @param {(Node | string)[]} children
 * @returns {any}
 */
function make(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

const query = new URLSearchParams(location.search);
const language = query.get("locale") === "ar" ? "ar" : "en";
const words = WORDS[language];
const numbers = language === "ar" ? "ar-EG" : "en";

document.documentElement.lang = language;
document.documentElement.dir = language === "ar" ? "rtl" : "ltr";
document.title = words.title;
for (const one of document.querySelectorAll("[data-say]")) one.textContent = words[one.getAttribute("data-say") ?? ""];
find("currency").setAttribute("aria-label", words.currency);
find("language").textContent = words.language;
find("language").lang = language === "ar" ? "en" : "ar";
// Whoever is quick presses before the products are here: nothing below may be needed for it.
find("language").addEventListener("click", () => go({ locale: language === "ar" ? "en" : "ar" }));

/** @type {{ id: string, name: Record<string, string>, prices: Record<string, string> }[]} */
const products = await (await fetch("/demo/products")).json();
const chosen = products.find(({ id }) => id === query.get("product")) ?? products[0];
const currency = currencyOf(chosen, query.get("currency"));
const checkout = document.createElement("qirsh-checkout");
const delivery = make("p", { id: "delivery" });
delivery.setAttribute("role", "status");
const download = make("a", { id: "download", hidden: true, textContent: words.download });
if (chosen) sell();
else find("products").append(make("li", { className: "quiet", textContent: words.nothing }));

/**
 * Another choice is another page, which the payer can come back to.
 *
 * @param {Record<string, string>} changes
 */
function go(changes) {
  location.search = `${new URLSearchParams({ ...Object.fromEntries(new URLSearchParams(location.search)), ...changes })}`;
}

/**
 * The currency that is asked for where the product has a price in it, else pounds, else any that it has.
 *
 * @param {typeof products[number] | undefined} product
 * @param {string | null} wanted
 */
function currencyOf(product, wanted) {
  const known = Object.keys(product?.prices ?? {});
  return [wanted, "EGP"].find((one) => one && known.includes(one)) ?? known[0];
}

/** Put everything on the page that there is a product for. */
function sell() {
  find("products").append(...products.map((product) => make("li", {}, card(product))));
  find("currency").append(...Object.keys(chosen.prices).map(choice));
  const attributes = {
    ...{ "product-id": chosen.id, amount: chosen.prices[currency], currency, locale: language },
    "return-url": location.href.split("#")[0],
  };
  for (const [name, value] of Object.entries(attributes)) checkout.setAttribute(name, value);
  for (const name of ["qirsh-action", "qirsh-completed", "qirsh-failed"]) {
    checkout.addEventListener(name, (event) => follow(/** @type {CustomEvent} */ (event).detail.paymentDraftId));
  }
  // The element shows this where it says that the payment is made: there the payer looks.
  const delivered = make("div", { id: "delivered", slot: "completed" }, delivery, download);
  checkout.append(delivered);
  find("checkout").append(checkout);
  find("retry").addEventListener("click", () => {
    followed = "";
    find("standing").hidden = true;
    /** @type {any} */ (checkout).reset();
  });
}

/** @param {string} code */
function choice(code) {
  const button = make("button", { type: "button", value: code, textContent: code });
  button.setAttribute("aria-pressed", `${code === currency}`);
  button.addEventListener("click", () => go({ currency: code }));
  return button;
}

/** @param {typeof products[number]} product */
function card(product) {
  const { id, name, prices } = product;
  const known = currencyOf(product, currency);
  const price = new Intl.NumberFormat(numbers, { style: "currency", currency: known }).format(/** @type {any} */ (prices[known]));
  const picture = make("img", { src: `/demo/${PICTURES.includes(id) ? id : "parcel"}.svg`, alt: "", width: 64, height: 64 });
  const title = make("b", { textContent: name[language] ?? name.en });
  const button = make("button", { type: "button", className: "product" }, picture, title, make("bdi", { textContent: price }));
  button.setAttribute("aria-pressed", `${id === chosen?.id}`);
  button.addEventListener("click", () => go({ product: id }));
  return button;
}

let followed = "";
let listed = "";

/**
 * Show what is known of a draft, and go on while it is the one.
 *
 * @param {string | null} draft
 */
async function follow(draft) {
  if (!draft || draft === followed) return;
  followed = draft;
  download.hidden = true; // what an earlier payment unlocked is that payment's
  while (followed === draft) {
    const answer = document.hidden ? null : await fetch(`/demo/orders/${draft}`).catch(() => null);
    if (answer?.ok && followed === draft) show(draft, await answer.json());
    await new Promise((resolve) => setTimeout(resolve, REFRESH));
  }
}

/**
 * @typedef {{ at: string, kind: string, gateway?: string, source?: string, reason?: string, verdict: string, state: string }} Line
 * @typedef {{ at: string, type: string, status: string, attempts: string }} Announcement
 * @param {string} draft
 * @param {{ delivered: boolean, journal: Line[], announcements: Announcement[] }} order
 */
function show(draft, { delivered, journal, announcements }) {
  const last = journal.at(-1);
  const ended = last?.state === "failed";
  const late = journal.filter(({ kind }) => kind === "failed").at(-1)?.reason === "expired";
  const stands = words[`stands_${ended && late ? "expired" : last?.state}`];
  say(find("stands"), stands ?? (delivered ? "" : words.waits));
  find("standing").hidden = !find("stands").textContent;
  find("retry").hidden = !ended;
  say(delivery, delivered ? words.delivered : words.told);
  if (delivered && download.hidden) {
    download.href = `/demo/orders/${draft}/download`;
    download.hidden = false;
    const behavior = matchMedia("(prefers-reduced-motion: reduce)").matches ? "instant" : "smooth";
    download.scrollIntoView({ block: "nearest", behavior });
  }
  say(find("draft"), draft);
  const lines = [
    ...journal.map((line) => row(line, words[`kind_${line.kind}`] ?? line.kind, told(line), line.verdict === "applied")),
    ...announcements.map((one) => {
      const pieces = [one.type, words[`status_${one.status}`] ?? one.status, `${words.tries} ${one.attempts}`];
      return row(one, words.announced, pieces, one.status === "delivered");
    }),
  ];
  const fresh = lines.map((line) => line.outerHTML).join("");
  if (fresh === listed) return; // a list that is being read is not taken away
  listed = fresh;
  find("journal").replaceChildren(...lines);
}

/**
 * Where an event came from, what it was about, what became of it, and where the payment stands.
 *
 * @param {Line} line
 */
function told({ gateway, source = "", reason, verdict, state }) {
  const pieces = [gateway, words[`source_${source}`] ?? source, reason, words[`verdict_${verdict}`] ?? verdict, state];
  return /** @type {string[]} */ (pieces.filter(Boolean));
}

/**
 * @param {{ at: string }} line
 * @param {string} title
 * @param {string[]} pieces each with a direction of its own
 * @param {boolean} moved whether it changed anything
 */
function row({ at }, title, pieces, moved) {
  const time = new Intl.DateTimeFormat(numbers, { timeStyle: "medium", hourCycle: "h23" }).format(new Date(at));
  return make("li", { className: moved ? "moved" : "" },
    make("time", { dateTime: at, textContent: time }),
    make("div", {}, make("b", { textContent: title }), make("p", {}, ...pieces.map((piece) => make("span", {}, make("bdi", { textContent: piece }))))),
  );
}

/**
 * A status is announced each time it is written, so it is written only when it is another.
 *
 * @param {HTMLElement} element
 * @param {string} text
 */
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
