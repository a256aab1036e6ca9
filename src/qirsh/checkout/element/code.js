// The step that asks for a code that was texted. It only hands the code in: the payment's status tells the rest.

import { make } from "./dom.js";
import { main } from "./faces.js";
import { another, countdown, declined } from "./scene.js";
import { latin } from "./strings.js";

/** @typedef {import("./scene.js").Scene} Scene */
/** @typedef {import("./shell.js").Face} Face */

/**
 * @param {{ digits: number }} data
 * @param {Scene} scene
 * @returns {Face}
 */
export function askCode({ digits }, scene) {
  const { language } = scene.shell;
  const hint = language.say("otp_hint", { digits: language.number(digits) });
  const input = make("input", {
    ...{ class: "text otp", name: "otp", inputmode: "numeric", autocomplete: "one-time-code" },
    ...{ size: digits, "aria-describedby": "otp-note", "aria-label": language.say("otp"), required: true },
  });
  const note = make("p", { id: "otp-note", class: "quiet small" }, hint);
  const said = make("p", { class: "error", role: "alert" });
  let busy = false;
  const submit = async () => {
    const otp = latin(input.value).replace(/[\s-]/g, ""); // what is pasted is often in groups
    if (busy) return;
    input.setAttribute("aria-invalid", "false");
    said.textContent = "";
    if (otp.length !== digits || /\D/.test(otp)) return wrong(hint);
    busy = true;
    scene.shell.busy(true);
    try {
      const answer = await scene.handIn(otp);
      if (answer.status === 200) {
        scene.shell.tell(language.say("by_itself"));
        note.textContent = language.say("by_itself");
      } else wrong(refusal(answer, scene));
    } catch {
      wrong(language.say("gateway_unavailable"));
    }
    busy = false;
    scene.shell.busy(false);
  };
  /** @param {string} sentence */
  const wrong = (sentence) => {
    said.textContent = sentence;
    input.setAttribute("aria-invalid", "true");
    input.select();
    input.focus();
  };
  return {
    name: "otp_token",
    title: language.say("otp"),
    body: [
      declined(scene),
      input,
      note,
      said,
      countdown(scene),
    ],
    submit,
    main: main(language.say("otp_button")),
    below: another(scene),
  };
}

/**
 * @param {import("./client.js").Answer} answer
 * @param {Scene} scene
 */
function refusal({ status, body }, { shell: { language } }) {
  if (body.code === "code_refused" && body.tries_left) return language.say("otp_wrong", { left: language.number(body.tries_left) });
  if (body.code?.startsWith("code_")) return language.say("otp_over");
  return language.say(status < 500 ? "problem" : "gateway_unavailable");
}
