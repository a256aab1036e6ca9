// The demo shop: three products, the element, and what the server's journal says of the payment meanwhile.

/** @type {Record<string, Record<string, string>>} */
const WORDS = {
  en: {
    title: "Qirsh demo shop",
    sandbox: "The payment providers behind this page are a local sandbox: no real money moves.",
    products: "Products",
    order: "Your order",
    waits: "The shop waits for the payment.",
    delivered: "The shop heard that you paid: your order is delivered.",
    download: "Download your order",
    behind: "Behind the scenes",
    behind_text: "What was folded into the payment, as it comes: from our own request, the provider’s webhook, a look-up.",
    language: "العربية",
  },
  ar: {
    title: "متجر قرش التجريبي",
    sandbox: "جهات الدفع خلف هذه الصفحة محلية وتجريبية: لا تتحرك أموال حقيقية.",
    products: "المنتجات",
    order: "طلبك",
    waits: "ينتظر المتجر الدفع.",
    delivered: "علم المتجر بدفعك: تم تسليم طلبك.",
    download: "حمّل طلبك",
    behind: "خلف الكواليس",
    behind_text: "ما سُجل في العملية أولًا بأول: من طلبنا، ومن إشعار جهة الدفع، ومن الاستعلام.",
    language: "English",
  },
};
const REFRESH = 1000; // milliseconds; this machine alone asks

/**
 * @param {string} id
 * @returns {any} one that stands in shop.html
 */
const find = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const language = query.get("locale") === "ar" ? "ar" : "en";
const currency = query.get("currency") === "USD" ? "USD" : "EGP";
const words = WORDS[language];

document.documentElement.lang = language;
document.documentElement.dir = language === "ar" ? "rtl" : "ltr";
document.title = words.title;
for (const one of document.querySelectorAll("[data-say]")) one.textContent = words[one.getAttribute("data-say") ?? ""];
find("language").textContent = words.language;
find("language").lang = language === "ar" ? "en" : "ar";
find("currency").textContent = currency === "EGP" ? "USD" : "EGP";
find("language").addEventListener("click", () => go({ locale: language === "ar" ? "en" : "ar" }));
find("currency").addEventListener("click", () => go({ currency: find("currency").textContent }));

/** @type {{ id: string, name: Record<string, string>, prices: Record<string, string> }[]} */
const products = await (await fetch("/demo/products")).json();
const chosen = products.find(({ id }) => id === query.get("product")) ?? products[0];
find("products").append(...products.map(card));

const checkout = document.createElement("qirsh-checkout");
checkout.setAttribute("product-id", chosen.id);
checkout.setAttribute("amount", chosen.prices[currency]);
checkout.setAttribute("currency", currency);
checkout.setAttribute("locale", language);
checkout.setAttribute("return-url", location.href.split("#")[0]);
for (const name of ["qirsh-action", "qirsh-completed", "qirsh-failed"]) {
  checkout.addEventListener(name, (event) => follow(/** @type {CustomEvent} */ (event).detail.paymentDraftId));
}
find("checkout").append(checkout);

/**
 * Another choice is another page, which the payer can come back to.
 *
 * @param {Record<string, string>} changes
 */
function go(changes) {
  location.search = `${new URLSearchParams({ product: chosen.id, currency, locale: language, ...changes })}`;
}

/** @param {typeof products[number]} product */
function card({ id, name, prices }) {
  const price = new Intl.NumberFormat(language === "ar" ? "ar-EG" : "en", { style: "currency", currency });
  const button = document.createElement("button");
  button.type = "button";
  button.className = "product";
  button.setAttribute("aria-pressed", `${id === chosen.id}`);
  const cost = Object.assign(document.createElement("bdi"), { textContent: price.format(/** @type {any} */ (prices[currency])) });
  button.append(Object.assign(document.createElement("span"), { textContent: name[language] ?? name.en }), cost);
  button.addEventListener("click", () => go({ product: id }));
  return button;
}

let followed = "";

/**
 * Show what is known of a draft, and go on while it is the one.
 *
 * @param {string | null} draft
 */
async function follow(draft) {
  if (!draft || draft === followed) return;
  followed = draft;
  while (followed === draft) {
    const answer = document.hidden ? null : await fetch(`/demo/orders/${draft}`).catch(() => null);
    if (answer?.ok && followed === draft) show(draft, await answer.json());
    await new Promise((resolve) => setTimeout(resolve, REFRESH));
  }
}

/**
 * @param {string} draft
 * @param {{ delivered: boolean, journal: Record<string, string>[], announcements: Record<string, string>[] }} order
 */
function show(draft, { delivered, journal, announcements }) {
  find("order").hidden = false;
  const said = words[delivered ? "delivered" : "waits"];
  if (find("delivery").textContent !== said) find("delivery").textContent = said;
  find("download").hidden = !delivered;
  find("download").href = `/demo/orders/${draft}/download`;
  find("draft").textContent = draft;
  const lines = [
    ...journal.map(({ source, kind, gateway, reason, verdict, state }) =>
      `${source}: ${gateway} says ${kind}${reason ? ` (${reason})` : ""} → ${verdict}, ${state}`,
    ),
    ...announcements.map(({ type, status, attempts }) => `worker: ${type} → shop: ${status}, tries: ${attempts}`),
  ];
  const rows = lines.map((line) => Object.assign(document.createElement("li"), { textContent: line }));
  find("journal").replaceChildren(...rows);
}

export {};
