// -- the part of a View that zooms, and knows the keys ----------------------------------------------------------------------------

class Moving {
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
    const isTyping = event.target.matches("input[type=text], input[type=number], textarea, select");
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) return this.handle(event, () => this.edit());
    if (event.key === "Escape" && (this.isAsking || this.model.get("busy"))) return this.handle(event, () => this.giveUp());
    if (event.key === "Escape" && !this.stroke && this.model.get("variations").length)
      return this.handle(event, () => this.act({ kind: "dismiss" }));
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
    else if (key === "[" || key === "]") this.handle(event, () => this.resize(this.radius + (key === "[" ? -1 : 1)));
    else if (key === "o") this.handle(event, () => this.choose({ hasOutline: !this.hasOutline }));
    else if (key === "v") this.handle(event, () => this.vary(false));
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
}
