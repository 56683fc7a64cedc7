"""The look of the page: one set of named colours for text, tables and plots, in a light and a dark version."""

LIGHT = {"page": "#f5f6f8", "card": "#ffffff", "ink": "#1b2330", "muted": "#5c6778", "line": "#dfe3e9",
         "link": "#1f5fb8",
         "good": "#1f8a4c", "warn": "#9a6400", "bad": "#b3261e", "bad-card": "#fdecea", "note-card": "#eaf2fd",
         "blue": "#2f6fc4", "orange": "#c25a14", "teal": "#16807a", "purple": "#7447b0", "red": "#c2332b",
         "tracking": "#2e9e5b", "suspect": "#e3a01c", "verifying": "#7db4ee", "registering": "#4577bd",
         "searching": "#98a4b5", "lost": "#cf3a2f", "absent": "#cdd4de", "disabled": "#5a6270", "unknown": "#a98bc9"}
"""Colour names and their values; each becomes the CSS variable --<name>."""

DARK = LIGHT | {"page": "#101318", "card": "#181d24", "ink": "#e7eaf0", "muted": "#9ba6b6", "line": "#2c333d",
                "link": "#7fb2f5", "good": "#54c584", "warn": "#e8b04a", "bad": "#ff8a80", "bad-card": "#3a1a19",
                "note-card": "#16263c", "blue": "#6ea8f5", "orange": "#f0955a", "teal": "#4cc4bb", "purple": "#b793ec",
                "red": "#f2766d", "absent": "#454e5b", "disabled": "#8b94a3"}

STATES = ("tracking", "suspect", "verifying", "registering", "searching", "lost", "absent", "disabled", "unknown")
"""Recovery states in the order of legends; each has a colour of its name."""


def _variables(colors: dict[str, str]) -> str:
    return "".join(f"--{name}:{value};" for name, value in colors.items())


