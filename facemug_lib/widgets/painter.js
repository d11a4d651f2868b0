// The painter's browser side. All state that matters lives in the kernel: this module shows it, lets people paint on copies of
// the layers, and sends each finished stroke as one message with the box of pixels that it changed.

const SIZE = 256;
const EMPTY = { mask: [0], sketch: [0], semantics: [255], colour: [0, 0, 0, 0] };
const LAYER_NAMES = { mask: "Mask", sketch: "Sketch", semantics: "Labels", colour: "Colour" };
const TOOLS = [
  ["brush", "Brush", "b"], ["eraser", "Eraser", "e"], ["line", "Line", "l"], ["fill", "Fill", "f"], ["region", "Region", "r"],
];
const HINTS = {
  brush: "paint freely", eraser: "take paint away", line: "a straight line", fill: "fill an area of equal paint",
  region: "paint the whole part of the face that is clicked: hair, skin, an eye …",
};
const CLASS_NAMES = { // the left and right of the person who is shown
  eye_g: "glasses", l_eye: "left eye", r_eye: "right eye", l_brow: "left brow", r_brow: "right brow", l_ear: "left ear",
  r_ear: "right ear", u_lip: "upper lip", l_lip: "lower lip", ear_r: "earring", neck_l: "necklace", cloth: "clothes",
};
const PART = 1 << 20; // bytes of a file in one message: servers refuse large ones
const MASK_TINT = [86, 180, 233];

// -- what is painted, shared by all views of one widget ---------------------------------------------------------------------

class Store {
  constructor(model) {
    this.model = model;
    this.layers = {};
    for (const name of Object.keys(EMPTY)) this.layers[name] = blank(name);
    this.listeners = new Set();
    this.isConnected = true;
    this.stroke = null; // what is being painted now
    this.page = Math.random().toString(36).slice(2);
    this.number = 0;
    this.sent = []; // strokes that the kernel has not answered yet
    model.on("msg:custom", (content, buffers) => {
      if (content.kind === "layer") this.receive(content.name, content.seen?.[this.page], (values) => values.set(bytes(buffers[0])));
      if (content.page === this.page && content.kind === "download") download(content.name, buffers[0]);
      if (content.page === this.page && content.kind === "code") this.told(content.text);
      if (content.kind !== "stroke") return;
      const isOwn = content.page === this.page;
      this.receive(content.layer, isOwn ? content.number : 0, (values) => {
        if (!isOwn) paste(values, content.layer, content.box, bytes(buffers[0]));
      });
    });
    this.send({ kind: "ready" });
  }

  // Take over what the kernel has. What it has not heard of yet stays on top: it will come to have it, too.
  receive(name, seen, write) {
    this.sent = this.sent.filter((one) => one.number > (seen ?? 0));
    const stroke = this.stroke?.layer === name ? this.stroke : null;
    const values = stroke ? stroke.before : this.layers[name];
    write(values);
    for (const one of this.sent) if (one.layer === name) paste(values, name, one.box, one.values);
    if (stroke) {
      this.layers[name] = values.slice();
      stroke.box.marks.forEach((isMarked, index) => { if (isMarked) this.layers[name].set(stroke.value, index * stroke.value.length); });
    }
    this.changed();
  }

  changed() {
    for (const listener of this.listeners) listener();
  }

  send(content, buffers = []) {
    try {
      this.model.send(content, undefined, buffers);
    } catch {
      this.isConnected = false; // the kernel is gone; the view says so
      this.changed();
    }
  }

  set(name, value) {
    this.model.set(name, value);
    try {
      this.model.save_changes();
    } catch {
      this.isConnected = false;
      this.changed();
    }
  }

  sendStroke(name, box) {
    const [left, top, width, height] = box;
    const depth = EMPTY[name].length;
    const values = new Uint8Array(width * height * depth);
    for (let row = 0; row < height; row++) {
      const from = ((top + row) * SIZE + left) * depth;
      values.set(this.layers[name].subarray(from, from + width * depth), row * width * depth);
    }
    this.number += 1;
    this.sent.push({ number: this.number, layer: name, box, values });
    this.send({ kind: "stroke", layer: name, box, page: this.page, number: this.number }, [values.slice().buffer]);
  }
}

