// -- the part of a View that offers a saved session ---------------------------------------------------------------------------------

class Resuming {
  buildSaved() {
    this.saved = h("div", { className: "fm-question fm-saved", role: "group", hidden: true });
    return this.saved;
  }

  refreshSaved() {
    const { file = "", text, name, can_go_on: canGoOn } = this.model.get("saved") ?? {};
    this.hide(this.saved, !file);
    for (const one of this.saved.querySelectorAll("button")) disable(one, Boolean(this.model.get("busy")));
    if (file === this.shownSaved) return;
    this.shownSaved = file;
    if (!file) return;
    const say = (kind) => () => this.act({ kind, file });
    const buttons = [
      button("Delete it", "Remove what was saved", say("discard"), { className: "fm-discard" }),
      button("Not now", "It stays saved, and is offered another time", say("later"), { className: "fm-later" }),
    ];
    if (canGoOn) buttons.unshift(button("Go on with it", "Make its pictures again", say("go_on"), { className: "fm-go-on" }));
    this.saved.replaceChildren(h("span", {}, canGoOn ? `${text}.` : `${text}. Open ${name || "that photo"} again to go on with it.`),
      h("div", { className: "fm-buttons" }, ...buttons));
  }
}
