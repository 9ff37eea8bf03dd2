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
    "text": words.TEXT,
    "at": words.AT,
    "path": words.PATH,
    "download": words.DOWNLOAD,
    "unplayable": words.UNPLAYABLE,
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
  const {en, zh} = LABELS[label] || label;
  const made = make("span");
  made.append(make("span", "en", en), make("span", "zh", zh));
  return made;
}
function clock(seconds) {
  const [hours, minutes, rest] = [seconds / 3600, seconds / 60 % 60, seconds % 60].map(Math.trunc);
  const two = (one) => String(one).padStart(2, "0");
  const told = hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
  return {en: `at ${told}`, zh: `${told} 处`};
}
function facts(known) {
  const meta = known.metadata || {};
  const day = (text) => String(text).slice(0, 16).replace("T", " ");
  const list = (value) => Array.isArray(value) ? value.join(", ") : value;
  const place = [meta.latitude, meta.longitude];
  const rows = meta.date ? [["date", day(known.date)]] : [["changed", day(known.modified)]];
  const told = known.kind === "image" ? "caption" : "text";
  rows.push(["camera", meta.camera], [told, known.text], ["tags", list(meta.tag)]);
  if (place.every((one) => typeof one === "number"))
    rows.push(["place", place.map((one) => one.toFixed(5)).join(", ")]);
  rows.push(["at", known.at], ["path", known.path]);
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
  // The video plays from its moment, over the picture of it.
  let video = null;
  function play(start, source, failed) {
    video = make("video");
    video.controls = video.playsInline = true;
    if (image.naturalWidth) video.poster = image.src;
    video.onloadedmetadata = () => {
      video.currentTime = start;
      video.play().catch(() => {});
    };
    video.onerror = () => { stop(); failed(); };
    video.src = source;
    stage.prepend(video);
    image.hidden = true;
  }
  function stop() {
    if (!video) return;
    video.onerror = null;
    video.removeAttribute("src");
    video.load();
    video.remove();
    video = null;
    image.hidden = false;
  }
  function go(step) {
    stop();
    at = (at + step + others.length) % others.length;
    const {unit, name: collection, path, excerpt, start} = others[at];
    const query = `collection=${encodeURIComponent(collection)}`;
    const cut = Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\\\"));
    const file = path.slice(cut + 1);
    const source = `/v1/units/${unit}/picture?${query}&size=${SIDE}`;
    image.hidden = save.hidden = Boolean(excerpt);
    stage.querySelector(".excerpt")?.remove();
    if (excerpt) {
      const copy = excerpt.cloneNode(true);
      copy.hidden = false;
      copy.tabIndex = 0;
      image.removeAttribute("src");
      stage.prepend(copy);
      requestAnimationFrame(() => copy.querySelector("mark, .hit")
        ?.scrollIntoView({block: "center", inline: "center"}));
    } else image.src = source;
    image.alt = name.textContent = file;
    box.setAttribute("aria-label", file);
    image.onerror = () => table.replaceChildren(both("gone"));
    count.textContent = others.length > 1 ? `${at + 1} / ${others.length}` : "";
    save.href = source;
    save.download = file.replace(/\\.[^.]*$/, "") + ".webp";
    table.replaceChildren();
    const mine = at;
    fetch(`/v1/units/${unit}?${query}`).then((answer) => answer.ok ? answer.json() : null)
      .then((known) => {
        if (!known || mine !== at || !box.isConnected) return;
        if (!excerpt && known.file_kind === "video") {
          save.href = `/v1/units/${unit}/video?${query}`;
          save.download = file;
          const from = Number(start ?? known.locator.start_s ?? 0);
          known.at = clock(from);
          play(from, save.href, () => table.prepend(both("unplayable")));
        }
        for (const [label, value] of facts(known)) {
          if (excerpt && label === "text") continue;
          const term = make("dt");
          term.append(both(label));
          const told = make("dd", label, value.en ? "" : String(value));
          if (value.en) told.append(both(value));
          table.append(term, told);
        }
      }).catch(() => {});
  }
  box.addEventListener("keydown", (event) => {
    if (event.target === video) return;
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
  box.onclose = () => { stop(); box.remove(); };
  // Gradio scopes the rules of the style to what is inside of this.
  document.querySelector(".gradio-container .contain").append(box);
  go(0);
  box.showModal();
  close.focus();
}
window.seesayShow = show;
// What a citation opens that has no picture: a text or a table, which stands with the evidence.
function excerptOf(one) {
  const number = CSS.escape(one.dataset.excerpt || "");
  return one.closest(".turn")?.querySelector(`[data-number="${number}"] > .excerpt`);
}
element.addEventListener("click", (event) => {
  const looked = event.target.closest("[data-look]");
  if (!looked) return;
  const among = looked.closest("[data-among]") || element;
  const shown = [...among.querySelectorAll("[data-look]")]
    .filter((one) => !one.closest("details:not([open])") || one === looked);
  const all = shown.map((one) => ({...one.dataset, excerpt: excerptOf(one)}));
  show(all[shown.indexOf(looked)], all);
});
""".replace("__LABELS__", json.dumps(_LABELS, default=vars, ensure_ascii=False))
"""Clicks on pictures. Texts from files are only ever set as text."""
