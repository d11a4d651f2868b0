// -- one view of the painter, put together from its parts ---------------------------------------------------------------------------

class View {
  constructor(store, model, el) {
    Object.assign(this, { store, model, el });
    this.choices = model.get("choices");
    this.layer = "mask";
    this.tool = "brush";
    this.radius = 10;
    this.opacity = 0.6;
    this.hasOutline = true;
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

  // -- reacting ---------------------------------------------------------------------------------------------------------------

  listen() {
    this.onStore = () => { this.draw(); this.refreshStatus(); };
    this.store.listeners.add(this.onStore);
    this.onPicture = () => this.refreshPicture();
    this.onState = () => this.refreshAll();
    this.pictureEvents = ["picture", "original", "parse"].map((name) => `change:${name}`);
    this.stateEvents = ["history", "current", "exemplar", "attributes", "influence", "text", "text_source", "refine", "seed", "variety", "size", "shown_size", "system",
      "system_offer", "system_attributes", "variations", "busy", "share", "error", "note", "can_undo", "can_redo", "is_off", "offer", "saved"].map((name) => `change:${name}`);
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
    clearTimeout(this.ringTimer);
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
    this.crowd.scrollIntoView({ block: "nearest" });
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
    this.isAsking = this.isAsking || WORK.includes(content.kind);
    this.store.send(content);
  }

  giveUp() {
    this.isAsking = false;
    this.isCancelling = true;
    this.store.send({ kind: "cancel" });
    this.refreshStatus();
  }

  edit() {
    this.settleField();
    this.act({ kind: "edit" });
  }

  // The field that is being typed in may show what it had before the last edit.
  settleField() {
    const field = document.activeElement;
    if (this.root.contains(field) && field.matches("input[type=text], input[type=number]")) field.dispatchEvent(new Event("input"));
  }
}

for (const part of [Layout, Guiding, Varying, Resuming, Painting, Moving, Showing]) {
  const { constructor, ...methods } = Object.getOwnPropertyDescriptors(part.prototype);
  const twice = Object.keys(methods).filter((name) => Object.hasOwn(View.prototype, name));
  if (twice.length) throw new Error(`${twice} of ${part.name} is there already`);
  Object.defineProperties(View.prototype, methods);
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
