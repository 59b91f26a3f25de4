"""The page's style: light and dark, a phone's width, print."""

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #ffffff; --panel: #f5f6f8; --ink: #16191d; --muted: #5b6470; --line: #d5d9df; --link: #0a58a8;
  --bad: #b3261e; --warn: #8a5300; --good: #00664d;
  --c0: #0072b2; --c1: #c35500; --c2: #00795c; --c3: #8f4fa8; --c4: #2b7fb0; --c5: #c9302c; --c6: #7a6a00;
    --c7: #7a4a2a;
  --s0: #fbe8cf; --s1: #d9702f; --s2: #3f0a2b;
}
@media screen and (prefers-color-scheme: dark) {
  :root:not(.on-paper) {
    --paper: #14171b; --panel: #1e2329; --ink: #e9ecef; --muted: #a3acb8; --line: #3a424d; --link: #7ab8f5;
    --bad: #ff8a80; --warn: #ffbd5c; --good: #5bd6ac;
    --c0: #5ab4f0; --c1: #f5a04a; --c2: #3fcf9f; --c3: #d59bea; --c4: #8fd3ff; --c5: #ff7a70; --c6: #e0ce4e;
    --c7: #d2a27f;
    --s0: #54475f; --s1: #c4622d; --s2: #ffe9c2;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, "DejaVu Sans", sans-serif; }
main { max-width: 1200px; margin: 0 auto; padding: 1rem clamp(.75rem, 3vw, 2rem) 3rem; }
h1 { font-size: 1.1rem; color: var(--muted); font-weight: 600; margin: 0 0 .75rem; }
h2 { font-size: 1.35rem; margin: 2.5rem 0 .75rem; border-bottom: 1px solid var(--line); padding-bottom: .25rem; }
h3, h4 { font-size: 1.05rem; margin: 1.5rem 0 .5rem; overflow-wrap: anywhere; }
p { margin: .5rem 0; overflow-wrap: anywhere; }
a { color: var(--link); }
.quiet { color: var(--muted); font-size: .88rem; }
.card { border: 1px solid var(--line); border-left: 6px solid var(--c0); border-radius: 6px; background: var(--panel);
  padding: .75rem 1rem; margin: 0 0 .75rem; }
.card .letter { font-size: .8rem; font-weight: 700; text-transform: uppercase; letter-spacing: .05em;
  color: var(--muted); }
.card .verdict { font-size: clamp(1.1rem, 2.6vw, 1.4rem); font-weight: 600; line-height: 1.35;
  margin: .15rem 0 .35rem; }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1rem; margin: .75rem 0; }
.badges { display: flex; flex-wrap: wrap; gap: .5rem; }
.badge { display: inline-block; border: 1px solid currentcolor; border-radius: 4px; padding: 0 .45rem;
  font-size: .85rem;
  font-weight: 600; text-decoration: none; white-space: nowrap; }
.badge.error { color: var(--bad); } .badge.warning { color: var(--warn); } .badge.info { color: var(--muted); }
.findings { list-style: none; padding: 0; }
.findings li { border-left: 4px solid var(--line); padding: .25rem 0 .25rem .75rem; margin: 0 0 .75rem;
  overflow-wrap: anywhere; white-space: pre-line; }
.findings li.error { border-color: var(--bad); } .findings li.warning { border-color: var(--warn); }
.hint { color: var(--muted); margin: .15rem 0 0; }
.scroll { overflow-x: auto; margin: .75rem 0; }
table { border-collapse: collapse; width: max-content; font-size: .88rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .25rem 0; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; text-align: left; }
thead th { border-bottom: 2px solid var(--muted); white-space: nowrap; }
tbody th { font-weight: 600; max-width: 24rem; overflow-wrap: break-word; }
td { min-width: 4rem; max-width: 32rem; overflow-wrap: anywhere; }
@media (max-width: 600px) { td { max-width: 16rem; } tbody th { max-width: 12rem; }
  caption { max-width: calc(100vw - 2rem); } }
.right { text-align: right; white-space: nowrap; }
pre { background: var(--panel); border: 1px solid var(--line); border-radius: 6px; padding: .6rem .8rem;
  overflow-x: auto;
  font: .82rem/1.45 ui-monospace, "DejaVu Sans Mono", monospace; }
pre.command { white-space: pre-wrap; overflow-wrap: anywhere; }
code { font: .88em ui-monospace, "DejaVu Sans Mono", monospace; }
details { margin: .75rem 0; } summary { cursor: pointer; font-weight: 600; padding: .25rem 0; }
fieldset { border: 1px solid var(--line); border-radius: 6px; padding: .4rem .75rem .6rem; margin: .75rem 0;
  min-width: 0;
  display: flex; flex-wrap: wrap; gap: .2rem 1rem; }
legend { font-weight: 600; font-size: .88rem; padding: 0 .35rem; }
fieldset label { display: inline-flex; align-items: center; gap: .35rem; font-size: .88rem; min-height: 1.9rem; }
fieldset .many { display: flex; flex-wrap: wrap; gap: .4rem .8rem; align-items: center; flex-basis: 100%; }
button { font: inherit; font-size: .85rem; color: var(--ink); background: var(--panel);
  border: 1px solid var(--muted);
  border-radius: 4px; padding: .2rem .7rem; min-height: 1.9rem; cursor: pointer; }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
.swatch path { fill-opacity: 1; stroke-linecap: round; } .swatch path:first-child { fill: none; }
.pair figure { display: flex; flex-direction: column; justify-content: space-between; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); gap: 0 1.5rem; }
figure { margin: 1rem 0; min-width: 0; break-inside: avoid; } figcaption { font-size: .88rem; color: var(--muted); }
figcaption strong { color: var(--ink); }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1rem; font-size: .85rem; }
.tip { position: fixed; z-index: 9; pointer-events: none; white-space: pre-line; max-width: 90vw; padding: .3rem .55rem;
  overflow-wrap: anywhere; font-size: .8rem; line-height: 1.4; color: var(--ink); background: var(--panel);
  border: 1px solid var(--muted); border-radius: 4px; }
.plot { width: 100%; } .printed { display: none; }
html:not([data-state=loading]) #no-plots { display: none; } html[data-state=failed] #no-plots { display: block; }
html:not([data-state]) #no-plots { display: block; }
footer { margin-top: 3rem; color: var(--muted); font-size: .85rem; }
@media (min-width: 600px) { caption { white-space: nowrap; } }
@media print {
  main { max-width: none; padding: 0; } nav, .tip, fieldset .many { display: none; } body { font-size: 10pt; }
  fieldset label:has(input:not(:checked)) { display: none; } fieldset input { display: none; }
  .scroll, pre { overflow: visible; } pre { white-space: pre-wrap; } .pair { display: block; }
  h2 { break-after: avoid; } .plot:has(.printed) > :not(.printed) { display: none; } .printed { display: block; }
  tr, li, fieldset, .card { break-inside: avoid; } h3, h4, caption, p:has(+ pre) { break-after: avoid; }
  pre { font-size: 7.5pt; } table { width: auto; font-size: 8pt; } th, td { padding: .1rem .3rem; }
  .right, thead th { white-space: normal; } details:not([open]) > :not(summary) { display: none; }
}
"""
"""Colours alone carry nothing: lines differ in symbol and dash, severities and statuses are words."""
