// The painter's browser side. All state that matters lives in the kernel: this module shows it, lets people paint on copies of
// the layers, and sends each finished stroke as one message with the box of pixels that it changed.
//
// The files of this folder are put together in the order of their names: one module, without a build step.

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
const WORK = ["edit", "vary", "take"]; // what is asked for and takes time: Escape stops it also before the kernel has said so
const PART = 1 << 20; // bytes of a file in one message: servers refuse large ones
const RING_STAYS = 1200; // ms that the size of the brush is shown after it was changed
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
