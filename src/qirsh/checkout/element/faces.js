// The pieces that faces are made of, and the faces that say how a payment ended.

import { make } from "./dom.js";

/** @typedef {import("./shell.js").Face} Face */
/** @typedef {import("./strings.js").Language} Language */

/**
 * The main button; without `onclick` it submits the step.
 *
 * @param {string} text
 * @param {() => void} [onclick]
 */
export function main(text, onclick) {
  return make("button", { class: "button", type: onclick ? "button" : "submit", onclick }, text);
}

/**
 * @param {string} text
 * @param {() => void} onclick
 */
export function link(text, onclick) {
  return make("button", { class: "link", type: "button", onclick }, text);
}

/** @param {string} text */
export function quiet(text) {
  return make("p", { class: "quiet" }, text);
}

/** @param {string} text */
export function warning(text) {
  return make("p", { class: "alert", role: "alert" }, text);
}

export function spinner() {
  return make("div", { class: "spin" });
}

/**
 * Something is under way.
 *
 * @param {string} name
 * @param {string} title
 * @param {string} text
 * @returns {Face}
 */
export function waiting(name, title, text = "") {
  return { name, title, silent: true, body: [make("div", { class: "centre" }, spinner(), text ? quiet(text) : null)] };
}

/**
 * What becomes of a payment is about to be known.
 *
 * @param {Language} language
 * @param {string} [name]
 * @returns {Face}
 */
export function checking(language, name = "checking") {
  return waiting(name, language.say("checking"), language.say("by_itself"));
}

/**
 * A face with a sign and a few sentences: the end, or a dead end.
 *
 * @param {string} name
 * @param {string} sign
 * @param {string} title
 * @param {string[]} sentences
 * @param {Partial<Face> & { slot?: string }} [more] `slot`: where the shop's page may add something
 * @returns {Face}
 */
export function verdict(name, sign, title, sentences, more = {}) {
  const { slot } = more;
  return { name, title, sign, body: [...sentences.map(quiet), slot ? make("slot", { name: slot }) : null], ...more };
}

/**
 * Nothing more can be done here.
 *
 * @param {Language} language
 * @param {string} code
 * @returns {Face}
 */
export function deadEnd(language, code) {
  const sentence = language.say(code) || language.say("nothing_text");
  const reload = main(language.say("reload"), () => location.reload());
  return verdict("dead_end", "late", language.say("nothing"), [sentence], { bad: true, main: reload });
}
