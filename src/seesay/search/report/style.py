"""How the page looks, in light and in dark, and the switch between its languages."""

STYLE = """
:root{--paper:#fafafa;--card:#fff;--ink:#1b1b1f;--faint:#5d5d66;--line:#e3e3e8;--mark:#0b63ce;
--far:#8a4b00;color-scheme:light dark}
@media (prefers-color-scheme:dark){:root{--paper:#141416;--card:#1f1f23;--ink:#ededf0;
--faint:#a5a5ae;--line:#34343a;--mark:#7cb3ff;--far:#ffb86b}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"PingFang SC","Microsoft YaHei","Noto Sans SC",
"Noto Sans CJK SC","WenQuanYi Micro Hei",sans-serif}
[data-spoken=en] .zh,[data-spoken=zh] .en{display:none}
header,main,footer{max-width:76rem;margin:0 auto;padding:0 1.25rem}
header{display:flex;gap:1.5rem;justify-content:space-between;align-items:flex-start;
padding-top:2rem}
h1{font-size:1.7rem;line-height:1.25;margin:0 0 .4rem}
header p{color:var(--faint);max-width:46rem;margin:0}
.switch{display:flex;flex:none;border:1px solid var(--line);border-radius:.6rem;overflow:hidden}
.switch button{border:0;background:transparent;color:var(--ink);font:inherit;padding:.35rem .8rem;
cursor:pointer}
.switch button[aria-pressed=true]{background:var(--mark);color:var(--paper)}
:focus-visible{outline:3px solid var(--mark);outline-offset:2px}
section{margin:2.2rem 0;padding-top:1.4rem;border-top:1px solid var(--line)}
h2{display:flex;flex-wrap:wrap;gap:.6rem;align-items:center;font-size:1.2rem;margin:0 0 .5rem}
h2 q{quotes:"\\201c" "\\201d";overflow-wrap:anywhere}
.kind{color:var(--faint);font-weight:400;font-size:1rem}
.asked{height:3.2rem;border-radius:.4rem}
.remark{color:var(--faint);margin:0 0 .6rem}
.nothing{color:var(--far);font-weight:600;margin:0 0 .6rem}
.cards{list-style:none;margin:0;padding:0;display:grid;gap:1rem;
grid-template-columns:repeat(auto-fill,minmax(11.5rem,1fr))}
.card{background:var(--card);border:1px solid var(--line);border-radius:.7rem;overflow:hidden;
display:flex;flex-direction:column}
.card a{display:block;color:inherit;text-decoration:none}
.card img{display:block;width:100%;aspect-ratio:4/3;object-fit:cover;background:var(--line)}
.card blockquote{margin:0;padding:.8rem;aspect-ratio:4/3;overflow:hidden;font-size:.85rem;
white-space:pre-wrap;overflow-wrap:anywhere;background:var(--paper)}
.far .card{opacity:.75}
.told{padding:.55rem .8rem .7rem;display:flex;flex-direction:column;gap:.15rem}
.name{font-weight:600;font-size:.9rem;overflow-wrap:anywhere}
.sure,.note{font-size:.8rem;color:var(--faint)}
.bar{display:block;height:.3rem;border-radius:.2rem;background:var(--line)}
.bar i{display:block;height:100%;border-radius:inherit;background:var(--mark)}
footer{color:var(--faint);padding-bottom:3rem}
footer code{background:var(--card);border:1px solid var(--line);border-radius:.3rem;
padding:.1rem .35rem;overflow-wrap:anywhere}
@media (max-width:40rem){header{flex-direction:column-reverse}}
@media print{.switch{display:none}.card{break-inside:avoid}}
"""

SCRIPT = """
const root = document.documentElement;
const buttons = document.querySelectorAll(".switch button");
function speak(language) {
  root.dataset.spoken = language;
  root.lang = language === "zh" ? "zh-CN" : "en";
  buttons.forEach(b => b.setAttribute("aria-pressed", b.dataset.to === language));
}
buttons.forEach(b => b.addEventListener("click", () => speak(b.dataset.to)));
speak(root.dataset.spoken);
"""
