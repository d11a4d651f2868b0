// -- building the page --------------------------------------------------------------------------------------------------------

function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && name !== "list" && !name.startsWith("aria")) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function button(text, title, onclick, more = {}) {
  const act = (event) => { if (event.currentTarget.getAttribute("aria-disabled") !== "true") onclick(event); };
  return h("button", { type: "button", title, onclick: act, ...more }, text);
}

// A button that is really disabled would lose the keyboard's focus, and with it the painter's keys.
function disable(element, isDisabled) {
  element.setAttribute("aria-disabled", String(isDisabled));
}

function slider(text, title, min, max, step, show, oninput, className) {
  const output = h("output", {});
  const input = h("input", { type: "range", min, max, step, title, className });
  const put = (value) => {
    input.value = value;
    output.textContent = show(Number(value));
    input.setAttribute("aria-valuetext", output.textContent);
  };
  input.addEventListener("input", () => { put(input.value); oninput?.(Number(input.value)); });
  return { row: h("label", { className: "fm-row", title }, h("span", {}, text), output, input), put, input };
}

const signed = (value) => (value > 0 ? "+" : "") + value.toFixed(1);
