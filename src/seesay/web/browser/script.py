"""What the page does in the browser. Texts from files are only ever set as text."""

from seesay.web.uploads import MOST_SENT

LANGUAGE = """() => {
  const kept = localStorage.getItem("seesay-language");
  const asked = new URLSearchParams(location.search).get("lang");
  const wanted = (asked || kept || navigator.language || "en").toLowerCase();
  const language = wanted.startsWith("zh") ? "zh" : "en";
  document.documentElement.dataset.spoken = language;
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  return [language, null];
}"""
"""When the page opens: the language chosen before, else the browser's."""

ADDRESS = "() => [location.search.slice(0, 4000)]"
"""What the page is opened with."""

SPEAK = """(language) => {
  localStorage.setItem("seesay-language", language);
  const query = new URLSearchParams(location.search);
  query.set("lang", language);
  history.replaceState(history.state, "", `${location.pathname}?${query}`);
  document.documentElement.dataset.spoken = language;
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  return [language];
}"""

TO_TOP = "() => { window.scrollTo({top: 0, behavior: 'smooth'}); }"

RESULTS = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-do]");
  if (!button) return;
  trigger(button.dataset.do === "remove" ? "delete" : "click", {...button.dataset});
});
new MutationObserver(() => {
  const wrong = element.querySelector(".notice.wrong:not([data-seen])");
  if (!wrong) return;
  wrong.dataset.seen = "yes";
  const {top, bottom} = wrong.getBoundingClientRect();
  if (top < 0 || bottom > innerHeight) wrong.scrollIntoView({block: "center"});
}).observe(element, {childList: true, subtree: true, characterData: true});
"""
"""Clicks on buttons are told to the server. A message that something is wrong comes into view: on a
phone the open form fills the screen."""

HISTORY = """
const bare = () => {
  const query = new URLSearchParams(location.search);
  query.delete("lang");
  return query.toString();
};
new MutationObserver(() => {
  const mark = element.querySelector("[data-address]");
  if (!mark || mark.dataset.seen) return;
  mark.dataset.seen = "yes";
  const query = new URLSearchParams(mark.dataset.address);
  document.title = mark.dataset.title;
  if ("restored" in mark.dataset || query.toString() === bare()) return;
  query.set("lang", document.documentElement.dataset.spoken);
  history.pushState(null, "", `${location.pathname}?${query}`);
}).observe(element, {childList: true, subtree: true, attributeFilter: ["data-address"]});
const here = () => location.search.slice(0, 4000);
window.addEventListener("popstate", () => trigger("select", {address: here()}));
"""
"""Each answer gets its own address; Back and Forward ask for what theirs says. Gradio changes only
what differs between two answers, which may be the address alone."""

PICTURE_SHOWN = """${value ? `<span class="chosen">${value.startsWith("data:image/")
  ? `<img alt="" src="${value}">` : `<span class="file">?</span>`}
  <button type="button" class="drop-it" aria-label="Remove the picture 移除图片">×</button></span>`
  : `<label class="pick"><input type="file" accept="image/*" aria-label="Choose a picture 选择图片">
  <svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.7" aria-hidden="true">
  <rect x="3" y="4.5" width="18" height="15" rx="3"/><circle cx="8.6" cy="9.8" r="1.6"/>
  <path d="M4 17l5-4.6 3.4 3 3.6-4 4.5 4.6"/></svg>
  <span><span class="en">Picture</span><span class="zh">图片</span></span></label>`}"""

_READ = """
const SIDE = 1024, MOST = 2000000, MOST_SENT = __MOST_SENT__;
function read(blob) {
  return new Promise((done, failed) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.onerror = () => failed(reader.error);
    reader.readAsDataURL(blob);
  });
}
async function smaller(file) {
  let bitmap;
  try { bitmap = await createImageBitmap(file); } catch { return file; }
  const scale = Math.min(1, SIDE / Math.max(bitmap.width, bitmap.height));
  if (scale === 1 && file.size <= MOST) return file;
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const pen = canvas.getContext("2d");
  pen.fillStyle = "white";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92));
}
async function encoded(file) {
  const blob = await smaller(file);
  const given = [...file.name].slice(-80).join("").replace(/\\p{Surrogate}/gu, "");
  const name = `;name=${encodeURIComponent(given)}`;
  if (blob.size > MOST_SENT) {
    return `data:application/x-too-large;size=${blob.size}${name};base64,`;
  }
  const body = (await read(blob)).split(",")[1] || "";
  return `data:${blob.type || "application/octet-stream"}${name};base64,${body}`;
}
""".replace("__MOST_SENT__", str(MOST_SENT))
"""A file as a data URL; a large picture is made smaller before."""

PICTURE = (
    _READ
    + """
