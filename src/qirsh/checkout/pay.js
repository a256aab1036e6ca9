// Follows one payment and says how it stands. The draft's id is the last part of the address.
// Of what a payer may have to do, only a texted code can be done here.

import { codeForm } from "/checkout/code.js";

const $ = (id) => document.getElementById(id);
const draftId = location.pathname.split("/").pop();
const WORDS = {
  pending: ["Asking the payment provider…", ""],
  awaiting_user_action: ["Waiting for your payment", "This page changes by itself once the payment is confirmed."],
  completed: ["Payment successful", "You can close this page."],
  failed: ["Payment failed", "Nothing was taken. Please go back to the shop and try again."],
  partially_refunded: ["Partly refunded", ""],
  refunded: ["Refunded", ""],
};

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

// Drawn anew only when the action changes: a payer may be typing.
let shown = null;
function show({ paymentAction, actionData }) {
  const action = paymentAction === "otp_token" ? JSON.stringify(actionData) : null;
  if (action !== shown) $("action").replaceChildren(...(action ? [codeForm(draftId, actionData)] : []));
  shown = action;
}

async function follow() {
  let etag = null;
  for (;;) {
    try {
      const headers = etag ? { "If-None-Match": etag } : {};
      const response = await fetch(`/api/payments/status/${draftId}?wait=25`, { headers });
      if (response.status === 404) {
        $("status").textContent = "There is no such payment";
        return;
      }
      if (response.status === 200) {
        const body = await response.json();
        etag = response.headers.get("ETag");
        const [status, next] = WORDS[body.status] ?? [body.status, ""];
        $("status").textContent = status;
        $("amount").textContent = `${body.amount} ${body.currency}`;
        $("next").textContent = next;
        show(body);
      } else if (response.status !== 304) {
        await pause(2);
      }
    } catch {
      await pause(2);
    }
  }
}

follow();