STYLE = f"""
:root{{color-scheme:light dark;{_variables(LIGHT)}--font:system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}}
@media (prefers-color-scheme:dark){{:root{{{_variables(DARK)}}}}}
""" + """
*{box-sizing:border-box}
html{scroll-padding-top:3.4rem;-webkit-text-size-adjust:100%}
body{font:15px/1.55 var(--font);margin:0;background:var(--page);color:var(--ink);overflow-wrap:break-word}
main,header>div,nav>div,footer{max-width:1120px;margin:0 auto;padding:0 1rem}
header{padding-top:1.6rem}
header p{margin:.2rem 0}
h1{font-size:1.65rem;line-height:1.25;margin:.1rem 0 .3rem;letter-spacing:-.01em}
h2{font-size:1.2rem;margin:0 0 .7rem}
h3{font-size:1rem;margin:1.5rem 0 .3rem}
a{color:var(--link)}
code,pre{font:12.5px/1.5 ui-monospace,Menlo,Consolas,monospace}
code{overflow-wrap:anywhere}
pre{overflow:auto;max-height:32rem;margin:.5rem 0 0;padding:.8rem;background:var(--page);border-radius:8px}
.kicker{color:var(--muted);text-transform:uppercase;letter-spacing:.08em;font-size:.75rem;font-weight:600}
.facts,.small,figcaption,summary small{color:var(--muted);font-size:.87rem}
nav{position:sticky;top:0;z-index:5;background:var(--page);border-bottom:1px solid var(--line);margin-top:.8rem}
nav>div{display:flex;gap:1.1rem;overflow-x:auto;scrollbar-width:none;padding-top:.55rem;padding-bottom:.55rem}
nav a{white-space:nowrap;text-decoration:none;font-size:.9rem;color:var(--muted)}
nav a:hover,nav a:focus{color:var(--ink)}
section{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:1.1rem 1.2rem;margin:1rem 0}
.banner{border-left:5px solid var(--bad);background:var(--bad-card)}
.banner h2{color:var(--bad)}
.note{border-left:5px solid var(--blue);background:var(--note-card)}
.banner ul,.note ul{margin:.2rem 0;padding-left:1.2rem}
.verdict{display:flex;gap:.7rem;margin:.4rem 0;font-size:1.06rem}
.verdict::before{content:"";flex:none;width:.7rem;height:.7rem;border-radius:50%;margin-top:.5rem;background:var(--good)}
.verdict.warn::before{background:var(--suspect)}
.verdict.bad::before{background:var(--lost)}
.verdict.none::before{background:var(--searching)}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(138px,1fr));gap:.7rem;margin:1rem 0 .2rem}
.tile{border:1px solid var(--line);border-radius:10px;padding:.6rem .8rem}
.tile b{display:block;font-size:1.45rem;line-height:1.25;font-variant-numeric:tabular-nums}
.tile span{color:var(--muted);font-size:.82rem;display:block;line-height:1.35}
.scroll{overflow-x:auto;max-width:100%}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;margin:.3rem 0 .6rem}
th,td{padding:.38rem .9rem .38rem 0;text-align:right;border-bottom:1px solid var(--line);vertical-align:top}
tr>:first-child,.words td,.words th{text-align:left}
.groups{columns:2;column-gap:2.4rem}
.groups h3{break-after:avoid;margin-top:0;padding-top:.8rem}
.groups tr{break-inside:avoid}
thead th{font-weight:600;color:var(--muted);font-size:.85rem;vertical-align:bottom}
tbody th{font-weight:500}
tbody th small{display:block;color:var(--muted);font-weight:400;font-size:.82rem;line-height:1.4;max-width:34rem}
td small{display:block;color:var(--muted);font-size:.8rem;white-space:nowrap}
td{white-space:nowrap}
.words td{white-space:normal}
.figures{width:100%}
.figures th:first-child{min-width:11rem}
td.bad,b.bad,.bad-text{color:var(--bad)}
.chart{margin:.4rem 0 1.2rem}
.chart svg{display:block;width:100%;height:auto}
.chart svg *{stroke-linejoin:round;stroke-linecap:butt}
.wide .scroll svg{min-width:640px}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(400px,100%),1fr));gap:.4rem 2rem}
figure{margin:0}
.chart figcaption{margin-top:.15rem}
.legend{display:flex;flex-wrap:wrap;gap:.2rem 1rem;font-size:.83rem;color:var(--muted);margin:.3rem 0}
.legend i{display:inline-block;width:.8rem;height:.8rem;border-radius:3px;margin-right:.35rem;vertical-align:-1px}
.film{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(240px,100%),1fr));gap:1rem}
.film button{all:unset;cursor:zoom-in;display:block;width:100%}
.film button:focus-visible{outline:3px solid var(--link);border-radius:8px}
.film img{display:block;width:100%;height:auto;border-radius:8px;background:var(--line)}
.film figcaption{margin-top:.35rem;line-height:1.4}
.film figcaption b{display:block;color:var(--ink)}
dialog{border:0;padding:0;background:#0b0d10;color:#e7eaf0;max-width:96vw;max-height:96vh;border-radius:10px}
dialog::backdrop{background:rgba(0,0,0,.75)}
dialog img{display:block;max-width:96vw;max-height:84vh;width:auto;height:auto;cursor:zoom-out}
dialog p{margin:0;padding:.6rem .9rem;font-size:.9rem}
details{margin:.5rem 0}
summary{cursor:pointer;font-weight:500}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.3rem 1.2rem;margin:.2rem 0}
dt{color:var(--muted)} dd{margin:0;min-width:0}
footer{color:var(--muted);font-size:.85rem;padding-bottom:2rem}
@media (max-width:900px){.groups{columns:1}}
@media (max-width:560px){section{padding:.9rem .8rem;border-radius:10px} h1{font-size:1.35rem}
dl{grid-template-columns:1fr;gap:0} dd{margin-bottom:.5rem} th,td{padding-right:.6rem}}
@media print{nav{position:static} section{break-inside:avoid}}
"""

SCRIPT = """
const viewer = document.querySelector("dialog");
if (viewer) {
  const shots = [...document.querySelectorAll(".film button")];
  let at = 0;
  const show = (k) => {
    at = (k + shots.length) % shots.length;
    viewer.querySelector("img").src = shots[at].querySelector("img").src;
    viewer.querySelector("p").textContent = shots[at].parentElement.querySelector("figcaption").innerText;
    if (!viewer.open) viewer.showModal();
  };
  shots.forEach((shot, k) => shot.addEventListener("click", () => show(k)));
  viewer.addEventListener("click", () => viewer.close());
  viewer.addEventListener("keydown", (e) => {
    if (e.key === "ArrowRight") show(at + 1);
    if (e.key === "ArrowLeft") show(at - 1);
  });
}
"""
"""Enlarges a picture on a click; arrow keys go on to the next."""

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""Content security policy: the page can load nothing from anywhere."""
