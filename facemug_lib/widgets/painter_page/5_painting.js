// -- the part of a View that paints ---------------------------------------------------------------------------------------------

class Painting {
  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * SIZE, ((event.clientY - box.top) / box.height) * SIZE];
  }

  get stroke() {
    return this.store.stroke;
  }

  // Another brush is shown at once: where the pointer was last, or in the middle of what is seen of the face.
  resize(radius) {
    this.choose({ radius: Math.min(40, Math.max(0.5, radius)) });
    if (!this.canvas.matches(":hover, :focus-visible")) {
      const [frame, face] = [this.scroll.getBoundingClientRect(), this.canvas.getBoundingClientRect()];
      this.cursor = [((frame.left + frame.width / 2 - face.left) / face.width) * SIZE, ((frame.top + frame.height / 2 - face.top) / face.height) * SIZE];
    }
    this.drawRing();
    clearTimeout(this.ringTimer);
    this.ringTimer = setTimeout(() => { if (!this.canvas.matches(":hover, :focus-visible")) this.ring.style.display = "none"; }, RING_STAYS);
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
}
