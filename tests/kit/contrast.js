// Judges what is seen below `selector`; see contrast.py.
([selector, least]) => {
    const root = document.querySelector(selector);
    const dot = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
    // Colours laid over each other, the first one at the bottom, as red, green and blue.
    const mixed = (colours) => {
        dot.globalAlpha = 1; dot.fillStyle = "#fff"; dot.fillRect(0, 0, 1, 1);
        for (const colour of colours) { dot.fillStyle = "#000"; dot.fillStyle = colour; dot.fillRect(0, 0, 1, 1); }
        return [...dot.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const light = (rgb) => { const [r, g, b] = rgb.map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
                             return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
    const ratio = (a, b) => { const [low, high] = [light(a), light(b)].sort((x, y) => x - y); return (high + 0.05) / (low + 0.05); };
    const grounds = (one) => one ? [...grounds(one.parentElement), getComputedStyle(one).backgroundColor] : [];
    const isOff = (one) => one.closest("[aria-disabled=true], :disabled, [hidden]") !== null;  // WCAG asks nothing of these
    const found = { texts: 0, controls: 0, low: [] };
    const judge = (kind, one, colour, ground, wanted) => {
        const value = ratio(colour, ground);
        found[kind] += 1;
        if (!(value >= wanted)) found.low.push(`${kind} ${one.tagName}.${[...one.classList].join(".")} ${(one.textContent || one.value || "").slice(0, 20)}: `
            + `${value.toFixed(2)}, rgb(${colour}) on rgb(${ground})`);
    };
    for (const one of root.querySelectorAll("*")) {
        const style = getComputedStyle(one);
        if (!one.getClientRects().length || style.visibility === "hidden" || isOff(one) || one.closest(".fm-sheet, svg")) continue;
        const on = mixed(grounds(one)), around = mixed(grounds(one.parentElement));
        const isField = one.matches("input:is([type=text], [type=number], :not([type])), textarea, select");
        const hasText = isField || [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
        if (hasText) judge("texts", one, mixed([`rgb(${on})`, style.color]), on, least[0]);
        const isFilled = one.matches("button, .fm-file, .fm-chip, .noUi-handle") || isField;
        const sides = ["Top", "Bottom"].filter((side) => parseFloat(style[`border${side}Width`]) && style[`border${side}Style`] !== "none");
        if (isFilled) {
            const edges = sides.map((side) => mixed([`rgb(${on})`, style[`border${side}Color`]]));
            const best = [on, ...edges].sort((a, b) => ratio(b, around) - ratio(a, around))[0];
            judge("controls", one, best, around, least[1]);
        }
        if (one.matches("input[type=range], input[type=checkbox], progress") && style.accentColor !== "auto")
            judge("controls", one, mixed([`rgb(${around})`, style.accentColor]), around, least[1]);
        // What is chosen differs from what is not.
        const other = one.matches("[aria-pressed=true]") && one.parentElement.querySelector(":scope > [aria-pressed=false]");
        if (other && !isOff(other)) judge("controls", one, on, mixed(grounds(other)), least[1]);
        if (document.activeElement === one && style.outlineStyle !== "none")
            judge("controls", one, mixed([`rgb(${around})`, style.outlineColor]), around, least[1]);
    }
    return found;
}
