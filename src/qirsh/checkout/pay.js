// Follows one payment and says how it stands. The draft's id is the last part of the address.

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
      } else if (response.status !== 304) {
        await pause(2);
      }
    } catch {
      await pause(2);
    }
  }
}

follow();
