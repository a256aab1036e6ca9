// What the payer must do next: one face for each payment action.

import { make } from "./dom.js";
import { link, main, quiet, spinner, verdict, warning } from "./faces.js";
import { latin } from "./strings.js";

/** @typedef {import("./client.js").Status} Status */
/** @typedef {import("./shell.js").Face} Face */
/** @typedef {import("./shell.js").Shell} Shell */

/**
 * What a face needs to know and may ask for.
 *
 * @typedef {object} Scene
 * @property {Shell} shell
 * @property {Status} status
 * @property {boolean} fresh the payer asked for it just now
 * @property {string} money the amount, as it is written
 * @property {() => void} again the same method once more, as a new try
 * @property {(() => void) | null} another back to the methods; null where the purchase was not begun here
 * @property {() => void} returned the frame came back from the PSP
 * @property {(url: string) => void} leave go there with the whole page
 * @property {(otp: string) => Promise<import("./client.js").Answer>} handIn
 * @property {(status: Status) => void} stands the status was told in an answer
 * @property {string} print the address of a page to print
 */

/** The name of our frames: a page that finds it as its own knows that it stands in one. */
export const FRAME = "qirsh-payment";

/** @type {Record<string, (data: any, scene: Scene) => Face>} */
export const ACTIONS = {
  redirect_url: goThere,
  qr_code: showCode,
  reference_code: showReference,
  mobile_prompt: waitForPhone,
  otp_token: askCode,
};

/** The face for how a draft waits; a polite one where this page does not know the action. @param {Scene} scene */
export function faceOf(scene) {
  const face = ACTIONS[scene.status.paymentAction ?? ""];
  const { language } = scene.shell;
  if (face && scene.status.actionData) return face(scene.status.actionData, scene);
  return {
    name: "unknown_action",
    title: language.say("unknown_action"),
    sign: "late",
    bad: true,
    body: [quiet(language.say("unknown_action_text"))],
    main: main(language.say("reload"), () => location.reload()),
    below: another(scene),
  };
}

/** @param {{ url: string, display: string }} data @param {Scene} scene @returns {Face} */
function goThere({ url, display }, scene) {
  const { language } = scene.shell;
  if (display === "iframe" && !scene.status.reason) return frame(url, scene);
  if (scene.status.reason) return refused(scene, display === "iframe" ? () => scene.shell.show(() => frame(url, scene)) : scene.again);
  // A frame around us may not be left by itself, so there the payer presses the button.
  const framed = window !== window.top;
  if (scene.fresh && !framed) scene.leave(url);
  return {
    name: "redirect_url",
    title: language.say("go"),
    sign: "back",
    body: [quiet(language.say("go_text"))],
    main: make("a", { class: "button", href: url, target: framed ? "_top" : "_self" }, language.say("go_button")),
    below: another(scene),
  };
}

/** @param {string} url @param {Scene} scene @returns {Face} */
function frame(url, scene) {
  const { language, leaving } = scene.shell;
  const title = language.say("framed");
  const inside = make("iframe", { class: "frame", name: FRAME, src: url, title, allow: "payment", referrerpolicy: "no-referrer" });
  inside.addEventListener("load", () => {
    try {
      // Only a page of our own origin lets us read this: the payer was sent back.
      if (inside.contentWindow?.location.href.startsWith("http")) scene.returned();
    } catch {
      // still at the PSP
    }
  });
  const hear = (/** @type {MessageEvent} */ event) => {
    if (event.source === inside.contentWindow && event.data?.qirsh === "returned") scene.returned();
  };
  window.addEventListener("message", hear, { signal: leaving.signal });
  return {
    name: "iframe",
    title,
    body: [inside, make("a", { class: "link centred", href: url, target: "_top" }, language.say("framed_out"))],
    below: another(scene),
  };
}

/** @param {{ image: string }} data @param {Scene} scene @returns {Face} */
function showCode({ image }, scene) {
  const { language } = scene.shell;
  return {
    name: "qr_code",
    title: language.say("qr"),
    body: [
      declined(scene),
      make(
        "div",
        { class: "centre" },
        make("img", { class: "qr", src: image, alt: language.say("qr"), width: 216, height: 216 }),
        make("p", {}, language.say("qr_text", { amount: scene.money })),
        countdown(scene),
      ),
    ],
    below: another(scene),
  };
}

