// -- the part of a View that builds its page ------------------------------------------------------------------------------------

class Layout {
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
      (value) => this.resize(value / 2), "fm-size");
    this.outline = h("input", { type: "checkbox", checked: true, className: "fm-outline", onchange: () => this.choose({ hasOutline: this.outline.checked }) });
    const outlineBox = h("label", { className: "fm-check", title: "Show where the mask ends (O)" }, this.outline, h("span", {}, "Mask outline"));
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
      this.colourBox, this.swatchBox, this.size.row, this.veil.row, outlineBox,
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
    this.cancel = button("Cancel", "Stop; everything stays as it was (Escape)", () => this.giveUp(), { className: "fm-cancel" });
    this.progress = h("div", { className: "fm-progress" }, this.bar, this.cancel);
    this.history = h("div", { className: "fm-history", role: "group" });
    this.history.setAttribute("aria-label", "History: choose a picture to go on from");
    this.question = h("div", { className: "fm-question", role: "alertdialog", hidden: true });
    this.crowd = h("div", { className: "fm-crowd", role: "group", hidden: true });
    return h("div", { className: "fm-stage" }, this.buildSaved(), this.question, this.crowd, this.scroll, this.buildVariations(),
      h("div", { className: "fm-under" },
        button("−", "Zoom out (−)", zoomBy(1 / 1.5)), this.zoomText, button("+", "Zoom in (+)", zoomBy(1.5)),
        button("Fit", "Show the whole face (0)", () => this.setZoom(1)), h("span", { className: "fm-comparing" }, h("label", {}, "Wipe", this.wipe), this.compare)),
      this.error, this.progress, this.status, this.history);
  }
}