// Hand a file to the browser, which asks where it shall go.
function download(name, view) {
  const url = URL.createObjectURL(new Blob([bytes(view)]));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

// Put the values of a box into a layer.
function paste(layer, name, [left, top, width, height], values) {
  const depth = EMPTY[name].length;
  for (let row = 0; row < height; row++)
    layer.set(values.subarray(row * width * depth, (row + 1) * width * depth), ((top + row) * SIZE + left) * depth);
}

function blank(name) {
  const empty = EMPTY[name];
  const values = new Uint8Array(SIZE * SIZE * empty.length);
  for (let i = 0; i < values.length; i++) values[i] = empty[i % empty.length];
  return values;
}

function bytes(view) {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

// -- marking pixels -----------------------------------------------------------------------------------------------------------

class Box {
  constructor() {
    this.left = this.top = SIZE;
    this.right = this.bottom = -1;
    this.marks = new Uint8Array(SIZE * SIZE);
  }

  add(x, y) {
    this.marks[y * SIZE + x] = 1;
    if (x < this.left) this.left = x;
    if (x > this.right) this.right = x;
    if (y < this.top) this.top = y;
    if (y > this.bottom) this.bottom = y;
  }

  get isEmpty() {
    return this.right < 0;
  }

  get list() {
    return [this.left, this.top, this.right - this.left + 1, this.bottom - this.top + 1];
  }
}

function put(values, value, x, y, box) {
  const at = (y * SIZE + x) * value.length;
  for (let i = 0; i < value.length; i++) values[at + i] = value[i];
  box.add(x, y);
}

// Every pixel whose centre lies within `radius` of the segment from `a` to `b`, in pixels.
function capsule(values, value, a, b, radius, box) {
  const reach = Math.max(radius, 0.5);
  const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
  const length = dx * dx + dy * dy;
  const low = (i) => Math.max(0, Math.floor(Math.min(a[i], b[i]) - reach));
  const high = (i) => Math.min(SIZE - 1, Math.ceil(Math.max(a[i], b[i]) + reach));
  for (let y = low(1); y <= high(1); y++) {
    for (let x = low(0); x <= high(0); x++) {
      const [px, py] = [x + 0.5 - a[0], y + 0.5 - a[1]];
      const t = length ? Math.min(1, Math.max(0, (px * dx + py * dy) / length)) : 0;
      const [ex, ey] = [px - t * dx, py - t * dy];
      if (ex * ex + ey * ey <= reach * reach) put(values, value, x, y, box);
    }
  }
}

// The connected pixels around (x, y) that look the same; `look(index)` is compared.
function flood(values, value, x, y, look, box) {
  const wanted = look(y * SIZE + x);
  const seen = new Uint8Array(SIZE * SIZE);
  const queue = [y * SIZE + x];
  seen[queue[0]] = 1;
  while (queue.length) {
    const index = queue.pop();
    const [cx, cy] = [index % SIZE, Math.floor(index / SIZE)];
    const near = [cx > 0 && index - 1, cx < SIZE - 1 && index + 1, cy > 0 && index - SIZE, cy < SIZE - 1 && index + SIZE];
    for (const next of near) {
      if (next !== false && !seen[next] && look(next) === wanted) {
        seen[next] = 1;
        queue.push(next);
      }
    }
  }
  for (let index = 0; index < seen.length; index++) if (seen[index]) put(values, value, index % SIZE, Math.floor(index / SIZE), box);
}

// -- building the page --------------------------------------------------------------------------------------------------------

function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && name !== "list" && !name.startsWith("aria")) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function button(text, title, onclick, more = {}) {
  const act = (event) => { if (event.currentTarget.getAttribute("aria-disabled") !== "true") onclick(event); };
  return h("button", { type: "button", title, onclick: act, ...more }, text);
}

// A button that is really disabled would lose the keyboard's focus, and with it the painter's keys.
function disable(element, isDisabled) {
  element.setAttribute("aria-disabled", String(isDisabled));
}

function slider(text, title, min, max, step, show, oninput, className) {
  const output = h("output", {});
  const input = h("input", { type: "range", min, max, step, title, className });
  const put = (value) => {
    input.value = value;
    output.textContent = show(Number(value));
    input.setAttribute("aria-valuetext", output.textContent);
  };
  input.addEventListener("input", () => { put(input.value); oninput?.(Number(input.value)); });
  return { row: h("label", { className: "fm-row", title }, h("span", {}, text), output, input), put, input };
}

const signed = (value) => (value > 0 ? "+" : "") + value.toFixed(1);

class View {
  constructor(store, model, el) {
    Object.assign(this, { store, model, el });
    this.choices = model.get("choices");
    this.layer = "mask";
    this.tool = "brush";
    this.radius = 10;
    this.opacity = 0.6;
    this.label = this.choices.classes.indexOf("hair");
    this.paint = "#8a4b2a";
    this.zoom = 1;
    this.cursor = [SIZE / 2, SIZE / 2];
    this.pointers = new Map();
    this.images = {};
    this.build();
    this.listen();
    this.refreshPicture();
    this.refreshAll();
  }

  // -- parts ------------------------------------------------------------------------------------------------------------------

  build() {
    this.root = h("div", { className: "facemug-painter", "data-jp-suppress-context-menu": "true", role: "group" });
    this.root.setAttribute("aria-label", "Face painter");
    this.root.append(h("div", { className: "fm-columns" }, this.buildTools(), this.buildStage(), this.buildGuide()));
    this.el.append(this.root);
    this.root.facemug = this; // for those who look at it from outside
  }

  buildTools() {
    this.layerButtons = Object.entries(LAYER_NAMES).map(([name, text], i) =>
      button(text, `Paint on the ${text.toLowerCase()} layer (${i + 1})`, () => this.choose({ layer: name }), { className: `fm-layer-${name}` }));
    this.toolButtons = TOOLS.map(([name, text, key]) =>
      button(text, `${text}: ${HINTS[name]} (${key.toUpperCase()})`, () => this.choose({ tool: name }), { className: `fm-tool-${name}` }));
    this.size = slider("Brush size", "Diameter in pixels of the face's 256 ([ and ])", 1, 80, 1, (v) => `${v} px`,
      (value) => this.choose({ radius: value / 2 }), "fm-size");
    this.veil = slider("Layer opacity", "How strongly the layers cover the face", 0, 1, 0.05, (v) => `${Math.round(100 * v)} %`,
      (value) => this.choose({ opacity: value }), "fm-opacity");
    this.colour = h("input", { type: "color", value: this.paint, title: "The colour to paint with", className: "fm-colour",
      oninput: () => this.choose({ paint: this.colour.value }) });
    this.colourBox = h("label", { className: "fm-row" }, h("span", {}, "Colour"), this.colour);
    const names = this.choices.classes.map((name) => CLASS_NAMES[name] ?? name);
    this.swatches = names.map((name, index) => button("", `Paint ${name}`, () => this.choose({ label: index }), { className: "fm-swatch" }));
    this.swatches.forEach((swatch, index) => swatch.append(
      h("span", { className: "fm-chip", style: `background: rgb(${this.choices.palette[index]})` }), names[index]));
    this.swatchBox = h("fieldset", {}, h("legend", {}, "Label"), h("div", { className: "fm-swatches" }, ...this.swatches));
    this.undo = button("Undo", "Undo (Ctrl+Z)", () => this.act({ kind: "undo" }), { className: "fm-undo" });
    this.redo = button("Redo", "Redo (Ctrl+Shift+Z)", () => this.act({ kind: "redo" }), { className: "fm-redo" });
    this.clear = button("Clear", "Empty this layer", () => this.act({ kind: "clear", layers: [this.layer] }), { className: "fm-clear" });
    this.clearAll = button("Clear all", "Empty all layers", () => this.act({ kind: "clear", layers: [] }), { className: "fm-clear-all" });
    return h("div", { className: "fm-tools" },
      h("fieldset", {}, h("legend", {}, "Layer"), h("div", { className: "fm-buttons" }, ...this.layerButtons)),
      h("fieldset", {}, h("legend", {}, "Tool"), h("div", { className: "fm-buttons" }, ...this.toolButtons)),
      this.colourBox, this.swatchBox, this.size.row, this.veil.row,
      h("div", { className: "fm-buttons" }, this.undo, this.redo, this.clear, this.clearAll));
  }

  buildStage() {
    this.base = h("canvas", { width: SIZE, height: SIZE, className: "fm-base" });
    this.canvas = h("canvas", { width: SIZE, height: SIZE, className: "fm-paint", tabIndex: 0, role: "application" });
    this.canvas.setAttribute("aria-label", "The face. Paint with mouse, pen or finger; arrow keys move a cursor and the space bar paints.");
    this.ring = h("div", { className: "fm-ring" });
    this.sheet = h("div", { className: "fm-sheet" }, this.base, this.canvas, this.ring);
    this.scroll = h("div", { className: "fm-scroll" }, this.sheet);
    const zoomBy = (factor) => () => this.setZoom(this.zoom * factor);
    this.compare = button("Hold to see the photo", "Shows the photo as it was, while held (C)", () => {}, { className: "fm-compare" });
    for (const event of ["pointerdown", "keydown"]) this.compare.addEventListener(event, (e) => { if (!e.key || e.key === " ") this.showOriginal(true); });
    for (const event of ["pointerup", "pointerleave", "keyup", "blur"]) this.compare.addEventListener(event, () => this.showOriginal(false));
    this.wipe = h("input", { type: "range", min: 0, max: 1, step: 0.01, value: 0, className: "fm-wipe",
      title: "Wipe: the photo as it was, from the left", oninput: () => this.showOriginal(false) });
    this.zoomText = h("span", { className: "fm-zoom" });
    this.status = h("div", { className: "fm-status", role: "status" });
    this.error = h("div", { className: "fm-error", role: "alert" });
    this.bar = h("progress", { max: 1 });
    this.bar.setAttribute("aria-label", "Progress of the edit");
    this.cancel = button("Cancel", "Stop; everything stays as it was (Escape)", () => this.store.send({ kind: "cancel" }), { className: "fm-cancel" });
    this.progress = h("div", { className: "fm-progress" }, this.bar, this.cancel);
    this.history = h("div", { className: "fm-history", role: "group" });
    this.history.setAttribute("aria-label", "History: choose a picture to go on from");
    this.question = h("div", { className: "fm-question", role: "alertdialog", hidden: true });
    this.crowd = h("div", { className: "fm-crowd", role: "group", hidden: true });
    return h("div", { className: "fm-stage" }, this.question, this.crowd, this.scroll,
      h("div", { className: "fm-under" },
        button("−", "Zoom out (−)", zoomBy(1 / 1.5)), this.zoomText, button("+", "Zoom in (+)", zoomBy(1.5)),
        button("Fit", "Show the whole face (0)", () => this.setZoom(1)), h("span", { className: "fm-spring" }), this.wipe, this.compare),
      this.error, this.progress, this.status, this.history);
  }

  buildGuide() {
    this.attributes = {};
    for (const name of this.choices.attributes) {
      this.attributes[name] = slider(name.replaceAll("_", " "), `${name}: 1 is one standard deviation over faces`, -3, 3, 0.1, signed,
        (value) => this.store.set("attributes", { ...this.model.get("attributes"), [name]: value }), `fm-attribute-${name}`);
    }
    this.influences = {};
    for (const name of this.choices.influences) {
      const text = name === "image" ? "photo" : LAYER_NAMES[name]?.toLowerCase() ?? name;
      this.influences[name] = slider(text, `How much ${text} counts: 0 is ignored, 1 is neutral`, 0, 2, 0.1, (v) => v.toFixed(1),
        (value) => this.store.set("influence", { ...this.model.get("influence"), [name]: value }), `fm-influence-${name}`);
    }
    this.refine = slider("Refinement steps", "More steps take longer and look more like the photo", 0, 60, 1, String,
      (value) => this.store.set("refine", value), "fm-refine");
    const entry = (name, type, title, read) => h("input", { type, title, className: `fm-${name}`,
      oninput: (event) => this.store.set(name, read(event.target.value)), onblur: () => this.refreshAll() });
    this.text = entry("text", "text", "What the face shall look like: an old person, glasses …", String);
    this.textSource = entry("text_source", "text", "What it looks like now, as far as that matters", String);
    this.seed = entry("seed", "number", "Decides what neither photo nor guidance does",
      (value) => Math.min(Math.max(0, Math.trunc(Number(value)) || 0), Number.MAX_SAFE_INTEGER));
    Object.assign(this.seed, { min: 0, step: 1 });
    this.exemplarImage = h("img", { alt: "The exemplar" });
    this.noExemplar = button("Remove", "Use no exemplar", () => this.store.send({ kind: "no_exemplar" }), { className: "fm-no-exemplar" });
    this.editButton = button("Edit", "Make the edit (Ctrl+Enter)", () => this.edit(), { className: "fm-primary fm-edit" });
    this.revise = button("Change this edit", "Go back one edit, with everything painted as it was", () => this.act({ kind: "revise" }),
      { className: "fm-revise" });
    this.saveName = h("input", { type: "text", value: "edit.json", title: "The script's file; pictures are written beside it", className: "fm-save-name" });
    const save = button("Save", "Write the edit script and the whole photo", () => this.store.send({ kind: "save", name: this.saveName.value }), { className: "fm-save" });
    const ask = (kind) => () => this.act({ kind, page: this.store.page });
    const take = button("Download", "Script, edited photo and mask as one file for this computer", ask("download"), { className: "fm-download" });
    const copy = button("Copy as code", "Python that makes this very picture", () => {
      this.store.told = (text) => this.showCode(text);
      ask("code")();
    }, { className: "fm-copy" });
    this.code = h("textarea", { className: "fm-code", readOnly: true, rows: 8, hidden: true, title: "Python that makes this very picture" });
    const row = (text, element) => h("label", { className: "fm-row" }, h("span", {}, text), element);
    const list = (title, sliders) => h("details", { className: `fm-${title.toLowerCase()}` }, h("summary", {}, title),
      h("div", { className: "fm-list" }, ...Object.values(sliders).map((one) => one.row)));
    return h("div", { className: "fm-guide" },
      this.buildFile("photo", "Open photo …", "Begin with another photo; it can also be dropped on the face"),
      h("div", { className: "fm-exemplar" }, this.exemplarImage,
        this.buildFile("exemplar", "Exemplar …", "A face whose looks the painted part shall take"), this.noExemplar),
      row("Text", this.text), row("instead of", this.textSource),
      list("Attributes", this.attributes), list("Influence", this.influences),
      this.refine.row, row("Seed", this.seed), this.editButton, this.revise,
      h("div", {}, h("div", { className: "fm-title" }, "Save script and photo"), h("div", { className: "fm-exemplar" }, this.saveName, save)),
      h("div", { className: "fm-buttons" }, take, copy), this.code);
  }

  buildFile(what, text, title) {
    const input = h("input", { type: "file", accept: "image/*", className: `fm-file-${what}`, onchange: () => {
      if (input.files[0]) this.sendFile(what, input.files[0]);
      input.value = "";
    } });
    return h("label", { className: "fm-file", title }, text, input);
  }

  // -- reacting ---------------------------------------------------------------------------------------------------------------

  listen() {
    this.onStore = () => { this.draw(); this.refreshStatus(); };
    this.store.listeners.add(this.onStore);
    this.onPicture = () => this.refreshPicture();
    this.onState = () => this.refreshAll();
    this.pictureEvents = ["picture", "original", "parse"].map((name) => `change:${name}`);
    this.stateEvents = ["history", "current", "exemplar", "attributes", "influence", "text", "text_source", "refine", "seed", "busy", "share",
      "error", "note", "can_undo", "can_redo", "is_off", "offer"].map((name) => `change:${name}`);
    for (const event of this.pictureEvents) this.model.on(event, this.onPicture);
    for (const event of this.stateEvents) this.model.on(event, this.onState);
    const on = (event, handler) => this.canvas.addEventListener(event, handler);
    on("pointerdown", (event) => this.down(event));
    on("pointermove", (event) => this.move(event));
    on("pointerup", (event) => this.up(event));
    on("pointercancel", (event) => this.up(event));
    on("lostpointercapture", (event) => this.up(event));
    on("pointerleave", () => { if (!this.stroke) this.ring.style.display = "none"; });
    on("contextmenu", (event) => { event.preventDefault(); event.stopPropagation(); });
    on("blur", () => { if (this.stroke?.isByKey) this.end(); });
    this.scroll.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      this.setZoom(this.zoom * (event.deltaY < 0 ? 1.2 : 1 / 1.2), event);
    }, { passive: false });
    this.root.addEventListener("keydown", (event) => this.key(event));
    // JupyterLab looks for its shortcuts at the element that has the focus, and only then at those around it.
    this.root.addEventListener("focusin", (event) => event.target.setAttribute("data-lm-suppress-shortcuts", "true"));
    this.root.addEventListener("keyup", (event) => {
      if (event.key === "c" || event.key === "C") this.showOriginal(false);
      if (event.key === " " && this.stroke?.isByKey) this.end();
    });
    this.root.addEventListener("dragover", (event) => { event.preventDefault(); this.root.classList.add("fm-dropping"); });
    this.root.addEventListener("dragleave", () => this.root.classList.remove("fm-dropping"));
    this.root.addEventListener("drop", (event) => {
      event.preventDefault();
      event.stopPropagation();
      this.root.classList.remove("fm-dropping");
      if (event.dataTransfer.files[0]) this.sendFile("photo", event.dataTransfer.files[0]);
    });
  }

  stop() {
    this.end();
    this.store.listeners.delete(this.onStore);
    for (const event of this.pictureEvents) this.model.off(event, this.onPicture);
    for (const event of this.stateEvents) this.model.off(event, this.onState);
    this.root.remove();
  }

  choose(changes) {
    Object.assign(this, changes);
    this.refreshTools();
    this.draw();
  }

  // Ask in place; the promise gives whether the answer was yes.
  ask(text, yes, no) {
    return new Promise((answer) => {
      const say = (isYes) => () => { this.hide(this.question, true); answer(isYes); };
      const refuse = button(no, no, say(false), { className: "fm-no" });
      this.question.setAttribute("aria-label", text);
      this.question.replaceChildren(h("span", {}, text), h("div", { className: "fm-buttons" }, button(yes, yes, say(true), { className: "fm-yes" }), refuse));
      this.question.hidden = false;
      refuse.focus({ preventScroll: true });
    });
  }

  async showCode(text) {
    this.code.value = text;
    this.code.hidden = false;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      this.code.focus({ preventScroll: true }); // the browser lets nobody write there: Ctrl+C does
      this.code.select();
    }
  }

  // A photo of several faces, each of which is a button.
  refreshCrowd() {
    const offer = this.model.get("offer");
    if (offer === this.shownOffer) return;
    this.shownOffer = offer;
    const boxes = offer?.boxes ?? [];
    this.hide(this.crowd, !boxes.length);
    if (!boxes.length) return this.crowd.replaceChildren();
    const percent = (value) => `${100 * value}%`;
    const faces = boxes.map(([left, top, right, bottom], number) => button("", `Take face ${number + 1}`,
      () => this.act({ kind: "face", number }), { className: "fm-face",
        style: `left: ${percent(left)}; top: ${percent(top)}; width: ${percent(right - left)}; height: ${percent(bottom - top)}` }));
    faces.forEach((face, number) => face.setAttribute("aria-label", `Face ${number + 1}`));
    this.crowd.replaceChildren(h("div", { className: "fm-title" }, `${offer.name} shows ${boxes.length} faces: click the one that is meant`),
      h("div", { className: "fm-photo" }, h("img", { src: offer.picture, alt: offer.name }), ...faces),
      button("None of them", "Everything stays as it is", () => this.act({ kind: "face", number: null }), { className: "fm-nobody" }));
  }

  async sendFile(what, file) {
    const edits = this.model.get("history").length - 1;
    const lost = `${edits} ${edits === 1 ? "edit" : "edits"}`;
    if (what === "photo" && edits && !(await this.ask(`Open ${file.name}? The history of this photo, ${lost}, goes with it.`, "Open it", "Stay here"))) return;
    const parts = Math.max(1, Math.ceil(file.size / PART));
    const data = await file.arrayBuffer();
    for (let part = 0; part < parts; part++)
      this.store.send({ kind: "file", what, name: file.name, part, parts }, [data.slice(part * PART, (part + 1) * PART)]);
  }

  // What is asked for comes after the stroke that is being painted.
  act(content) {
    this.end();
    this.store.send(content);
  }

  edit() {
    const field = document.activeElement; // it may show what it had before the last edit
    if (this.root.contains(field) && field.matches("input[type=text], input[type=number]")) field.dispatchEvent(new Event("input"));
    this.act({ kind: "edit" });
  }

  // -- painting ---------------------------------------------------------------------------------------------------------------

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * SIZE, ((event.clientY - box.top) / box.height) * SIZE];
  }

  get stroke() {
    return this.store.stroke;
  }

  valueOf(tool) {
    if (tool === "eraser") return EMPTY[this.layer];
    if (this.layer === "semantics") return [this.label];
    if (this.layer === "colour") return [1, 3, 5].map((at) => parseInt(this.paint.slice(at, at + 2), 16)).concat(255);
    return [255];
  }

  down(event) {
    this.canvas.focus({ preventScroll: true });
    if (event.pointerType === "touch") this.pointers.set(event.pointerId, event);
    this.canvas.setPointerCapture(event.pointerId);
    event.preventDefault();
    if (this.pointers.size === 2) this.beginPinch();
    if (this.pinch) return; // until all fingers are up
    if (event.button === 0) this.begin(this.place(event), this.tool, { pointer: event.pointerId, held: 1 });
    if (event.button === 2) this.begin(this.place(event), "eraser", { pointer: event.pointerId, held: 2 });
    if (event.button === 5) this.begin(this.place(event), "eraser", { pointer: event.pointerId, held: 32 }); // a pen's other end
  }

  move(event) {
    if (this.pointers.has(event.pointerId)) this.pointers.set(event.pointerId, event);
    // Of two buttons that are down no event but this one tells that one of them was released.
    if (this.stroke?.pointer === event.pointerId && !(event.buttons & this.stroke.held)) this.end();
    this.cursor = this.place(event);
    this.drawRing();
    if (this.pinch) this.doPinch();
    else if (this.stroke?.isByKey || this.stroke?.pointer === event.pointerId) this.extend(this.cursor);
  }

  up(event) {
    this.pointers.delete(event.pointerId);
    if (!this.pointers.size) this.pinch = null;
    if (this.stroke?.pointer === event.pointerId) this.end();
  }

  // `by` says what holds the stroke: `pointer` and the bit of its button (`held`), or a key (`isByKey`).
  begin(point, tool, by) {
    this.end();
    if (this.model.get("is_off")) return;
    const { layer, radius } = this;
    const values = this.store.layers[layer];
    const stroke = { layer, tool, radius, value: this.valueOf(tool), before: values.slice(), box: new Box(), from: point, last: point, ...by };
    this.store.stroke = stroke;
    const [x, y] = point.map((value) => Math.min(SIZE - 1, Math.max(0, Math.floor(value))));
    if (tool === "fill") flood(values, stroke.value, x, y, this.look(), stroke.box);
    else if (tool === "region") this.paintRegion(x, y);
    else capsule(values, stroke.value, point, point, radius, stroke.box);
    this.store.changed();
  }

  extend(point) {
    const { layer, tool, radius, value, before, from, last } = this.stroke;
    const values = this.store.layers[layer];
    if (tool === "fill" || tool === "region") return;
    if (tool === "line") {
      values.set(before);
      this.stroke.box = new Box();
    }
    capsule(values, value, tool === "line" ? from : last, point, radius, this.stroke.box);
    this.stroke.last = point;
    this.store.changed();
  }

  end() {
    if (!this.stroke) return;
    const { layer, box } = this.stroke;
    this.store.stroke = null;
    if (!box.isEmpty) this.store.sendStroke(layer, box.list);
  }

  abandon() {
    if (!this.stroke) return;
    this.store.layers[this.stroke.layer].set(this.stroke.before);
    this.store.stroke = null;
    this.store.changed();
  }

  // What fill compares: labels as they are shown, painted over the face's own; any other layer by its paint.
  look() {
    const values = this.store.layers[this.layer];
    if (this.layer === "colour") return (index) => (values[4 * index + 3] ? (values[4 * index] << 16) | (values[4 * index + 1] << 8) | values[4 * index + 2] : -1);
    if (this.layer !== "semantics") return (index) => values[index];
    return (index) => (values[index] === 255 ? this.parse[index] : values[index]);
  }

  paintRegion(x, y) {
    const wanted = this.parse[y * SIZE + x];
    const values = this.store.layers[this.layer];
    for (let index = 0; index < SIZE * SIZE; index++)
      if (this.parse[index] === wanted) put(values, this.stroke.value, index % SIZE, Math.floor(index / SIZE), this.stroke.box);
  }

  // -- zoom -------------------------------------------------------------------------------------------------------------------

  setZoom(zoom, at) {
    const before = this.canvas.getBoundingClientRect();
    const frame = this.scroll.getBoundingClientRect();
    const x = at?.clientX ?? frame.left + frame.width / 2;
    const y = at?.clientY ?? frame.top + frame.height / 2;
    const place = [(x - before.left) / before.width, (y - before.top) / before.height];
    this.zoom = Math.min(8, Math.max(1, zoom));
    this.sheet.style.width = `${100 * this.zoom}%`;
    const after = this.canvas.getBoundingClientRect();
    this.scroll.scrollLeft += after.left + place[0] * after.width - x;
    this.scroll.scrollTop += after.top + place[1] * after.height - y;
    this.refreshTools();
    this.drawRing();
  }

  spread() {
    const [a, b] = [...this.pointers.values()];
    return { apart: Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY), clientX: (a.clientX + b.clientX) / 2, clientY: (a.clientY + b.clientY) / 2 };
  }

  beginPinch() {
    this.abandon();
    this.pinch = { ...this.spread(), zoom: this.zoom };
  }

  doPinch() {
    if (this.pointers.size < 2) return;
    const now = this.spread();
    this.scroll.scrollLeft -= now.clientX - this.pinch.clientX;
    this.scroll.scrollTop -= now.clientY - this.pinch.clientY;
    this.setZoom((this.pinch.zoom * now.apart) / Math.max(1, this.pinch.apart), now);
    Object.assign(this.pinch, { clientX: now.clientX, clientY: now.clientY });
  }

  // -- keys -------------------------------------------------------------------------------------------------------------------

  key(event) {
    const isTyping = event.target.matches("input[type=text], input[type=number], textarea");
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) return this.handle(event, () => this.edit());
    if (event.key === "Escape" && this.model.get("busy")) return this.handle(event, () => this.store.send({ kind: "cancel" }));
    if (event.key === "Escape" && this.stroke) return this.handle(event, () => this.abandon());
    // Keys without Ctrl are the painter's own, also those that it has no use for.
    if (!event.ctrlKey && !event.metaKey && !event.altKey) event.stopPropagation();
    if (isTyping || event.altKey) return;
    const key = event.key.toLowerCase();
    if (event.ctrlKey || event.metaKey) {
      if (key === "z") this.handle(event, () => this.act({ kind: event.shiftKey ? "redo" : "undo" }));
      if (key === "y") this.handle(event, () => this.act({ kind: "redo" }));
      return;
    }
    const tool = TOOLS.find(([, , letter]) => letter === key);
    const layer = Object.keys(LAYER_NAMES)[Number(event.key) - 1];
    if (tool) this.handle(event, () => this.choose({ tool: tool[0] }));
    else if (layer) this.handle(event, () => this.choose({ layer }));
    else if (key === "[" || key === "]") this.handle(event, () => this.choose({ radius: Math.min(40, Math.max(0.5, this.radius + (key === "[" ? -1 : 1))) }));
    else if (key === "+" || key === "=") this.handle(event, () => this.setZoom(this.zoom * 1.5));
    else if (key === "-") this.handle(event, () => this.setZoom(this.zoom / 1.5));
    else if (key === "0") this.handle(event, () => this.setZoom(1));
    else if (key === "c") this.handle(event, () => this.showOriginal(true));
    else if (event.target === this.canvas) this.keyOnCanvas(event);
  }

  keyOnCanvas(event) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const step = steps[event.key];
    if (step) {
      const far = event.shiftKey ? 1 : 6;
      this.handle(event, () => {
        this.cursor = this.cursor.map((value, i) => Math.min(SIZE - 0.5, Math.max(0.5, value + far * step[i])));
        this.drawRing();
        if (this.stroke?.isByKey) this.extend(this.cursor);
      });
    } else if (event.key === " ") {
      this.handle(event, () => { if (!event.repeat) this.begin(this.cursor, this.tool, { isByKey: true }); });
    }
  }

  handle(event, action) {
    event.preventDefault();
    event.stopPropagation();
    action();
  }

  // -- showing ----------------------------------------------------------------------------------------------------------------

  async refreshPicture() {
    const parse = this.model.get("parse");
    this.parse = parse?.byteLength === SIZE * SIZE ? bytes(parse).slice() : new Uint8Array(SIZE * SIZE);
    for (const name of ["picture", "original"]) {
      const data = this.model.get(name);
      if (!data?.byteLength || this.images[`${name} data`] === data) continue;
      this.images[`${name} data`] = data;
      const image = await createImageBitmap(new Blob([bytes(data)], { type: "image/png" }));
      if (this.images[`${name} data`] === data) this.images[name] = image; // not overtaken by a newer one
    }
    this.showOriginal(false);
    this.draw();
  }

  showOriginal(isOriginal) {
    const image = this.images[isOriginal ? "original" : "picture"];
    const context = this.base.getContext("2d");
    if (image) context.drawImage(image, 0, 0, SIZE, SIZE);
    const { original } = this.images;
    const part = isOriginal || !original ? 0 : Number(this.wipe.value);
    if (part) {
      context.drawImage(original, 0, 0, part * original.width, original.height, 0, 0, part * SIZE, SIZE);
      context.fillStyle = "#fff";
      if (part < 1) context.fillRect(Math.round(part * SIZE) - 1, 0, 1, SIZE);
    }
    this.canvas.style.visibility = isOriginal ? "hidden" : "visible";
  }

  draw() {
    if (this.isDrawing) return;
    this.isDrawing = true;
    requestAnimationFrame(() => {
      this.isDrawing = false;
      const context = this.canvas.getContext("2d");
      const picture = context.createImageData(SIZE, SIZE);
      this.overlay(picture.data);
      context.putImageData(picture, 0, 0);
    });
  }

  overlay(out) {
    const { mask, sketch, semantics, colour } = this.store.layers;
    const strong = Math.round(255 * this.opacity);
    const showsParse = this.layer === "semantics";
    const write = (at, rgb, alpha) => { out[at] = rgb[0]; out[at + 1] = rgb[1]; out[at + 2] = rgb[2]; out[at + 3] = alpha; };
    const isEdge = (layer, index, x) => (x > 0 && !layer[index - 1]) || (x < SIZE - 1 && !layer[index + 1]) || !(layer[index - SIZE] ?? 255) || !(layer[index + SIZE] ?? 255);
    const touches = (layer, index, x) => (x > 0 && layer[index - 1]) || (x < SIZE - 1 && layer[index + 1]) || layer[index - SIZE] || layer[index + SIZE];
    for (let index = 0; index < SIZE * SIZE; index++) {
      const at = 4 * index;
      const x = index % SIZE;
      if (mask[index]) write(at, MASK_TINT, Math.round(0.55 * strong));
      const label = semantics[index] !== 255 ? semantics[index] : showsParse ? this.parse[index] : 255;
      if (label !== 255) write(at, this.choices.palette[label], strong);
      if (colour[at + 3]) write(at, colour.subarray(at, at + 3), strong);
      if (mask[index] && isEdge(mask, index, x)) write(at, (x + Math.floor(index / SIZE)) % 6 < 3 ? [255, 255, 255] : [0, 0, 0], 255);
      if (sketch[index]) write(at, [0, 0, 0], 255);
      else if (touches(sketch, index, x)) write(at, [255, 255, 255], 200);
    }
  }

  drawRing() {
    const side = (100 * Math.max(1, 2 * this.radius)) / SIZE;
    Object.assign(this.ring.style, { display: "block", width: `${side}%`, height: `${side}%`,
      left: `${(100 * this.cursor[0]) / SIZE - side / 2}%`, top: `${(100 * this.cursor[1]) / SIZE - side / 2}%` });
  }

  refreshAll() {
    this.refreshTools();
    this.refreshStatus();
    this.refreshHistory();
    this.refreshCrowd();
    const { model } = this;
    for (const [name, one] of Object.entries(this.attributes)) one.put(model.get("attributes")[name] ?? 0);
    for (const [name, one] of Object.entries(this.influences)) one.put(model.get("influence")[name] ?? 1);
    this.refine.put(model.get("refine"));
    for (const [input, name] of [[this.text, "text"], [this.textSource, "text_source"], [this.seed, "seed"]])
      if (document.activeElement !== input) input.value = model.get(name);
    const exemplar = model.get("exemplar");
    this.hide(this.noExemplar, !exemplar);
    this.exemplarImage.hidden = !exemplar;
    if (exemplar && this.exemplarImage.src !== exemplar) this.exemplarImage.src = exemplar;
  }

  // What has the keyboard's focus must not vanish under it: the next key would be the notebook's.
  hide(element, isHidden) {
    if (isHidden && element.contains(document.activeElement)) this.canvas.focus({ preventScroll: true });
    element.hidden = isHidden;
  }

  refreshTools() {
    Object.keys(LAYER_NAMES).forEach((name, i) => this.layerButtons[i].setAttribute("aria-pressed", name === this.layer));
    TOOLS.forEach(([name], i) => this.toolButtons[i].setAttribute("aria-pressed", name === this.tool));
    this.swatches.forEach((swatch, i) => swatch.setAttribute("aria-pressed", i === this.label));
    this.colourBox.hidden = this.layer !== "colour";
    this.swatchBox.hidden = this.layer !== "semantics";
    this.size.put(Math.round(2 * this.radius));
    this.veil.put(this.opacity);
    this.zoomText.textContent = `${Math.round(100 * this.zoom)} %`;
  }

  refreshStatus() {
    const busy = this.model.get("busy");
    const lost = this.store.isConnected ? "" : "the kernel is gone: run the cell again";
    this.error.textContent = this.model.get("error") || lost;
    this.hide(this.progress, !busy);
    const isOff = this.model.get("is_off");
    if (isOff) this.abandon();
    this.root.classList.toggle("fm-off", isOff);
    this.canvas.setAttribute("aria-disabled", String(isOff));
    this.bar.value = this.model.get("share");
    this.status.textContent = busy ? `${busy} …${isOff ? " painting goes on when it is done" : ""}` : this.model.get("note");
    disable(this.editButton, Boolean(busy));
    disable(this.revise, Boolean(busy) || this.model.get("current") === 0);
    disable(this.undo, isOff || !this.model.get("can_undo"));
    disable(this.redo, isOff || !this.model.get("can_redo"));
    for (const one of [this.clear, this.clearAll, this.noExemplar]) disable(one, isOff);
    for (const one of [...this.root.querySelectorAll(".fm-file"), ...this.history.children]) disable(one, Boolean(busy));
    for (const one of this.root.querySelectorAll("input[type=file]")) one.disabled = Boolean(busy);
  }

  refreshHistory() {
    const history = this.model.get("history");
    const current = this.model.get("current");
    const shown = JSON.stringify([history.map((one) => one.number), current, this.model.get("original")?.byteLength]);
    if (shown === this.shownHistory) return;
    this.shownHistory = shown;
    const focused = [...this.history.children].indexOf(document.activeElement);
    this.history.replaceChildren(...history.map((one) => {
      const from = one.parent === null ? "" : `, made of ${one.parent}`;
      const entry = button("", `Picture ${one.number}: ${one.name}${from}`, () => this.act({ kind: "go", number: one.number }), { className: "fm-moment" });
      entry.setAttribute("aria-pressed", one.number === current);
      entry.style.gridRow = one.row + 1;
      entry.style.gridColumn = one.number + 1;
      entry.append(h("img", { src: one.thumbnail, alt: "" }), h("span", {}, `${one.number} ${one.name}`));
      return entry;
    }));
    if (focused >= 0) (this.history.children[focused] ?? this.canvas).focus({ preventScroll: true });
    const chosen = this.history.querySelector('[aria-pressed="true"]'); // scrollIntoView would move the notebook, too
    if (chosen) this.history.scrollLeft = chosen.offsetLeft - this.history.clientWidth / 2;
  }
}

// One closure for each widget: its views share the store.
export default () => {
  let store;
  return {
    initialize({ model }) {
      store = new Store(model);
    },
    render({ model, el }) {
      store ??= new Store(model);
      const view = new View(store, model, el);
      return () => view.stop();
    },
  };
};