/** @param {{ code: string, biller: string, amount: string }} data @param {Scene} scene @returns {Face} */
function showReference({ code, biller, amount }, scene) {
  const { language } = scene.shell;
  const money = language.money(amount, scene.status.currency);
  const number = make("output", { class: "code" });
  // Spans with a margin: the eye sees groups, and what is selected and copied is the code itself.
  const groups = (/\D/.test(code) ? null : code.match(/.{1,3}(?=(?:.{3})*$)/g)) ?? [code];
  number.append(...groups.map((group) => make("span", {}, group)));
  const copy = main(language.say("reference_copy"), async () => {
    await copied(code, number);
    copy.textContent = language.say("reference_copied");
    scene.shell.tell(language.say("reference_copied"));
    setTimeout(() => (copy.textContent = language.say("reference_copy")), 3000);
  });
  return {
    name: "reference_code",
    title: language.say("reference"),
    body: [
      declined(scene),
      number,
      make(
        "ol",
        { class: "small" },
        make("li", {}, language.say("reference_1", { biller })),
        make("li", {}, language.say("reference_2", { amount: money })),
        make("li", {}, language.say("by_itself")),
      ),
      countdown(scene),
      make("a", { class: "link small", href: scene.print, target: "_blank", rel: "noopener" }, language.say("reference_print")),
    ],
    main: copy,
    below: another(scene),
  };
}

/** @param {{ phone: string, wallet: string }} data @param {Scene} scene @returns {Face} */
function waitForPhone({ phone, wallet }, scene) {
  const { language } = scene.shell;
  if (scene.status.reason) return refused(scene, scene.again);
  return {
    name: "mobile_prompt",
    title: language.say("prompt"),
    sign: "vodafone_cash",
    body: [
      make("p", {}, language.say("prompt_text", { wallet, phone: `\u2066${phone}\u2069`, amount: scene.money })),
      spinner(),
      countdown(scene),
    ],
    below: another(scene),
  };
}

/** @param {{ digits: number }} data @param {Scene} scene @returns {Face} */
function askCode({ digits }, scene) {
  const { language } = scene.shell;
  const hint = language.say("otp_hint", { digits: language.number(digits) });
  const input = make("input", {
    ...{ class: "text otp", name: "otp", inputmode: "numeric", autocomplete: "one-time-code" },
    ...{ maxlength: digits, size: digits, "aria-describedby": "otp-note", "aria-label": language.say("otp"), required: true },
  });
  const note = make("p", { id: "otp-note", class: "quiet small" }, hint);
  const said = make("p", { class: "error", role: "alert" });
  let busy = false;
  const submit = async () => {
    const otp = latin(input.value).trim();
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
        scene.stands(answer.body);
      } else wrong(refusal(answer, scene));
    } catch {
      wrong(language.say("otp_later"));
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

/** A try that was refused, where another may follow. @param {Scene} scene @param {() => void} again @returns {Face} */
function refused(scene, again) {
  const { language } = scene.shell;
  const more = { bad: true, main: main(language.say("again"), again), below: another(scene) };
  return verdict("declined", "failed", language.say("failed"), [reason(scene)], more);
}

/** A draft that is dead. @param {Scene} scene @returns {Face} */
export function failed(scene) {
  const { language } = scene.shell;
  const expired = scene.status.reason === "expired";
  const sentences = [reason(scene), language.say("not_taken")];
  const other = scene.another && main(language.say("another"), scene.another);
  const again = scene.another && link(language.say("again"), scene.again);
  const title = language.say(expired ? "expired" : "failed");
  return verdict(expired ? "expired" : "failed", expired ? "late" : "failed", title, sentences, { bad: true, main: other, below: again });
}

/** @param {import("./client.js").Answer} answer @param {Scene} scene */
function refusal({ status, body }, { shell: { language } }) {
  if (body.code === "code_refused" && body.tries_left) return language.say("otp_wrong", { left: language.number(body.tries_left) });
  if (body.code.startsWith("code_")) return language.say("otp_over");
  return language.say(status >= 500 ? "otp_later" : "problem");
}

/** Why a try was refused, in the payer's words. @param {Scene} scene */
function reason({ status, shell: { language } }) {
  const name = `reason_${status.reason}`;
  return language.say(language.has(name) ? name : "reason_unknown");
}

/** @param {Scene} scene */
function declined(scene) {
  return scene.status.reason ? warning(reason(scene)) : null;
}

/** @param {Scene} scene */
function another(scene) {
  return scene.another && link(scene.shell.language.say("another"), scene.another);
}

/** How long the payer has: a clock for hours, a date for days. @param {Scene} scene */
function countdown({ shell, status }) {
  const { language } = shell;
  const end = new Date(status.expiresAt ?? "");
  if (Number.isNaN(end.getTime())) return null;
  if (end.getTime() - Date.now() > 86_400_000) return quiet(language.say("until", { time: language.time(end) }));
  const clock = make("bdi");
  const tick = () => {
    const seconds = Math.max(0, Math.round((end.getTime() - Date.now()) / 1000));
    const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
    clock.textContent = parts.slice(parts[0] ? 0 : 1).map((part) => language.number(part, 2)).join(":");
  };
  tick();
  const timer = setInterval(tick, 1000);
  shell.leaving.signal.addEventListener("abort", () => clearInterval(timer));
  return make("p", { class: "quiet small clock", role: "timer" }, `${language.say("left")} `, clock);
}

/** @param {string} text @param {HTMLElement} shown is selected where the clipboard is closed to us */
async function copied(text, shown) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    getSelection()?.selectAllChildren(shown);
  }
}
