// -- the part of a View that sets what guides an edit, and asks for it ---------------------------------------------------------------

class Guiding {
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
    this.refine = slider("Refinement steps", "More steps take longer and look more like the photo; left of 0 is auto, a few seconds", -1, 60, 1,
      (value) => (value < 0 ? "auto" : String(value)), (value) => this.store.set("refine", value < 0 ? "auto" : value), "fm-refine");
    const entry = (name, type, title, read) => h("input", { type, title, className: `fm-${name}`,
      oninput: (event) => this.store.set(name, read(event.target.value)), onblur: () => this.refreshAll() });
    this.text = entry("text", "text", "What the face shall look like: an old person, glasses …", String);
    this.textSource = entry("text_source", "text", "What it looks like now, as far as that matters", String);
    const seed = entry("seed", "number", "Decides what neither photo nor guidance does",
      (value) => Math.min(Math.max(0, Math.trunc(Number(value)) || 0), Number.MAX_SAFE_INTEGER));
    Object.assign(seed, { min: 0, step: 1 });
    const seedBox = this.buildSeed(seed);
    this.variety = slider("Variety", "How far the seed, and not the rest of the photo, decides what is new", 0, 1, 0.05,
      (v) => `${Math.round(100 * v)} %`, (value) => this.store.set("variety", value), "fm-variety");
    this.buildSize();
    this.buildSystem();
    this.exemplarImage = h("img", { alt: "The exemplar" });
    this.noExemplar = button("Remove", "Use no exemplar", () => this.store.send({ kind: "no_exemplar" }), { className: "fm-no-exemplar" });
    this.editButton = button("Edit", "Make the edit (Ctrl+Enter)", () => this.edit(), { className: "fm-primary fm-edit" });
    this.varyButton = button("Variations", "Four seeds of this edit side by side (V)", () => this.vary(false), { className: "fm-vary" });
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
    this.own = h("div", { className: "fm-own" },
      h("div", { className: "fm-exemplar" }, this.exemplarImage,
        this.buildFile("exemplar", "Exemplar …", "A face whose looks the painted part shall take"), this.noExemplar),
      row("Text", this.text), row("instead of", this.textSource),
      list("Attributes", this.attributes), list("Influence", this.influences),
      this.refine.row, seedBox, this.variety.row, row("Size", this.paintedSize));
    return h("div", { className: "fm-guide" },
      this.buildFile("photo", "Open photo …", "Begin with another photo; it can also be dropped on the face"),
      this.systemBox, this.own, this.editButton, this.varyButton, this.revise,
      h("div", {}, h("div", { className: "fm-title" }, "Save script and photo"), h("div", { className: "fm-exemplar" }, this.saveName, save)),
      h("div", { className: "fm-buttons" }, take, copy), this.code);
  }

  // How large the painted square is. Larger than the photo shows the face is no use.
  buildSize() {
    this.paintedSize = h("select", { className: "fm-painted-size", title: "Side of the square around the face that is painted, in pixels: as large as the photo shows it, or less and quicker",
      onchange: () => this.store.set("size", Number(this.paintedSize.value) || "auto") });
    this.paintedSize.append(...["auto", ...this.choices.sizes].map((size) => h("option", { value: size }, size === "auto" ? "" : `${size} px`)));
  }

  // Other published editors take the place of all other guidance, where they are installed.
  buildSystem() {
    this.system = h("select", { className: "fm-system", title: "Which networks edit: FACEMUG's own, or another published editor with attributes of its own",
      onchange: () => this.store.set("system", this.system.value) });
    this.system.append(h("option", { value: "" }, "FACEMUG"), ...this.choices.systems.map((name) => h("option", { value: name }, name.replaceAll("_", " "))));
    this.systemList = h("div", { className: "fm-list" });
    this.systemBox = h("div", { className: "fm-systems", hidden: !this.choices.systems.length },
      h("label", { className: "fm-row" }, h("span", {}, "System"), this.system), this.systemList);
    this.strengths = {};
  }

  refreshGuide() {
    const { model } = this;
    for (const [name, one] of Object.entries(this.attributes)) one.put(model.get("attributes")[name] ?? 0);
    for (const [name, one] of Object.entries(this.influences)) one.put(model.get("influence")[name] ?? 1);
    const refine = model.get("refine");
    this.refine.put(typeof refine === "number" ? refine : -1);
    this.variety.put(model.get("variety"));
    for (const [input, name] of [[this.text, "text"], [this.textSource, "text_source"], [this.seed, "seed"]])
      if (document.activeElement !== input) input.value = model.get(name);
    const exemplar = model.get("exemplar");
    this.hide(this.noExemplar, !exemplar);
    this.exemplarImage.hidden = !exemplar;
    if (exemplar && this.exemplarImage.src !== exemplar) this.exemplarImage.src = exemplar;
    const shown = model.get("shown_size");
    for (const option of this.paintedSize.options) option.disabled = Number(option.value) > shown;
    this.paintedSize.options[0].textContent = `as in the photo: ${shown} px`;
    this.paintedSize.value = model.get("size");
    this.refreshSystem();
  }

  refreshSystem() {
    const { model } = this;
    const name = model.get("system");
    const offer = model.get("system_offer");
    this.system.value = name;
    for (const one of [this.own, this.varyButton]) this.hide(one, Boolean(name));
    if (offer !== this.shownOfSystem) {
      this.shownOfSystem = offer;
      this.strengths = Object.fromEntries(Object.entries(offer).map(([attribute, { meaning, low, high }]) =>
        [attribute, slider(attribute.replaceAll("_", " "), `${meaning}; 0 changes nothing`, low, high, 0.05, (value) => (value > 0 ? "+" : "") + value.toFixed(2),
          (value) => this.store.set("system_attributes", { ...model.get("system_attributes"), [attribute]: value }), `fm-strength-${attribute}`)]));
      this.systemList.replaceChildren(...Object.values(this.strengths).map((one) => one.row));
    }
    for (const [attribute, one] of Object.entries(this.strengths)) one.put(model.get("system_attributes")[attribute] ?? 0);
  }

  buildFile(what, text, title) {
    const input = h("input", { type: "file", accept: "image/*", className: `fm-file-${what}`, onchange: () => {
      if (input.files[0]) this.sendFile(what, input.files[0]);
      input.value = "";
    } });
    return h("label", { className: "fm-file", title }, text, input);
  }
}
