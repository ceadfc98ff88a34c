"""The look of a report, light and dark."""

from typing import Final

STYLE: Final = """
:root {
  --ground: #fafaf8; --sheet: #ffffff; --line: #e6e5e0; --ink: #22262a; --soft: #6a7078; --faint: #a3a8ad;
  --s0: #2b6c75; --s1: #c2703d; --s2: #6b5b95; --s3: #5d8a3a; --s4: #b0456b; --s5: #8a7a2f; --fill: #dbe8e9;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #16191b; --sheet: #1d2123; --line: #2e3437; --ink: #e3e5e4; --soft: #a0a7aa; --faint: #72797c;
    --s0: #78b8c0; --s1: #e0a06f; --s2: #a99bd4; --s3: #a0c87c; --s4: #e08aa9; --s5: #cfc07a; --fill: #27393c;
  }
}
* { box-sizing: border-box; }
html { background: var(--ground); color: var(--ink); -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; max-width: 1120px; padding: 44px 28px 72px;
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  font-variant-numeric: tabular-nums;
}
p, h1, h2, h3, dl, dd, figure { margin: 0; padding: 0; }
.over { color: var(--soft); font-size: 13px; }
h1 {
  font-size: 26px; line-height: 1.3; font-weight: 600; letter-spacing: -0.012em; margin-top: 4px;
  overflow-wrap: anywhere;
}
h1 code { font: inherit; }
h2 { font-size: 18px; font-weight: 600; letter-spacing: -0.005em; margin-bottom: 4px; }
h3 { font-size: 14px; font-weight: 600; margin-bottom: 6px; }
section { margin-top: 46px; }
.note { color: var(--soft); max-width: 76ch; margin-bottom: 14px; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(130px, 1fr)); gap: 18px 24px; margin-top: 26px; }
.facts dt { color: var(--soft); font-size: 13px; }
.facts dd { font-size: 19px; font-weight: 500; letter-spacing: -0.01em; overflow-wrap: anywhere; }
.facts dd small { display: block; font-size: 12.5px; font-weight: 400; color: var(--soft); letter-spacing: 0; }
.sheet {
  background: var(--sheet); border: 1px solid var(--line); border-radius: 10px; overflow-x: auto; margin-top: 14px;
}
.side {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); gap: 16px; margin-top: 14px;
}
.side .sheet { margin-top: 0; }
.small { display: grid; grid-template-columns: repeat(auto-fill, minmax(230px, 1fr)); gap: 16px; margin-top: 14px; }
.small .sheet { margin-top: 0; }
figure { padding: 16px 18px 12px; }
section > .sheet:has(> figure) { max-width: 800px; }
figcaption { color: var(--soft); font-size: 13px; margin-top: 4px; }
table { width: 100%; border-collapse: collapse; }
th { text-align: left; font-size: 13px; font-weight: 500; color: var(--soft); padding: 9px 14px; white-space: nowrap; }
thead th { border-bottom: 1px solid var(--line); }
td { padding: 7px 14px; border-top: 1px solid var(--line); white-space: nowrap; }
tbody tr:first-child > * { border-top: 0; }
td.n, th.n { text-align: right; }
td.name { white-space: normal; overflow-wrap: anywhere; }
td svg { display: block; width: 190px; height: 18px; }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: var(--soft); }
svg .label { fill: var(--ink); }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg .axis { stroke: var(--faint); stroke-width: 1; }
svg .ideal { stroke: var(--faint); stroke-width: 1.5; stroke-dasharray: 4 4; fill: none; }
svg .line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
svg .bar { fill: var(--fill); }
svg .k0 { stroke: var(--s0); } svg .k1 { stroke: var(--s1); } svg .k2 { stroke: var(--s2); }
svg .k3 { stroke: var(--s3); } svg .k4 { stroke: var(--s4); } svg .k5 { stroke: var(--s5); }
svg .f0 { fill: var(--s0); } svg .f1 { fill: var(--s1); } svg .f2 { fill: var(--s2); }
svg .f3 { fill: var(--s3); } svg .f4 { fill: var(--s4); } svg .f5 { fill: var(--s5); }
details { margin-top: 12px; }
summary { cursor: pointer; color: var(--soft); }
footer { margin-top: 56px; color: var(--faint); font-size: 13px; }
@media print { body { max-width: none; padding: 0; } section { break-inside: avoid; } }
"""
