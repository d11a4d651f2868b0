// -- the part of a View that shows what the kernel has -----------------------------------------------------------------------------

class Showing {
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
    const image = isOriginal ? this.images.original : this.looked ?? this.images.picture;
    const context = this.base.getContext("2d");
    const side = this.images.picture?.width ?? SIZE; // more than SIZE where the photo shows more
    if (this.base.width !== side) this.base.width = this.base.height = side;
    if (image) context.drawImage(image, 0, 0, side, side);
    const { original } = this.images;
    const part = isOriginal || this.looked || !original ? 0 : Number(this.wipe.value);
    if (part) {
      context.drawImage(original, 0, 0, part * original.width, original.height, 0, 0, part * side, side);
      context.fillStyle = "#fff";
      if (part < 1) context.fillRect(Math.round(part * side) - side / SIZE, 0, side / SIZE, side);
    }
    this.canvas.style.opacity = isOriginal || this.looked ? "0" : ""; // what is hidden would lose the focus
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
      if (this.hasOutline && mask[index] && isEdge(mask, index, x)) write(at, (x + Math.floor(index / SIZE)) % 6 < 3 ? [255, 255, 255] : [0, 0, 0], 255);
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
    this.refreshVariations();
    this.refreshSaved();
    this.refreshGuide();
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
    this.outline.checked = this.hasOutline;
    this.zoomText.textContent = `${Math.round(100 * this.zoom)} %`;
  }

  refreshStatus() {
    const busy = this.model.get("busy");
    if (busy || this.model.get("error")) this.isAsking = false;
    if (!busy) this.isCancelling = false;
    const lost = this.store.isConnected ? "" : "the kernel is gone: run the cell again, or reload the page, to go on";
    this.error.textContent = this.model.get("error") || lost;
    this.hide(this.progress, !busy);
    const isOff = this.model.get("is_off");
    if (isOff) this.abandon();
    this.root.classList.toggle("fm-off", isOff);
    this.canvas.setAttribute("aria-disabled", String(isOff));
    this.bar.value = this.model.get("share");
    this.status.textContent = this.isCancelling ? "cancelling …" : busy ? `${busy} …${isOff ? " painting goes on when it is done" : ""}` : this.model.get("note");
    for (const one of [this.editButton, this.varyButton]) disable(one, Boolean(busy));
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
