// The pages /pay?product_id=… and /pay/{paymentDraftId}: the element, told by the address what to do.

const TITLES = { en: "Payment", ar: "الدفع" };
/** What a payment link may say; the element compares nothing, the server everything. */
const ASKED = ["product_id", "amount", "currency", "quantity", "order_reference", "return_url", "locale"];

const query = new URLSearchParams(location.search);
const draft = location.pathname.split("/")[2];
const language = (query.get("locale") ?? navigator.language).toLowerCase().startsWith("ar") ? "ar" : "en";
document.documentElement.lang = language;
document.documentElement.dir = language === "ar" ? "rtl" : "ltr";
document.title = TITLES[language];
/** @type {HTMLElement} */ (document.querySelector("h1")).textContent = TITLES[language];

const begun = draft && self === top && location.hash !== "#print" ? pageOf(draft) : null;
if (begun) location.replace(begun);
else show();

/** The element, as the address says. */
function show() {
  const checkout = document.createElement("qirsh-checkout");
  if (draft) checkout.setAttribute("payment-draft-id", draft);
  for (const name of draft ? ["locale", "product_id"] : ASKED) {
    const value = query.get(name);
    if (value) checkout.setAttribute(name.replaceAll("_", "-"), value);
  }
  // Opened to be printed: once there is something to print.
  if (location.hash === "#print") checkout.addEventListener("qirsh-action", () => setTimeout(print, 500), { once: true });
  /** @type {HTMLElement} */ (document.querySelector("main")).append(checkout);
}

/**
 * The payment link that this browser began a payment at: there the payer can try another method.
 *
 * @param {string} draft
 * @returns {string | null}
 */
function pageOf(draft) {
  try {
    for (const [name, text] of Object.entries(localStorage)) {
      const entry = name.startsWith("qirsh:") ? JSON.parse(text) : null;
      if (entry?.draft === draft && entry.page && new URL(entry.page).pathname === "/pay") return entry.page;
    }
  } catch {
    // the browser gives us no storage, or somebody else wrote there
  }
  return null;
}

export {};
