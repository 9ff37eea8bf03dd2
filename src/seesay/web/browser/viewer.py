"""The viewer: a dialog with one picture, what is known of it, and the way to its neighbours."""

import json

from seesay.web import words

_LABELS = {
    "date": words.TAKEN,
    "changed": words.FILE_CHANGED,
    "camera": words.CAMERA,
    "place": words.PLACE,
    "tags": words.TAGS,
    "caption": words.CAPTION_LABEL,
    "page": words.PAGE_LABEL,
    "path": words.PATH,
    "download": words.DOWNLOAD,
    "gone": words.PICTURE_GONE,
}

VIEWER = """
const LABELS = __LABELS__;
const SIDE = 2048, ENLARGED = 3;
function make(kind, name, text) {
  const made = document.createElement(kind);
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text;
  return made;
}
function both(label) {
  const made = make("span");
  made.append(make("span", "en", LABELS[label].en), make("span", "zh", LABELS[label].zh));
  return made;
}
function facts(known) {
  const meta = known.metadata || {};
  const day = (text) => String(text).slice(0, 16).replace("T", " ");
  const list = (value) => Array.isArray(value) ? value.join(", ") : value;
  const place = [meta.latitude, meta.longitude];
  const rows = meta.date ? [["date", day(known.date)]] : [["changed", day(known.modified)]];
  rows.push(["camera", meta.camera], ["caption", known.text], ["tags", list(meta.tag)]);
  if (place.every((one) => typeof one === "number"))
    rows.push(["place", place.map((one) => one.toFixed(5)).join(", ")]);
  rows.push(["page", (known.locator || {}).page], ["path", known.path]);
  return rows.filter(([, value]) => value !== undefined && value !== null && value !== "");
}
function show(data, others = [data]) {
  let at = others.indexOf(data);
  const box = make("dialog", "look");
  const image = make("img");
  const name = make("strong");
  const count = make("small");
  const table = make("dl");
  const save = make("a", "do");
  save.append(both("download"));
  const turn = (label, sign, step) => {
    const made = make("button", "turn " + (step < 0 ? "before" : "after"), sign);
    made.setAttribute("aria-label", label);
    made.onclick = () => go(step);
    made.hidden = others.length < 2;
    return made;
  };
  const close = make("button", "do close", "✕");
  close.setAttribute("aria-label", "Close 关闭");
  close.onclick = () => box.close();
  const stage = make("div", "stage");
  stage.append(image, turn("Previous 上一张", "\\u2039", -1), turn("Next 下一张", "\\u203a", 1));
  const head = make("header");
  head.append(name, count, save, close);
  const about = make("div", "about");
  about.append(table);
  box.append(stage, head, about);
  // A small picture is shown larger, but not until nothing but its pixels is to be seen.
  image.onload = () => {
    image.style.maxWidth = `min(100%, ${ENLARGED * image.naturalWidth}px)`;
    image.style.maxHeight = `min(100%, ${ENLARGED * image.naturalHeight}px)`;
  };
  function go(step) {
    at = (at + step + others.length) % others.length;
    const {unit, name: collection, path} = others[at];
    const query = `collection=${encodeURIComponent(collection)}`;
    const cut = Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\\\"));
    const file = path.slice(cut + 1);
    image.src = `/v1/units/${unit}/picture?${query}&size=${SIDE}`;
    image.alt = name.textContent = file;
    box.setAttribute("aria-label", file);
    image.onerror = () => table.replaceChildren(both("gone"));
    count.textContent = others.length > 1 ? `${at + 1} / ${others.length}` : "";
    save.href = image.src;
    save.download = file.replace(/\\.[^.]*$/, "") + ".webp";
    table.replaceChildren();
    const mine = at;
    fetch(`/v1/units/${unit}?${query}`).then((answer) => answer.ok ? answer.json() : null)
      .then((known) => {
        if (!known || mine !== at) return;
        for (const [label, value] of facts(known)) {
          const term = make("dt");
          term.append(both(label));
          table.append(term, make("dd", label, String(value)));
        }
      }).catch(() => {});
  }
  box.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") go(-1);
    if (event.key === "ArrowRight") go(1);
  });
  let touched = null;
  stage.addEventListener("touchstart", (event) => { touched = event.touches[0].clientX; });
  stage.addEventListener("touchend", (event) => {
    const moved = event.changedTouches[0].clientX - touched;
    if (Math.abs(moved) > 50) go(moved < 0 ? 1 : -1);
  });
  box.onclick = (event) => { if (event.target === box) box.close(); };
  box.onclose = () => box.remove();
  // Gradio scopes the rules of the style to what is inside of this.
  document.querySelector(".gradio-container .contain").append(box);
  go(0);
  box.showModal();
  close.focus();
}
window.seesayShow = show;
element.addEventListener("click", (event) => {
  const looked = event.target.closest("[data-look]");
  if (!looked) return;
  const all = [...element.querySelectorAll("[data-look]")]
    .filter((one) => !one.closest("details:not([open])")).map((one) => one.dataset);
  show(all.find((one) => one === looked.dataset), all);
});
""".replace("__LABELS__", json.dumps(_LABELS, default=vars, ensure_ascii=False))
"""Clicks on pictures. Texts from files are only ever set as text."""
