// How the element looks. Every colour is a custom property with a light and a dark value; `color-scheme` of the page
// around it chooses, so that a light shop stays light on a dark phone. Only logical sides, for both directions.

export const STYLE = `
:host {
  --accent: var(--qirsh-accent, light-dark(#0b6e4f, #4fd1a1));
  --on-accent: var(--qirsh-on-accent, light-dark(#fff, #04231a));
  --surface: var(--qirsh-surface, light-dark(#fff, #17191c));
  --raised: var(--qirsh-raised, light-dark(#f5f6f7, #22252a));
  --text: var(--qirsh-text, light-dark(#16191d, #f1f3f5));
  --muted: var(--qirsh-muted, light-dark(#57606a, #a9b2bc));
  --line: var(--qirsh-line, light-dark(#d9dee3, #3a4048));
  --edge: var(--qirsh-edge, light-dark(#7b858f, #7d8894));
  --danger: var(--qirsh-danger, light-dark(#b3261e, #ff9a92));
  --radius: var(--qirsh-radius, .875rem);
  display: block; container-type: inline-size; text-align: start; color: var(--text);
  font: 400 1rem/1.5 var(--qirsh-font, system-ui, sans-serif);
}
:host([hidden]), [hidden] { display: none; }
*, ::before, ::after { box-sizing: border-box; }
.card {
  display: flex; flex-direction: column; min-block-size: var(--qirsh-height, 43rem); max-inline-size: 34rem; margin-inline: auto;
  padding: 1.25rem; background: var(--surface); border: 1px solid var(--qirsh-border, var(--line)); border-radius: calc(var(--radius) * 1.5);
}
header { display: grid; gap: .125rem; padding-block-end: 1rem; border-block-end: 1px solid var(--line); }
header p, h2, .step p, ol { margin: 0; }
.product { color: var(--muted); min-block-size: 1.5rem; overflow-wrap: anywhere; }
.amount { font-size: 1.875rem; font-weight: 650; line-height: 1.3; min-block-size: 2.5rem; font-variant-numeric: tabular-nums; }
.notice, .alert { padding: .75rem .875rem; border-radius: var(--radius); background: var(--raised); }
.notice { margin: 1rem 0 0; }
.step { display: flex; flex: 1; flex-direction: column; gap: .875rem; padding-block-start: 1.25rem; }
h2 { font-size: 1.1875rem; font-weight: 650; line-height: 1.4; }
.quiet { color: var(--muted); }
.small { font-size: .875rem; }
.centre { display: grid; justify-items: center; text-align: center; gap: .75rem; margin-block: auto; padding-block: 1rem; }
.foot {
  display: grid; gap: .25rem; position: var(--qirsh-foot, static); inset-block-end: 0; z-index: 1; margin-block: auto -1.25rem; padding-block: .75rem .5rem;
  background: linear-gradient(#0000, var(--surface) .75rem);
}
.foot:not(:has(.button)) { position: static; }
.below { min-block-size: 2.75rem; display: grid; place-items: center; text-align: center; }
button { font: inherit; cursor: pointer; }
.button {
  display: flex; align-items: center; justify-content: center; gap: .625rem; min-block-size: 3.25rem; padding: .5rem 1rem;
  border: 0; border-radius: var(--radius); background: var(--accent); color: var(--on-accent);
  font-size: 1.0625rem; font-weight: 650; text-align: center; text-decoration: none;
}
.button:hover { filter: brightness(1.08); }
.link {
  min-block-size: 2.75rem; padding: .375rem .75rem; border: 0; border-radius: .5rem; background: none;
  color: var(--accent); text-decoration: underline;
}
:focus-visible { outline: .1875rem solid var(--accent); outline-offset: .125rem; }
h2:focus-visible { outline: none; }
fieldset { border: 0; margin: 0; padding: 0; min-inline-size: 0; }
.methods { display: grid; grid-auto-rows: 1fr; gap: .5rem; }
.method {
  position: relative; display: grid; grid-template-columns: 1.5rem 1fr auto; align-items: center; gap: 0 .75rem; min-block-size: 3.75rem;
  padding: .5rem .875rem; border: 1px solid var(--line); border-radius: var(--radius); cursor: pointer; line-height: 1.35;
}
.method b { font-weight: 600; display: block; }
.method:has(:checked) { border-color: var(--accent); box-shadow: inset 0 0 0 1px var(--accent); }
.method:has(:focus-visible) { outline: .1875rem solid var(--accent); outline-offset: .125rem; }
.method input { position: absolute; inset: 0; opacity: 0; margin: 0; cursor: pointer; inline-size: 100%; block-size: 100%; }
svg { inline-size: 1.5rem; block-size: 1.5rem; fill: none; stroke: currentColor; stroke-width: 1.6; stroke-linecap: round; stroke-linejoin: round; }
.method > svg { color: var(--accent); }
.method::after {
  content: ""; inline-size: 1.125rem; block-size: 1.125rem; border: 1px solid var(--edge); border-radius: 50%;
}
.method:has(:checked)::after { border: .375rem solid var(--accent); }
.verdict { align-items: center; text-align: center; }
.verdict .badge { margin-block-start: auto; }
.verdict h2 { font-size: 1.375rem; }
.verdict .foot { align-self: stretch; }
.badge { display: grid; place-items: center; inline-size: 4rem; block-size: 4rem; border-radius: 50%; background: var(--raised); color: var(--accent); }
.badge svg { inline-size: 2rem; block-size: 2rem; }
.bad .badge { color: var(--danger); }
label.field { display: grid; gap: .375rem; font-weight: 600; margin-block-end: .375rem; }
.centred { align-self: center; }
.print { align-self: start; margin-inline: -.75rem; }
label, input { scroll-margin-block: 1rem 12rem; }
input.text {
  font: inherit; min-block-size: 3rem; inline-size: 100%; padding: .5rem .875rem; color: inherit; background: var(--surface);
  border: 1px solid var(--edge); border-radius: var(--radius); direction: ltr; unicode-bidi: plaintext;
}
.rtl input.text { text-align: end; }
.rtl ol { list-style: arabic-indic; }
input.otp { font-size: 1.5rem; letter-spacing: .35em; text-align: center !important; font-variant-numeric: tabular-nums; }
[aria-invalid=true] { border-color: var(--danger) !important; }
.error { color: var(--danger); }
.alert { border-inline-start: .25rem solid var(--danger); }
.code {
  font-size: clamp(1.75rem, 10cqi, 2.5rem); font-weight: 650; line-height: 1.2; font-variant-numeric: tabular-nums; unicode-bidi: isolate;
  direction: ltr; text-align: center; padding: .875rem .5rem; border: 1px dashed var(--edge); border-radius: var(--radius); overflow-wrap: anywhere;
}
.code span + span { margin-inline-start: .35em; }
.qr { inline-size: min(13.5rem, 100%); block-size: auto; aspect-ratio: 1; padding: .75rem; background: #fff; border: 1px solid var(--line); border-radius: var(--radius); }
ol { padding-inline-start: 1.375rem; display: grid; gap: .25rem; }
iframe { inline-size: 100%; block-size: 36rem; border: 1px solid var(--line); border-radius: var(--radius); background: #fff; }
.clock { font-variant-numeric: tabular-nums; }
.clock bdi { font-weight: 600; }
.paper { display: none; }
.spin { inline-size: 2.5rem; block-size: 2.5rem; border: .25rem solid var(--line); border-block-start-color: var(--accent); border-radius: 50%; animation: spin 1s linear infinite; }
.button .spin { inline-size: 1.25rem; block-size: 1.25rem; border-width: .1875rem; border-color: currentColor; border-block-start-color: transparent; }
.unseen { position: absolute; inline-size: 1px; block-size: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
@keyframes spin { to { rotate: 1turn; } }
@media (prefers-reduced-motion: reduce) { .spin { animation-duration: 8s; } }
@container (min-width: 30rem) { .card { padding: 1.75rem; } .foot { margin-block-end: -1.5rem; } .methods { grid-template-columns: 1fr 1fr; } }
@media print { .foot, .notice, a, .clock, .screen { display: none; } .paper { display: block; } .card { border: 0; min-block-size: 0; } }
`;
