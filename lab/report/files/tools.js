// What both drawings of a report need: elements, numbers for people, a box of figures beside the pointer. Text goes in as text, never as markup.
const SVG = "http://www.w3.org/2000/svg";

function make(tag, attributes = {}, ...children) {
  const isDrawn = ["svg", "g", "path", "line", "rect", "circle", "text", "clipPath", "title"].includes(tag);
  const element = isDrawn ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null) element.setAttribute(name, value);
  }
  element.append(...children.filter(child => child !== null && child !== undefined));
  return element;
}

function number(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  return value.toLocaleString("en", { maximumFractionDigits: size >= 100 || Number.isInteger(value) ? 0 : size >= 1 ? 1 : 2 });
}

function bytes(value) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let place = 0;
  while (value >= 1000 && place < units.length - 1) { value /= 1000; place += 1; }
  return `${number(value)} ${units[place]}`;
}

function percent(share) {
  return share === null || share === undefined ? "–" : `${(share * 100).toFixed(1)} %`;
}

function seconds(value, digits = 1) {
  return `${value.toFixed(digits)} s`;
}

const letters = document.createElement("canvas").getContext("2d");
function widthOf(text) {
  letters.font = '11.5px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';
  return letters.measureText(text).width;
}

function shortened(text, width) {
  if (widthOf(text) <= width) return text;
  let end = text.length;
  while (end > 1 && widthOf(text.slice(0, end) + "…") > width) end -= 1;
  return text.slice(0, end).trimEnd() + "…";
}

// A box inside `root` that follows the pointer and stays within it.
class Tip {
  constructor(root) {
    this.root = root;
    this.box = make("div", { class: "tip", hidden: "" });
    root.append(this.box);
  }

  show(event, title, rows, lines = []) {
    const table = make("table", {}, ...rows.map(([name, value, color]) =>
      make("tr", {}, make("td", {}, color ? make("i", { style: `background:${color}` }) : null, name), make("td", {}, value))));
    this.box.replaceChildren(make("strong", {}, title), ...lines.map(line => make("div", { class: "soft" }, line)), table);
    this.box.hidden = false;
    const frame = this.root.getBoundingClientRect(), own = this.box.getBoundingClientRect();
    const x = event.clientX - frame.left, y = event.clientY - frame.top;
    const left = x + 16 + own.width > frame.width ? x - 16 - own.width : x + 16;
    this.box.style.left = `${Math.max(0, Math.min(left, frame.width - own.width))}px`;
    this.box.style.top = `${Math.max(0, Math.min(y + 14, frame.height - own.height))}px`;
  }

  hide() { this.box.hidden = true; }
}

// Draws now, and again whenever the width changes.
function drawnToFit(root, draw) {
  let width = 0;
  new ResizeObserver(() => {
    if (root.clientWidth && root.clientWidth !== width) { width = root.clientWidth; draw(); }
  }).observe(root);
  draw();
}
