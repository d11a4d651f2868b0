// -- the part of a View that shows several seeds of one edit ------------------------------------------------------------------------

// A die: five dots in a square. Not every machine has a font with one.
const DIE = `<svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" fill="currentColor">
  <rect x="1" y="1" width="14" height="14" rx="3" fill="none" stroke="currentColor" stroke-width="1.4"/>
  ${[[5, 5], [11, 5], [8, 8], [5, 11], [11, 11]].map(([x, y]) => `<circle cx="${x}" cy="${y}" r="1.4"/>`).join("")}</svg>`;
const SIDES = 1_000_000; // of the die: a number that people can read out

class Varying {
  buildSeed(entry) {
    this.seed = entry;
    const die = button("", "Another seed, by chance", () => this.store.set("seed", Math.floor(Math.random() * SIDES)), { className: "fm-die" });
    die.innerHTML = DIE;
    die.setAttribute("aria-label", die.title);
    return h("div", {}, h("div", { className: "fm-title" }, "Seed"), h("div", { className: "fm-exemplar" }, this.seed, die));
  }

  buildVariations() {
    this.tried = h("div", { className: "fm-choices" });
    this.moreSeeds = button("Four more", "The same edit with four more seeds", () => this.vary(true), { className: "fm-more-seeds" });
    const none = button("None", "Take none of them (Escape)", () => this.act({ kind: "dismiss" }), { className: "fm-no-variation" });
    this.variations = h("div", { className: "fm-variations", role: "group", hidden: true }, this.tried,
      h("div", { className: "fm-buttons" }, this.moreSeeds, none));
    this.variations.setAttribute("aria-label", "The same edit with several seeds: look at one on the face, click to take it");
    return this.variations;
  }

  vary(more) {
    this.settleField();
    this.act({ kind: "vary", more });
  }

  // Each is shown on the face while the mouse or the focus is on it, and stays there while it is made.
  refreshVariations() {
    const shown = this.model.get("variations");
    for (const one of [...this.tried.children, this.moreSeeds]) disable(one, Boolean(this.model.get("busy")));
    if (!this.model.get("busy") && this.taken) this.lookAt(null);
    if (shown === this.shownVariations) return;
    this.shownVariations = shown;
    this.hide(this.variations, !shown.length);
    this.lookAt(null);
    this.tried.replaceChildren(...shown.map(({ seed, picture }, number) => {
      const image = h("img", { src: picture, alt: "" });
      const entry = button("", `Take seed ${seed}`, () => { this.taken = image; this.act({ kind: "take", number }); },
        { className: "fm-variation", onpointerenter: () => this.lookAt(image), onpointerleave: () => this.lookAt(this.taken),
          onfocus: () => this.lookAt(image), onblur: () => this.lookAt(this.taken) });
      entry.append(image, h("span", {}, `${seed}`));
      return entry;
    }));
    if (shown.length) this.variations.scrollIntoView({ block: "nearest" });
  }

  lookAt(image) {
    if (image === null) this.taken = null;
    this.looked = image ?? null;
    this.showOriginal(false);
  }
}
