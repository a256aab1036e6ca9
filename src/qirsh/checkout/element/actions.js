// What the payer must do next: one face for each payment action.

import { later, make } from "./dom.js";
import { askCode } from "./code.js";
import { deadEnd, link, main, quiet, spinner, verdict } from "./faces.js";
import { another, countdown, declined, reason } from "./scene.js";

/** @typedef {import("./scene.js").Scene} Scene */
/** @typedef {import("./shell.js").Face} Face */

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

/**
 * The face for how a draft waits; a polite one where this page does not know the action.
 *
 * @param {Scene} scene
 */
export function faceOf(scene) {
  const face = ACTIONS[scene.status.paymentAction ?? ""];
  const { language } = scene.shell;
  if (face && scene.status.actionData) return face(scene.status.actionData, scene);
  return unknown(language, another(scene));
}

/**
 * What this page cannot show.
 *
 * @param {import("./strings.js").Language} language
 * @param {Face["below"]} below
 * @returns {Face}
 */
export function unknown(language, below) {
  return { ...deadEnd(language, "problem"), name: "unknown_action", title: language.say("unknown_action"), below };
}

/**
 * @param {{ url: string, display: string }} data
 * @param {Scene} scene
 * @returns {Face}
 */
function goThere({ url, display }, scene) {
  const { language } = scene.shell;
  const inside = display === "iframe";
  // A frame around us may not be left by itself, so there the payer presses the button.
  const framed = window !== window.top;
  const away = () => make("a", { class: "button", href: url, target: framed ? "_top" : "_self" }, language.say("go"));
  if (scene.status.reason) return refused(scene, inside ? scene.open : scene.again, away);
  if (inside) return frame(url, scene);
  if (scene.fresh && !framed) location.assign(url);
  return {
    name: "redirect_url",
    title: language.say("go"),
    sign: "back",
    body: [quiet(language.say("go_text"))],
    main: away(),
    below: another(scene),
  };
}

/**
 * @param {string} url
 * @param {Scene} scene
 * @returns {Face}
 */
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

/**
 * @param {{ image: string }} data
 * @param {Scene} scene
 * @returns {Face}
 */
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

/**
 * @param {{ code: string, biller: string, amount: string }} data
 * @param {Scene} scene
 * @returns {Face}
 */
function showReference({ code, biller, amount }, scene) {
  const { language } = scene.shell;
  const money = language.money(amount, scene.status.currency);
  const number = make("output", { class: "code" });
  // Spans with a margin: the eye sees groups, and what is selected and copied is the code itself.
  const groups = (/\D/.test(code) ? null : code.match(/.{1,3}(?=(?:.{3})*$)/g)) ?? [code];
  number.append(...groups.map((group) => make("span", {}, group)));
  const copy = main(language.say("reference_copy"), async () => {
    const said = language.say((await copied(code, number)) ? "reference_copied" : "reference_selected");
    copy.textContent = said;
    scene.shell.tell(said);
    later(scene.shell.leaving.signal, 3000, () => (copy.textContent = language.say("reference_copy")));
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
        make("li", { class: "screen" }, language.say("by_itself")),
      ),
      countdown(scene),
      make("a", { class: "link small print", href: scene.print, target: "_blank", rel: "noopener" }, language.say("reference_print")),
    ],
    main: copy,
    below: another(scene),
  };
}

/**
 * @param {{ phone: string }} data
 * @param {Scene} scene
 * @returns {Face}
 */
function waitForPhone({ phone }, scene) {
  const { language } = scene.shell;
  if (scene.status.reason) return refused(scene, scene.again, () => null);
  return {
    name: "mobile_prompt",
    title: language.say("prompt"),
    sign: "phone",
    body: [
      make("p", {}, language.say("prompt_text", { phone: `\u2066${phone}\u2069`, amount: scene.money })),
      spinner(),
      countdown(scene),
    ],
    below: another(scene),
  };
}

/**
 * A try that was refused, where another may follow.
 *
 * @param {Scene} scene
 * @param {(() => void) | null} again
 * @param {() => HTMLElement | null} otherwise the main button where this page cannot try again
 * @returns {Face}
 */
function refused(scene, again, otherwise) {
  const { language } = scene.shell;
  const more = { bad: true, main: again ? main(language.say("again"), again) : otherwise(), below: another(scene) };
  return verdict("declined", "failed", language.say("failed"), [reason(scene)], more);
}

/**
 * A draft that is dead.
 *
 * @param {Scene} scene
 * @returns {Face}
 */
export function failed(scene) {
  const { language } = scene.shell;
  const expired = scene.status.reason === "expired";
  const sentences = [reason(scene)];
  // Of what was never answered nobody knows.
  if (!expired && scene.status.reason !== "never_registered") sentences.push(language.say("not_taken"));
  const other = scene.another && main(language.say("another"), scene.another);
  const again = scene.again && link(language.say("again"), scene.again);
  const title = language.say(expired ? "expired" : "failed");
  return verdict(expired ? "expired" : "failed", expired ? "late" : "failed", title, sentences, { bad: true, main: other, below: again });
}

/**
 * @param {string} text
 * @param {HTMLElement} shown is selected where the clipboard is closed to us
 * @returns {Promise<boolean>} whether it was copied
 */
async function copied(text, shown) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection()?.selectAllChildren(shown);
    return false;
  }
}
