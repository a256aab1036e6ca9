// What the faces of actions need to know, may ask for, and have in common.

import { later, make } from "./dom.js";
import { link, warning } from "./faces.js";

/** @typedef {import("./client.js").Status} Status */
/** @typedef {import("./shell.js").Shell} Shell */

/**
 * What a face needs to know and may ask for.
 *
 * @typedef {object} Scene
 * @property {Shell} shell
 * @property {Status} status
 * @property {boolean} fresh the payer asked for it just now
 * @property {string} money the amount, as it is written
 * @property {(() => void) | null} again the same method once more, as a new try; null where it was not begun here
 * @property {(() => void) | null} another back to the methods; null where the purchase was not begun here
 * @property {() => void} open the PSP's form once more, for another try of the same draft
 * @property {number} ahead how far the server's clock is ahead of this device's, in milliseconds
 * @property {() => void} returned the frame came back from the PSP
 * @property {(otp: string) => Promise<import("./client.js").Answer>} handIn
 * @property {string} print the address of a page to print
 */

const DAY = 86_400_000;

/**
 * Why a try was refused, in the payer's words.
 *
 * @param {Scene} scene
 */
export function reason({ status, shell: { language } }) {
  return language.say(`reason_${status.reason}`) || language.say("reason_unknown");
}

/** @param {Scene} scene */
export function declined(scene) {
  return scene.status.reason ? warning(reason(scene)) : null;
}

/** @param {Scene} scene */
export function another(scene) {
  return scene.another && link(scene.shell.language.say("another"), scene.another);
}

/**
 * How long the payer has; the date where it is days, and on paper.
 *
 * @param {Scene} scene
 */
export function countdown({ shell, status, ahead }) {
  const { language, leaving } = shell;
  const end = Date.parse(status.expiresAt ?? "") - ahead;
  if (!end) return null;
  const clock = make("bdi");
  const left = make("p", { class: "quiet clock", role: "timer" }, `${language.say("left")} `, clock);
  const tick = () => {
    const seconds = Math.round((end - Date.now()) / 1000);
    clock.textContent = language.span(seconds);
    // The time is up when the server says so: this device's clock may be wrong.
    left.hidden = seconds <= 0;
    later(leaving.signal, 1000, tick);
  };
  tick();
  const date = make("p", { class: end - Date.now() > DAY ? "quiet" : "quiet paper" }, language.say("until", { time: language.time(end) }));
  return make("div", { class: "small" }, date, left);
}
