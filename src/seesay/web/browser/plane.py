"""A map that is moved and zoomed: pictures as thumbnails, those close together as one stack."""

PLANE = r"""
const CELL = 78, THUMB = 60, EDGE = 2.8 * THUMB, NEAR = 12, MOST_ZOOM = 4096, MOST_TOLD = 1000;
const make = (kind, name) => Object.assign(document.createElement(kind), {className: name});
let land = null;

// Mercator, cut off where the poles begin; y grows downwards as on the screen.
const mercator = (longitude, latitude) => {
  const angle = Math.max(-85, Math.min(85, latitude)) * Math.PI / 180;
  return [longitude / 360 + 0.5, 0.5 - Math.log(Math.tan(Math.PI / 4 + angle / 2)) / 2 / Math.PI];
};

async function outlines() {
  const rings = await (await fetch("land.json")).json();
  const path = new Path2D();
  for (const ring of rings) {
    for (let at = 0; at < ring.length; at += 2) {
      const [x, y] = mercator(ring[at] / 10, ring[at + 1] / 10);
      if (at) path.lineTo(x, y); else path.moveTo(x, y);
    }
    path.closePath();
  }
  return path;
}

function plane(box) {
  const places = box.dataset.shown === "place", labels = JSON.parse(box.dataset.labels);
  const language = () => document.documentElement.dataset.spoken === "zh" ? "zh" : "en";
  const points = JSON.parse(box.dataset.points).map(([unit, x, y, kind, label]) => {
    const [u, v] = places ? mercator(x, y) : [x / 2, -y / 2];
    return {unit, x: u, y: v, kind, label};
  });
  box.removeAttribute("data-points");
  const canvas = make("canvas", ""), spots = make("div", "spots"), told = make("div", "peek");
  const pen = canvas.getContext("2d"), buttons = new Map();
  const view = {x: 0, y: 0, zoom: 0}, size = {width: 0, height: 0};
  let drawing = 0, moved = false;
  told.hidden = true;
  box.append(canvas, spots, told);
  box.tabIndex = 0;
  box.setAttribute("role", "application");
  box.setAttribute("aria-label", labels.map[language()]);

  const onScreen = ({x, y}) =>
    [(x - view.x) * view.zoom + size.width / 2, (y - view.y) * view.zoom + size.height / 2];
  function fit(some) {
    const xs = some.map((one) => one.x), ys = some.map((one) => one.y);
    // Not Math.min(...xs): there may be more points than a call may have arguments.
    const least = (a, b) => Math.min(a, b), most = (a, b) => Math.max(a, b);
    const [left, right] = [xs.reduce(least), xs.reduce(most)];
    const [top, low] = [ys.reduce(least), ys.reduce(most)];
    view.x = (left + right) / 2;
    view.y = (top + low) / 2;
    const span = some === points && places ? 0.02 : 1e-9;
    const wide = (size.width - EDGE) / Math.max(right - left, span);
    const high = (size.height - EDGE) / Math.max(low - top, span);
    zoomTo(Math.min(wide, high));
  }
  const widest = () => Math.min(size.width, size.height) * (places ? 0.9 : 0.5);
  function zoomTo(zoom) {
    view.zoom = Math.max(widest(), Math.min(MOST_ZOOM * size.width, zoom));
    draw();
  }
  function zoomAt(factor, x = size.width / 2, y = size.height / 2) {
    const before = view.zoom;
    const u = view.x + (x - size.width / 2) / before;
    const v = view.y + (y - size.height / 2) / before;
    zoomTo(before * factor);
    view.x = u - (x - size.width / 2) / view.zoom;
    view.y = v - (y - size.height / 2) / view.zoom;
  }
  function pan(x, y) {
    view.x -= x / view.zoom;
    view.y -= y / view.zoom;
    draw();
  }
  function draw() {
    if (!drawing) drawing = requestAnimationFrame(() => { drawing = 0; paint(); });
  }
  function paint() {
    const dots = window.devicePixelRatio || 1;
    canvas.width = size.width * dots;
    canvas.height = size.height * dots;
    const colour = (name) => getComputedStyle(box).getPropertyValue(name);
    if (places && land) {
      const zoom = view.zoom * dots;
      pen.setTransform(zoom, 0, 0, zoom, canvas.width / 2 - view.x * zoom,
        canvas.height / 2 - view.y * zoom);
      pen.fillStyle = colour("--land");
      pen.fill(land, "evenodd");
      pen.lineWidth = 1 / view.zoom;
      pen.strokeStyle = colour("--shore");
      pen.stroke(land);
    }
    pen.setTransform(dots, 0, 0, dots, 0, 0);
    const stacks = new Map();
    for (const point of points) {
      const [x, y] = onScreen(point);
      if (x < -CELL || y < -CELL || x > size.width + CELL || y > size.height + CELL) continue;
      if (point.kind !== "image") { dot(point, x, y, colour); continue; }
      const key = [point.x, point.y].map((at) => Math.floor(at * view.zoom / CELL)).join();
      const stack = stacks.get(key);
      if (stack) stack.push(point); else stacks.set(key, [point]);
    }
    const used = new Set();
    for (const [key, stack] of stacks) used.add(spot(key, stack));
    for (const [unit, button] of buttons)
      if (!used.has(unit)) { button.remove(); buttons.delete(unit); }
  }
  function dot(point, x, y, colour) {
    const side = points.length > 3000 ? 3 : points.length > 200 ? 4 : 6;
    pen.beginPath();
    if (point.kind === "caption") {
      for (const [u, v] of [[0, -1], [1, 0], [0, 1], [-1, 0]]) pen.lineTo(x + 1.3 * u * side,
        y + 1.3 * v * side);
      pen.closePath();
    } else pen.arc(x, y, side, 0, 7);
    pen.fillStyle = colour(point.kind === "caption" ? "--caption" : "--text");
    pen.fill();
  }
  // A stack is shown at the middle of its pictures, as far as it does not reach into another cell.
  function spot(key, stack) {
    const [first] = stack, half = CELL / 2, slack = (CELL - THUMB) / 2 - 2;
    const middle = {x: 0, y: 0};
    for (const one of stack) {
      middle.x += one.x / stack.length;
      middle.y += one.y / stack.length;
    }
    const [column, row] = key.split(",").map(Number);
    const corner = onScreen({x: column * CELL / view.zoom, y: row * CELL / view.zoom});
    const place = onScreen(middle).map((at, axis) =>
      Math.max(corner[axis] + half - slack, Math.min(corner[axis] + half + slack, at)));
    let button = buttons.get(first.unit);
    if (!button) {
      button = make("button", "spot");
      button.type = "button";
      const image = make("img", "");
      image.alt = "";
      image.src = `/v1/thumbnails/${first.unit}?size=128&collection=` +
        encodeURIComponent(box.dataset.name);
      button.append(image, make("span", ""));
      button.addEventListener("click", () => { if (!moved) open(button.stack); });
      buttons.set(first.unit, button);
      spots.append(button);
    }
    button.stack = stack;
    const name = first.label.slice(Math.max(first.label.lastIndexOf("/"),
      first.label.lastIndexOf("\\")) + 1);
    button.title = name;
    button.setAttribute("aria-label", stack.length > 1 ? `${name} +${stack.length - 1}` : name);
    button.lastChild.textContent = stack.length > 1 ? stack.length : "";
    button.style.transform = `translate(${place[0] - THUMB / 2}px,${place[1] - THUMB / 2}px)`;
    return first.unit;
  }
  function open(stack) {
    const [{unit, label}] = stack;
    if (stack.length === 1) {
      window.seesayShow({unit: String(unit), path: label, name: box.dataset.name});
      return;
    }
    trigger("select", {units: stack.slice(0, MOST_TOLD).map((one) => one.unit)});
    if (stack.some((one) => one.x !== stack[0].x || one.y !== stack[0].y)) fit(stack);
  }
  function nearest(event) {
    const [left, top] = [event.offsetX, event.offsetY];
    let found = null, least = NEAR ** 2;
    for (const point of points) {
      if (point.kind === "image") continue;
      const [x, y] = onScreen(point), far = (x - left) ** 2 + (y - top) ** 2;
      if (far < least) [found, least] = [point, far];
    }
    return found;
  }
  function peek(event) {
    const point = event.target === canvas && nearest(event);
    told.hidden = !point;
    if (!point) return;
    told.textContent = point.label;
    const [x, y] = onScreen(point);
    told.style.transform = `translate(${Math.min(x + 12, size.width - 232)}px,${y + 12}px)`;
  }
  const fingers = new Map();
  box.addEventListener("pointerdown", (event) => {
    if (event.target.closest(".tools")) return;
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
    if (fingers.size === 1) moved = false;
  });
  window.addEventListener("pointermove", (event) => {
    const last = fingers.get(event.pointerId);
    if (!last) return;
    const now = [event.clientX, event.clientY];
    const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
    if (Math.hypot(now[0] - last[0], now[1] - last[1]) < 3 && !moved) return;
    moved = true;
    if (other) {
      const apart = (one) => Math.max(1, Math.hypot(one[0] - other[0], one[1] - other[1]));
      const edge = box.getBoundingClientRect();
      zoomAt(apart(now) / apart(last), (now[0] + other[0]) / 2 - edge.left,
        (now[1] + other[1]) / 2 - edge.top);
    } else pan(now[0] - last[0], now[1] - last[1]);
    fingers.set(event.pointerId, now);
  });
  const lift = (event) => fingers.delete(event.pointerId);
  window.addEventListener("pointerup", lift);
  window.addEventListener("pointercancel", lift);
  canvas.addEventListener("pointermove", peek);
  box.addEventListener("pointerleave", () => { told.hidden = true; });
  canvas.addEventListener("click", (event) => {
    const point = !moved && nearest(event);
    if (point) trigger("select", {units: [point.unit]});
  });
  box.addEventListener("wheel", (event) => {
    // A page that is scrolled past the map stays a page that is scrolled.
    if (!event.ctrlKey && !box.contains(document.activeElement)) return;
    event.preventDefault();
    const edge = box.getBoundingClientRect();
    zoomAt(Math.exp(-event.deltaY / 400), event.clientX - edge.left, event.clientY - edge.top);
  }, {passive: false});
  box.addEventListener("keydown", (event) => {
    const step = {ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60]};
    if (event.target !== box) return;
    if (step[event.key]) { pan(...step[event.key]); event.preventDefault(); }
    if (event.key === "+" || event.key === "=") zoomAt(1.6);
    if (event.key === "-") zoomAt(1 / 1.6);
  });
  const tools = make("div", "tools");
  for (const [sign, label, act] of [["+", "closer", () => zoomAt(1.6)],
    ["\u2212", "further", () => zoomAt(1 / 1.6)], ["\u2922", "all", () => fit(points)]]) {
    const tool = make("button", "do");
    tool.type = "button";
    tool.textContent = sign;
    tool.title = labels[label][language()];
    tool.setAttribute("aria-label", tool.title);
    tool.dataset.tool = label;
    tool.onclick = act;
    tools.append(tool);
  }
  box.append(tools);
  // The map may be in a tab that is not open yet, and has no size before.
  new ResizeObserver(() => {
    const first = !size.width;
    size.width = box.clientWidth;
    size.height = box.clientHeight;
    if (!size.width) return;
    // Likeness has no shape of its own, unlike the earth: it takes that of the map.
    if (first && !places) for (const one of points) one.x *= size.width / size.height;
    if (first) fit(points); else draw();
  }).observe(box);
  new MutationObserver(draw).observe(document.body, {attributeFilter: ["class"]});
  if (places && !land) outlines().then((path) => { land = path; draw(); });
}

function begin() {
  for (const box of element.querySelectorAll(".plane[data-points]")) plane(box);
}
watch("value", begin);
begin();
"""
