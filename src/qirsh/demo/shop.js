// The demo shop's page: choose, initiate, show the action, follow the status. Plain on purpose.

import { codeForm } from "/checkout/code.js";

const $ = (id) => document.getElementById(id);
const KEY = "qirsh-demo-key"; // written before the first request, so that a retry is the same purchase
const DRAFT = "qirsh-demo-draft";

const STATUS = {
  pending: "Asking the payment provider…",
  awaiting_user_action: "Waiting for your payment",
  completed: "Payment successful",
  failed: "Payment failed",
  partially_refunded: "Partly refunded",
  refunded: "Refunded",
};
const ACTIONS = {
  redirect_url: ({ url, display }) => (display === "iframe" ? frame(url) : link(url)),
  reference_code: ({ code, biller, amount }) => text(`Pay ${amount} at ${biller} with the code ${code}`),
  qr_code: ({ image }) => Object.assign(document.createElement("img"), { src: image, alt: "QR code to pay" }),
  mobile_prompt: ({ phone }) => text(`Confirm the payment on your phone ${phone}`),
  otp_token: (data, draftId) => codeForm(draftId, data),
};
const unknown = () => text("This page does not know how to show this payment. Please choose another method.");

let offers = [];
let following = 0;

function text(sentence) {
  return Object.assign(document.createElement("p"), { textContent: sentence });
}
function frame(url) {
  return Object.assign(document.createElement("iframe"), { src: url, title: "Card payment" });
}
function link(url) {
  return Object.assign(document.createElement("a"), { href: url, className: "button", textContent: "Go to the payment page" });
}

function offerAnother(words) {
  $("again").textContent = words;
  $("again").hidden = false;
}

function retryButton(onClick) {
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: "Try again" });
  button.addEventListener("click", onClick);
  return button;
}

async function ask(path, options) {
  const response = await fetch(path, options);
  const body = response.status === 304 ? null : await response.json();
  return { response, body };
}

async function showProducts() {
  const { body } = await ask("/demo/products");
  $("product").replaceChildren(...body.map(({ id, name }) => new Option(`${name.en} · ${name.ar ?? ""}`, id)));
  await showMethods();
}

async function showMethods() {
  const { body } = await ask(`/api/payments/methods?product_id=${encodeURIComponent($("product").value)}`);
  offers = body.methods;
  const rows = offers.map((offer, index) => {
    const row = document.createElement("label");
    const radio = Object.assign(document.createElement("input"), { type: "radio", name: "method", value: index });
    radio.checked = index === 0;
    row.append(radio, offer.label.en, Object.assign(document.createElement("span"), { textContent: `${offer.amount} ${offer.currency}` }));
    return row;
  });
  $("methods").replaceChildren($("methods").querySelector("legend"), ...rows);
  choose();
}

function chosen() {
  const radio = document.querySelector("input[name=method]:checked");
  return radio && offers[Number(radio.value)];
}

function choose() {
  const offer = chosen();
  $("phone-field").hidden = !offer?.fields.includes("payer.phone");
  $("pay").disabled = !offer;
  $("pay").textContent = offer ? `Pay ${offer.amount} ${offer.currency}` : "Pay";
}

async function pay(event) {
  event.preventDefault();
  const offer = chosen();
  const key = localStorage.getItem(KEY) ?? crypto.randomUUID();
  localStorage.setItem(KEY, key);
  $("pay").disabled = true;
  const request = {
    product_id: $("product").value,
    product_amount: offer.amount,
    currency: offer.currency,
    payment_method: offer.payment_method,
    idempotency_key: key,
    return_url: `${location.origin}/`,
    locale: "en",
  };
  if (offer.fields.includes("payer.phone")) request.payer = { phone: $("phone").value || $("phone").placeholder };
  await initiate(request);
}

async function initiate(request) {
  for (;;) {
    const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(request) };
    const { response, body } = await ask("/api/payments/initiate", options);
    if (body.paymentDraftId && response.ok) localStorage.setItem(DRAFT, body.paymentDraftId);
    if (response.status === 201) return follow(body.paymentDraftId);
    const retry = Number(response.headers.get("Retry-After") ?? 0);
    if (response.status === 202 || (response.status === 409 && body.retry === "same_key")) {
      await new Promise((resolve) => setTimeout(resolve, Math.max(retry, 1) * 1000));
      continue;
    }
    $("payment").hidden = false;
    $("problem").hidden = false;
    $("problem").textContent = body.errors?.map(({ pointer, detail }) => `${pointer} ${detail}`).join("; ") || body.detail;
    $("pay").disabled = false;
    if (body.retry === "never") localStorage.removeItem(KEY);
    return undefined;
  }
}

async function follow(draftId) {
  const mine = ++following;
  let etag = null;
  let shown = null;
  $("order").hidden = true;
  $("problem").hidden = true;
  $("payment").hidden = false;
  $("draft").textContent = draftId;
  while (mine === following) {
    let answer;
    try {
      const headers = etag ? { "If-None-Match": etag } : {};
      answer = await ask(`/api/payments/status/${draftId}?wait=25`, { headers });
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 2000));
      continue;
    }
    const { response, body } = answer;
    if (response.status === 404) return forget();
    if (!body) continue;
    etag = response.headers.get("ETag");
    $("status").textContent = STATUS[body.status] ?? body.status;
    const declined = body.status === "awaiting_user_action" && body.reason;
    $("problem").hidden = !(declined || body.status === "failed");
    $("problem").textContent = declined ? `That try was declined (${body.reason}). You can try again.` : (body.reason ?? "");
    const show = () => $("action").replaceChildren((ACTIONS[body.paymentAction] ?? unknown)(body.actionData, draftId));
    const action = JSON.stringify([body.paymentAction, body.actionData]);
    if (body.paymentAction && action !== shown) show();
    // In a frame the provider's page has ended, and its address starts anew; a link can just be followed again.
    if (declined && body.actionData.display === "iframe") $("action").prepend(retryButton(show));
    if (declined) offerAnother("Choose another way to pay");
    shown = action;
    if (["completed", "failed", "refunded", "partially_refunded"].includes(body.status)) {
      $("action").replaceChildren();
      offerAnother("Buy something else");
      localStorage.removeItem(KEY);
      if (body.status === "completed") await hearOfDelivery(draftId);
      return undefined;
    }
  }
  return undefined;
}

async function hearOfDelivery(draftId) {
  for (let tries = 0; tries < 60; tries += 1) {
    const { body } = await ask(`/demo/orders/${draftId}`);
    if (body.delivered) {
      $("delivery").hidden = false;
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

function forget() {
  following += 1;
  localStorage.removeItem(DRAFT);
  localStorage.removeItem(KEY);
  for (const id of ["payment", "again", "delivery", "problem"]) $(id).hidden = true;
  $("action").replaceChildren();
  $("order").hidden = false;
  choose();
}

$("product").addEventListener("change", () => {
  localStorage.removeItem(KEY);
  showMethods();
});
$("methods").addEventListener("change", () => {
  localStorage.removeItem(KEY); // another choice is another purchase
  choose();
});
$("order").addEventListener("submit", pay);
$("again").addEventListener("click", forget);
if (window.top === window) {
  await showProducts();
  const draftId = localStorage.getItem(DRAFT);
  if (draftId) follow(draftId);
} else {
  // The provider sent the frame back here: the page around it follows the payment.
  document.querySelector("main").replaceChildren(text("Thank you. You can go on outside this frame."));
}
