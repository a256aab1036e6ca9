// What the faces of actions need to know, may ask for, and have in common.

import { make } from "./dom.js";
import { link, quiet, warning } from "./faces.js";

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
 * @property {() => void} again the same method once more, as a new try
 * @property {(() => void) | null} another back to the methods; null where the purchase was not begun here
 * @property {() => void} returned the frame came back from the PSP
 * @property {(url: string) => void} leave go there with the whole page
 * @property {(otp: string) => Promise<import("./client.js").Answer>} handIn
 * @property {(status: Status) => void} stands the status was told in an answer
 * @property {string} print the address of a page to print
 */

/**
 * Why a try was refused, in the payer's words.
 *
 * @param {Scene} scene
 */
export function reason({ status, shell: { language } }) {
  const name = `reason_${status.reason}`;
  return language.say(language.has(name) ? name : "reason_unknown");
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
 * How long the payer has: a clock for hours, a date for days.
 *
 * @param {Scene} scene
 */
export function countdown({ shell, status }) {
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
