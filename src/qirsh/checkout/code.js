// The form for a code that was texted to the payer. It only hands the code in: the payment's status tells the rest.

const WORDS = {
  ask: "Type the code that was sent to your phone",
  send: "Confirm",
  sent: "Sent. This page changes by itself once the payment is confirmed.",
  lost: "The connection was lost. If the payment does not go on by itself, send the code again.",
};

// What to tell after an answer that is no success; `lasts` says that no other code will do.
function said(status, { code, detail, tries_left: left }) {
  if (code === "code_refused" && left) return { text: `That code is wrong. Tries left: ${left}.` };
  if (code === "code_refused" || code === "code_tries_used") {
    return { text: "No tries are left. Unless the payment goes on by itself, please start a new one.", lasts: true };
  }
  if (code === "code_not_awaited") return { text: "No code is awaited any more.", lasts: true };
  return { text: status >= 500 ? "The payment provider does not answer. Please send the code again." : detail };
}

export function codeForm(draftId, { token, digits }) {
  const form = document.createElement("form");
  const input = Object.assign(document.createElement("input"), {
    name: "otp",
    required: true,
    inputMode: "numeric",
    autocomplete: "one-time-code",
    pattern: `[0-9]{${digits}}`,
    maxLength: digits,
    size: digits,
    title: `${digits} digits`,
  });
  const button = Object.assign(document.createElement("button"), { textContent: WORDS.send });
  const message = document.createElement("p");
  message.setAttribute("role", "alert");
  const label = document.createElement("label");
  label.append(`${WORDS.ask} `, input);
  form.append(label, button, message);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true; // one try a click
    message.textContent = "";
    try {
      const response = await fetch(`/api/payments/${draftId}/otp`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ token, otp: input.value }),
      });
      if (response.ok) {
        message.textContent = WORDS.sent;
        return;
      }
      const { text, lasts } = said(response.status, await response.json());
      message.textContent = text;
      input.disabled = lasts ?? false;
    } catch {
      message.textContent = WORDS.lost;
    } finally {
      button.disabled = input.disabled;
      if (!input.disabled) input.select();
    }
  });
  return form;
}