async function take(file) {
  if (!file) return;
  props.value = await encoded(file);
  setTimeout(() => trigger("input"), 60);
}
element.addEventListener("change", (event) => {
  event.stopPropagation();
  if (event.target.files) take(event.target.files[0]);
});
element.addEventListener("input", (event) => event.stopPropagation());
element.addEventListener("click", (event) => {
  if (!event.target.closest(".drop-it")) return;
  props.value = "";
  setTimeout(() => trigger("clear"), 60);
});
function taken(some) {
  const asking = document.querySelector("#talk-pictures");
  if (!asking?.offsetParent) { take(some[0]); return; }
  const inner = asking.querySelector(".pick")?.parentElement || asking;
  inner.dispatchEvent(new CustomEvent("seesay-files", {detail: some, bubbles: true}));
}
if (!window.seesayDrops) {
  window.seesayDrops = true;
  let depth = 0;
  const dropping = (on) => document.body.classList.toggle("dropping", on);
  const files = (event) => [...(event.dataTransfer?.types || [])].includes("Files");
  document.addEventListener("dragenter", (event) => { if (files(event)) dropping(++depth > 0); });
  document.addEventListener("dragleave", (event) => { if (files(event)) dropping(--depth > 0); });
  document.addEventListener("dragover", (event) => { if (files(event)) event.preventDefault(); });
  document.addEventListener("drop", (event) => {
    depth = 0;
    dropping(false);
    if (!files(event)) return;
    event.preventDefault();
    taken([...event.dataTransfer.files]);
  }, true);
  document.addEventListener("paste", (event) => {
    const pasted = [...(event.clipboardData?.files || [])];
    if (pasted.length) { event.preventDefault(); taken(pasted); }
  }, true);
}
"""
)
"""Choosing, dropping and pasting."""

PICTURES_SHOWN = """${(value || "").split("\\n").filter(Boolean).map((url, at) => `<span
  class="chosen">${url.startsWith("data:image/") ? `<img alt="" src="${url}">`
  : `<span class="file">?</span>`}<button type="button" class="drop-it" data-at="${at}"
  aria-label="Remove the picture 移除图片">×</button></span>`).join("")}
  <label class="pick"><input type="file" accept="image/*" multiple
  aria-label="Add pictures 添加图片">
  <svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.7" aria-hidden="true">
  <rect x="3" y="4.5" width="18" height="15" rx="3"/><circle cx="8.6" cy="9.8" r="1.6"/>
  <path d="M4 17l5-4.6 3.4 3 3.6-4 4.5 4.6"/></svg>
  <span><span class="en">Pictures</span><span class="zh">图片</span></span></label>"""

PICTURES = (
    _READ
    + """
const urls = () => (props.value || "").split("\\n").filter(Boolean);
async function add(some) {
  const more = [];
  for (const file of some) more.push(await encoded(file));
  props.value = [...urls(), ...more].join("\\n");
}
element.addEventListener("change", (event) => {
  event.stopPropagation();
  if (event.target.files) add([...event.target.files]);
});
element.addEventListener("input", (event) => event.stopPropagation());
element.addEventListener("seesay-files", (event) => add(event.detail));
element.addEventListener("click", (event) => {
  const button = event.target.closest(".drop-it");
  if (!button) return;
  props.value = urls().filter((_, at) => at !== Number(button.dataset.at)).join("\\n");
});
"""
)
"""Several pictures, a data URL a line; what is dropped on the page comes here while the tab is
open."""

DAY = """
const field = () => element.querySelector("input");
const put = () => { if (field().value !== (props.value || "")) field().value = props.value || ""; };
let typing = 0;
element.addEventListener("input", (event) => {
  event.stopPropagation();
  clearTimeout(typing);
  // While a year is typed, each digit makes a date of its own.
  typing = setTimeout(() => {
    const day = field().value;
    if (day === (props.value || "") || (day && day < "1000")) return;
    props.value = day;
    setTimeout(() => trigger("input"), 60);
  }, 500);
});
element.addEventListener("change", (event) => event.stopPropagation());
watch("value", put);
put();
"""
"""A date: what is chosen is told once it is whole."""
