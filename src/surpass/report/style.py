"""The page's looks and its one script, as text that stands inside it."""

STYLE = """
:root { color-scheme: light dark; --paper: #fbfaf8; --card: #ffffff; --ink: #1c1d22; --soft: #62646d; --rule: #e4e2dd;
  --wash: #f3f1ec; --c1: #2455c9; --c2: #b8470b; --ring: #2455c9; }
@media (prefers-color-scheme: dark) { :root { --paper: #131417; --card: #1b1d21; --ink: #e9e9ec; --soft: #9da0aa;
  --rule: #2e3137; --wash: #23262b; --c1: #86aaff; --c2: #ffa15e; --ring: #86aaff; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 40px 24px 80px; }
h1, h2, h3, p, ul, dl, figure { margin: 0; }
h1 { font-size: 17px; font-weight: 600; }
h1 span { color: var(--soft); font-weight: 400; }
h2 { font-size: 22px; font-weight: 650; letter-spacing: -.01em; margin: 56px 0 6px; }
h3 { font-size: 16px; font-weight: 650; margin: 28px 0 8px; }
h3 .note { font-weight: 400; font-size: 14px; margin-left: 8px; }
.note, .lead { color: var(--soft); font-size: 15px; max-width: 72ch; }
.lead { margin-bottom: 16px; }
nav { margin: 4px 0 28px; font-size: 14px; display: flex; flex-wrap: wrap; gap: 2px 18px; }
a, b, em, h1 span, .asked, .note { unicode-bidi: isolate; }
a { color: var(--c1); text-decoration: none; } a:hover { text-decoration: underline; }
:focus-visible { outline: 2px solid var(--ring); outline-offset: 2px; border-radius: 4px; }
.card { background: var(--card); border: 1px solid var(--rule); border-radius: 12px; padding: 24px; }
.result { display: flex; flex-wrap: wrap; align-items: flex-end; gap: 8px 28px; font-variant-numeric: tabular-nums; }
.result .arrow { color: var(--soft); font-size: 34px; line-height: 64px; padding-bottom: 22px; }
.result p { font-size: 14px; color: var(--soft); }
.result b { display: block; font-size: 56px; font-weight: 650; line-height: 64px; letter-spacing: -.03em; color: var(--ink); }
.result .change { margin-left: auto; text-align: right; } .result .change b { color: var(--c1); }
.result .change.down b { color: var(--c2); }
.says { margin-top: 16px; font-size: 17px; max-width: 66ch; }
.alarm { border-left: 4px solid #c62; padding-left: 12px; }
.facts-row { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 16px 24px; margin-top: 20px;
  padding-top: 18px; border-top: 1px solid var(--rule); }
dt { font-size: 13px; color: var(--soft); } dd { margin: 0; font-size: 18px; font-weight: 600;
  font-variant-numeric: tabular-nums; }
dd small { display: block; font-size: 13px; font-weight: 400; color: var(--soft); }
.grid-two { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 16px; margin-top: 16px; }
figure.card { padding: 18px 18px 10px; min-width: 0; }
figcaption { font-size: 15px; font-weight: 600; margin-bottom: 8px; }
figcaption span { display: block; font-size: 13px; font-weight: 400; color: var(--soft); }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { font: 12.5px system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif; fill: var(--soft);
  font-variant-numeric: tabular-nums; }
svg .label { fill: var(--c, var(--ink)); font-weight: 600; paint-order: stroke; stroke: var(--card); stroke-width: 4px;
  stroke-linejoin: round; }
svg .grid { stroke: var(--rule); stroke-width: 1; }
.c1 { --c: var(--c1); } .c2 { --c: var(--c2); }
svg .line { fill: none; stroke: var(--c); stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
svg .band { fill: var(--c); opacity: .14; } svg .error { fill: none; stroke: var(--c); stroke-width: 1.2; opacity: .55; }
svg .dot { fill: var(--c); stroke: var(--card); stroke-width: 1.5; }
svg .hollow { fill: var(--card); stroke: var(--c); stroke-width: 1.8; }
svg .aim { fill: transparent; } svg g:hover > .dot, svg g:hover > .hollow { stroke: var(--ink); }
.unseen { display: none; }
.narrow { display: none; }
.legend { list-style: none; padding: 0; margin: 0 0 8px; display: flex; flex-wrap: wrap; gap: 2px 20px; font-size: 14px;
  color: var(--soft); }
.legend li { display: flex; align-items: center; gap: 6px; } .legend svg { width: 16px; }
.legend .dot { stroke: none; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th { font-weight: 600; text-align: left; } thead th { color: var(--soft); font-weight: 500;
  border-bottom: 1px solid var(--rule); }
th, td { padding: 7px 14px 7px 0; vertical-align: top; } tbody tr + tr > * { border-top: 1px solid var(--rule); }
.wide { overflow-x: auto; } .numbers td, .numbers th { text-align: right; padding: 5px 16px 5px 0; white-space: nowrap; }
.named :first-child { text-align: left !important; } .card + .lead { margin-top: 10px; }
.bars th { font-weight: 400; white-space: nowrap; width: 1%; } .bars td { text-align: right; white-space: nowrap; width: 1%; }
.bars td.bar { width: auto; padding-right: 16px; } .bars tr > * { border: 0 !important; padding: 5px 12px 5px 0; }
.bars tr > :last-child { padding-right: 0; color: var(--soft); }
.bar i { display: block; width: var(--v); height: 14px; margin-top: 4px; min-width: 2px; background: var(--c1); border-radius: 2px; }
.mark { display: inline-block; width: 10px; height: 10px; border-radius: 50%; margin-right: 8px; border: 2px solid var(--c1); }
.kept .mark { background: var(--c1); } .decision { white-space: nowrap; } .refused .why { color: var(--soft); }
button { font: inherit; font-size: 14px; color: var(--ink); background: var(--card); border: 1px solid var(--rule);
  border-radius: 8px;
  padding: 6px 14px; cursor: pointer; } button:hover { border-color: var(--soft); }
details > summary { cursor: pointer; } details.more { margin-top: 16px; font-size: 14px; }
details.more > summary { color: var(--c1); padding: 4px 0; }
.problem { background: var(--card); border: 1px solid var(--rule); border-radius: 12px; margin-top: 10px; }
.problem > summary { padding: 14px 18px; list-style: none; display: flex; gap: 6px 20px; align-items: center;
  border-radius: 12px; }
.problem > summary::-webkit-details-marker { display: none; }
.problem > summary::before { content: ""; flex: none; width: 7px; height: 7px; border: solid var(--soft);
  border-width: 0 2px 2px 0;
  transform: rotate(-45deg); } .problem[open] > summary::before { transform: rotate(45deg); }
.problem .inside { padding: 2px 18px 18px; font-size: 14px; }
.problem .inside > details > summary { color: var(--c1); }
.asked { font-weight: 600; flex: 1; min-width: 0; overflow-wrap: anywhere; }
.sum { color: var(--soft); font-size: 14px; display: flex; flex-wrap: wrap; gap: 4px 10px; justify-content: flex-end;
  align-items: center; }
.cells { display: inline-flex; flex-wrap: wrap; gap: 2px; max-width: 260px; }
.cells i, .worth i { display: inline-block; width: 9px; height: 15px; border-radius: 2px; border: 1px solid var(--c1);
  background: linear-gradient(to top, var(--c1) var(--v), transparent var(--v)); }
.who { color: var(--soft); font-size: 13px; margin-top: 8px; } .who b { color: var(--ink); overflow-wrap: anywhere; }
pre { margin: 4px 0 0; white-space: pre-wrap; overflow-wrap: anywhere;
  font: 13.5px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
pre.said { background: var(--wash); border-radius: 8px; padding: 8px 12px; } pre[tabindex] { max-height: 24em;
  overflow-y: auto; }
pre em, .asked em { color: var(--soft); font-style: normal; }
.box details { margin-top: 6px; } .box summary { color: var(--c1); font-size: 13px; }
.inside ul { list-style: none; padding: 0; } .inside > ul { margin-top: 12px; }
.flat { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 300px), 1fr)); gap: 10px; }
.box { border: 1px solid var(--rule); border-radius: 8px; padding: 8px 12px 8px; display: flex; flex-direction: column; }
.flat > li { display: flex; } .flat .box { flex: 1; min-width: 0; } .facts { display: flex; flex-wrap: wrap;
  align-items: center; gap: 0 12px; margin-top: auto; padding-top: 6px; font-size: 13px;
  color: var(--soft); }
.branching { max-width: 860px; } .branching .box { margin-top: 8px; } .box .note { font-size: 13px; }
  .stem { background: var(--wash); border-color: transparent; }
.branching ul { margin-left: 14px; padding-left: 18px; border-left: 2px solid var(--rule); }
.branching ul ul ul ul ul ul { margin-left: 0; padding-left: 6px; }
.worth { display: inline-flex; align-items: center; gap: 7px; color: var(--ink); font-weight: 600; }
.setup { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 8px 24px; font-size: 14px; }
.setup dd { font-size: 14px; font-weight: 400; overflow-wrap: anywhere; }
footer { margin-top: 48px; color: var(--soft); font-size: 13px; }
@media (max-width: 720px) { main { padding: 24px 16px 56px; } .card { padding: 18px; }
  .grid-two { grid-template-columns: minmax(0, 1fr); }
  .result b { font-size: 40px; line-height: 48px; } .result .arrow { font-size: 26px; line-height: 48px; }
  .result { gap: 8px 16px; }
  .result .change { margin-left: 0; width: 100%; text-align: left; } .full { display: none; } .narrow { display: block; }
  .problem > summary { flex-wrap: wrap; } .sum { flex-basis: 100%; justify-content: flex-start; padding-left: 19px; }
  .problem .asked { flex-basis: 60%; } .branching ul { margin-left: 4px; padding-left: 10px; } .bars td.bar { min-width: 60px;
  } svg text { font-size: 15px; } }
@media (min-width: 721px) { .branching .box { display: grid; grid-template-columns: minmax(0, 1fr) auto; gap: 0 20px; }
  .branching .box > * { grid-column: 1; }
  .branching .box > .facts { grid-column: 2; grid-row: 1; margin: 0; padding: 1px 0 0; align-self: start; } }
@media print { nav, button { display: none; } body { background: none; } }
""" + "".join(f".v{percent} {{ --v: {percent}%; }}\n" for percent in range(101))

SCRIPT = """
const button = document.getElementById("open");
const problems = [...document.querySelectorAll("details.problem")];
const closed = () => problems.some((p) => !p.open);
const name = () => { button.textContent = closed() ? "Open all problems" : "Close all problems"; };
button.addEventListener("click", () => { const to = closed(); problems.forEach((p) => { p.open = to; }); });
problems.forEach((p) => p.addEventListener("toggle", name));
button.hidden = false;
name();
"""
"""Opens and closes all problems; without it each still opens by itself."""
