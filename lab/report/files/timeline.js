// Everything over one time axis: what was done on top, and under it a panel for each figure. Dragging over a stretch shows that stretch; double click, or the button, all of it.
const LEFT = 54, RIGHT = 10, AXIS = 18, ROW = 20;

class Timeline {
  constructor(root, data) {
    this.root = root;
    this.data = data;
    this.from = 0;
    this.to = data.duration;
    this.hidden = new Set();
    this.bar = make("div", { class: "bar" });
    this.body = make("div", { class: "chart touch" });
    root.append(this.bar, this.body);
    this.tip = new Tip(this.body);
    this.panels = [{ id: "done", title: "What was done", kind: "lanes" }, ...data.panels].map(panel => this.addPanel(panel));
    this.drawBar();
    this.followPointer();
    drawnToFit(this.body, () => this.draw());
  }

  drawBar() {
    const regions = this.data.panels.find(panel => panel.group === "regions");
    this.reset = make("button", { type: "button", class: "reset", hidden: "" });
    this.reset.addEventListener("click", () => this.show(0, this.data.duration));
    this.bar.append(regions ? this.legend(regions) : make("span"), this.reset);
  }

  legend(panel) {
    const legend = make("div", { class: "legend" });
    for (const series of panel.series) {
      const key = `${panel.group ?? panel.id}/${series.name}`;
      const button = make("button", { type: "button", "aria-pressed": "true", title: "Show or hide" },
        make("i", series.dash ? { class: "dashed", style: `border-color:${series.color}` } : { style: `background:${series.color}` }), series.name);
      button.addEventListener("click", () => {
        this.hidden.has(key) ? this.hidden.delete(key) : this.hidden.add(key);
        button.setAttribute("aria-pressed", String(!this.hidden.has(key)));
        this.draw();
      });
      legend.append(button);
    }
    return legend;
  }

  addPanel(panel) {
    const box = make("div", { class: "panel", "data-panel": panel.id });
    const head = make("div", { class: "panel-head" }, make("h3", {}, panel.title));
    if (panel.series && panel.group !== "regions" && panel.series.length > 1) head.append(this.legend(panel));
    box.append(head);
    this.body.append(box);
    return { ...panel, box };
  }

  visible(panel) { return panel.series.filter(series => !this.hidden.has(`${panel.group ?? panel.id}/${series.name}`)); }

  x(second) { return LEFT + (second - this.from) / (this.to - this.from) * this.inner; }

  show(from, to) {
    this.from = Math.max(0, from);
    this.to = Math.min(this.data.duration, to);
    const isAll = this.from <= 0 && this.to >= this.data.duration;
    this.reset.hidden = isAll;
    this.reset.textContent = `${seconds(this.from)} – ${seconds(this.to)}  ✕ show all`;
    this.draw();
  }

  draw() {
    this.width = this.body.clientWidth;
    if (!this.width) return;
    this.inner = this.width - LEFT - RIGHT;
    for (const panel of this.panels) {
      const svg = panel.kind === "lanes" ? this.lanes() : this.figure(panel);
      panel.box.querySelector(":scope > svg")?.remove();
      panel.box.append(svg);
      panel.svg = svg;
    }
    this.tip.hide();
  }

  canvas(height, name) {
    return make("svg", { width: this.width, height, viewBox: `0 0 ${this.width} ${height}`, role: "img", "aria-label": name });
  }

  timeAxis(svg, height) {
    for (const second of ticks(this.from, this.to, Math.max(2, this.inner / 70))) {
      svg.append(make("text", { x: this.x(second), y: height - 4, "text-anchor": "middle" }, `${number(second)} s`));
    }
  }

  // Faults, and a line for each mark: the same in every panel.
  happenings(svg, height) {
    for (const band of this.data.bands.filter(each => each.lane === "fault")) {
      const [x, end] = this.clamped(band);
      if (end > x) svg.append(make("rect", { x, y: 0, width: end - x, height, fill: "var(--fault)", opacity: 0.1 }));
    }
    for (const mark of this.data.marks.filter(each => each.began >= this.from && each.began <= this.to)) {
      svg.append(make("line", { x1: this.x(mark.began), x2: this.x(mark.began), y1: 0, y2: height, stroke: `var(--${mark.lane})`, "stroke-width": 1, "stroke-dasharray": "3 4", opacity: 0.55 }));
    }
  }

  clamped(band) {
    return [Math.max(LEFT, this.x(band.began)), Math.min(this.width - RIGHT, Math.max(this.x(band.ended), this.x(band.began) + 2))];
  }

  lanes() {
    const bands = this.rows(this.data.bands.filter(band => band.ended >= this.from && band.began <= this.to));
    const shown = this.data.marks.filter(mark => (mark.ended ?? mark.began) >= this.from && mark.began <= this.to);
    const steps = this.rows(shown.filter(mark => mark.ended !== null)), marks = this.rows(shown.filter(mark => mark.ended === null));
    const rows = bands.count + steps.count + marks.count, height = Math.max(1, rows) * ROW + AXIS + 4;
    const svg = this.canvas(height, "What was done");
    this.happenings(svg, height - AXIS);
    for (const each of bands.items) this.drawBand(svg, each, each.row * ROW + 2);
    for (const each of steps.items) this.drawMark(svg, each, (bands.count + each.row) * ROW + 2);
    for (const each of marks.items) this.drawMark(svg, each, (bands.count + steps.count + each.row) * ROW + 2);
    this.timeAxis(svg, height);
    return svg;
  }

  // Each in the first row in which its label runs into no other. When there are many, labels give way before rows do.
  rows(items) {
    const most = 9, narrow = this.width < 640;
    const place = labelled => {
      const free = [], placed = items.map(item => {
        const isMark = item.number !== undefined, isSpan = isMark && item.ended !== null, start = Math.max(LEFT, this.x(item.began)), end = Math.min(this.width - RIGHT, this.x(item.ended ?? item.began));
        const label = labelled ? shortened(item.label, narrow ? 130 : 210) : "", ink = label ? widthOf(label) + 8 : 0, head = isMark ? 22 : 0;
        const inside = (!isMark || isSpan) && end - start > ink + head, isLeft = !inside && Math.max(end, start + head / 2) + ink > this.width - RIGHT;
        const room = [isLeft ? start - ink - head / 2 : start - head / 2, inside || isLeft ? end + head / 2 : Math.max(end, start + head / 2) + ink];
        let row = free.findIndex(limit => limit <= room[0]);
        if (row < 0) row = free.length;
        free[row] = room[1] + 4;
        return { item, start, end, label, row, inside, isLeft };
      });
      return { items: placed, count: free.length };
    };
    const full = place(true);
    return full.count <= most ? full : place(false);
  }

  drawBand(svg, { item, start, end, label, inside, isLeft }, y) {
    const color = `var(--${item.lane})`, wide = Math.max(3, end - start);
    svg.append(make("rect", { x: start, y, width: wide, height: ROW - 5, rx: 3, fill: color, opacity: 0.82, "data-band": item.lane }));
    const x = inside ? start + 5 : isLeft ? start - 5 : start + wide + 5;
    svg.append(make("text", { class: inside ? "inverse" : "strong", x, y: y + 11.5, "text-anchor": isLeft ? "end" : "start" }, label));
    this.explained(svg, { x: start - 4, y, width: wide + 8, height: ROW }, item);
  }

  drawMark(svg, { item, start, end, label, isLeft }, y) {
    const color = `var(--${item.lane})`, middle = y + 8;
    if (item.ended !== null && end > start) svg.append(make("rect", { x: start, y, width: end - start, height: 16, rx: 8, fill: color, opacity: 0.22 }));
    const wide = Math.max(16, widthOf(String(item.number)) + 8);
    svg.append(make("rect", { x: start - wide / 2, y: y, width: wide, height: 16, rx: 8, fill: color, "data-mark": item.number }));
    svg.append(make("text", { class: "inverse", x: start, y: middle + 4, "text-anchor": "middle" }, String(item.number)));
    svg.append(make("text", { class: "strong label", x: isLeft ? start - wide / 2 - 4 : start + wide / 2 + 4, y: middle + 4, "text-anchor": isLeft ? "end" : "start" }, label));
    this.explained(svg, { x: start - wide / 2, y, width: wide, height: 16 }, item);
  }

  explained(svg, box, item) {
    const target = make("rect", { ...box, fill: "transparent" });
    const until = item.ended === null || item.ended === undefined ? "" : ` – ${seconds(item.ended)}`;
    const show = event => { event.stopPropagation(); this.tip.show(event, item.text, [], [`${seconds(item.began)}${until}`]); };
    target.addEventListener("pointermove", show);
    target.addEventListener("pointerdown", event => { if (event.pointerType !== "mouse") show(event); });
    svg.append(target);
  }

  figure(panel) {
    const plain = panel.height ?? 110, height = plain + AXIS, svg = this.canvas(height, panel.title);
    const series = this.visible(panel), stacks = panel.kind === "area" ? stacked(series) : null;
    const scale = scaleOf(panel, series, stacks, plain);
    if (scale.isEmpty) svg.append(make("text", { x: LEFT + this.inner / 2, y: plain / 2 + 4, "text-anchor": "middle" }, "none"));
    for (const value of scale.ticks) {
      svg.append(make("line", { class: "grid", x1: LEFT, x2: this.width - RIGHT, y1: scale.y(value), y2: scale.y(value) }));
      svg.append(make("text", { x: LEFT - 7, y: Math.min(plain, Math.max(9, scale.y(value) + 4)), "text-anchor": "end" }, scale.says(value)));
    }
    const clip = `clip-${this.root.id}-${panel.id}`;
    svg.append(make("clipPath", { id: clip }, make("rect", { x: LEFT, y: 0, width: this.inner, height: plain })));
    const inside = make("g", { "clip-path": `url(#${clip})` });
    svg.append(inside);
    this.happenings(inside, plain);
    if (stacks) stacks.forEach((stack, place) => inside.append(make("path", { d: this.areaPath(stack, scale), fill: series[place].color, opacity: series[place].dash ? 0.5 : 0.86, "data-series": series[place].name })));
    else for (const each of series) this.drawLine(inside, each, scale);
    this.timeAxis(svg, height);
    return svg;
  }

  areaPath(stack, scale) {
    const step = this.data.step, upper = [], lower = [];
    stack.forEach(([low, high], place) => {
      const x = this.x(place * step).toFixed(1), end = this.x((place + 1) * step).toFixed(1);
      upper.push(`${x},${scale.y(high).toFixed(1)}`, `${end},${scale.y(high).toFixed(1)}`);
      lower.unshift(`${end},${scale.y(low).toFixed(1)}`, `${x},${scale.y(low).toFixed(1)}`);
    });
    return upper.length ? `M${upper.join("L")}L${lower.join("L")}Z` : "";
  }

  drawLine(svg, series, scale) {
    let d = "", isOn = false;
    series.values.forEach((value, place) => {
      if (value === null) { isOn = false; return; }
      const point = `${this.x((place + 0.5) * this.data.step).toFixed(1)},${scale.y(value).toFixed(1)}`;
      const isAlone = !isOn && (series.values[place + 1] ?? null) === null;
      d += isAlone ? `M${point}l.01,0` : `${isOn ? "L" : "M"}${point}`;
      isOn = true;
    });
    svg.append(make("path", { d, fill: "none", stroke: series.color, "stroke-width": 1.7, "stroke-linejoin": "round", "stroke-linecap": "round", "stroke-dasharray": series.dash ? "5 4" : null, "data-series": series.name }));
  }

  followPointer() {
    let began = null;
    const second = event => this.from + (event.clientX - this.body.getBoundingClientRect().left - LEFT) / this.inner * (this.to - this.from);
    this.body.addEventListener("pointerdown", event => { began = { x: event.clientX, second: second(event) }; this.point(event, second(event), null); });
    this.body.addEventListener("pointermove", event => {
      const isBrushed = began !== null && Math.abs(event.clientX - began.x) > 8 && event.buttons;
      this.point(event, second(event), isBrushed ? began.second : null);
    });
    this.body.addEventListener("pointerup", event => {
      const other = second(event), isBrushed = began !== null && Math.abs(event.clientX - began.x) > 8;
      if (isBrushed && Math.abs(other - began.second) >= this.data.step) this.show(Math.min(other, began.second), Math.max(other, began.second));
      began = null;
    });
    this.body.addEventListener("pointercancel", () => { began = null; this.clear(); });
    // A finger leaves when it is lifted; what it asked for stays.
    this.body.addEventListener("pointerleave", event => { began = null; if (event.pointerType === "mouse") this.clear(); });
    this.body.addEventListener("dblclick", () => this.show(0, this.data.duration));
  }

  clear() {
    this.tip.hide();
    this.body.querySelectorAll(".cross, .brush").forEach(each => each.remove());
  }

  point(event, second, from) {
    this.clear();
    if (second < this.from || second > this.to) return;
    for (const panel of this.panels) {
      const height = panel.svg.getAttribute("height") - AXIS;
      if (from !== null) panel.svg.append(make("rect", { class: "brush", x: this.x(Math.min(from, second)), y: 0, width: Math.abs(this.x(second) - this.x(from)), height }));
      panel.svg.append(make("line", { class: "cross", x1: this.x(second), x2: this.x(second), y1: 0, y2: height }));
    }
    const panel = this.panels.find(each => each.box.contains(event.target));
    if (!panel?.series || from !== null) return;
    const place = Math.floor(second / this.data.step), near = (this.to - this.from) / 90;
    const rows = this.visible(panel).map(series => [series.name, saysOf(panel)(series.values[place] ?? null), series.dash ? `repeating-linear-gradient(90deg, ${series.color} 0 3px, transparent 3px 5px)` : series.color]);
    const lines = this.data.bands.filter(band => band.began <= second && band.ended >= second).map(band => band.label)
      .concat(this.data.marks.filter(mark => Math.abs(mark.began - second) < near).map(mark => `${mark.number}  ${mark.text}`));
    this.tip.show(event, `${panel.title}, ${seconds(place * this.data.step, 0)}`, rows, lines);
  }
}

function stacked(series) {
  const base = [];
  return series.map(each => each.values.map((value, place) => {
    const low = base[place] ?? 0, high = low + (value ?? 0);
    base[place] = high;
    return [low, high];
  }));
}

function saysOf(panel) {
  return { share: percent, ms: value => value === null ? "–" : `${number(value)} ms`, rate: value => value === null ? "–" : `${number(value)} / s` }[panel.format];
}

function scaleOf(panel, series, stacks, height) {
  const values = (stacks ? stacks.flat().map(pair => pair[1]) : series.flatMap(each => each.values)).filter(value => value !== null);
  const room = 8, reach = height - room;
  if (panel.format === "share") return { y: value => room + (1 - value) * reach, ticks: [0, 0.5, 1], says: value => `${value * 100} %` };
  if (panel.format === "ms") {
    const low = Math.log10(Math.max(0.1, panel.lowest)), high = Math.log10(Math.max(panel.highest, panel.lowest * 10, 1));
    const tens = [];
    for (let power = Math.ceil(low); power <= high; power += 1) tens.push(10 ** power);
    const all = tens.length < 2 ? [...tens.flatMap(ten => [ten / 5, ten / 2, ten, ten * 2, ten * 5])].filter(value => Math.log10(value) >= low && Math.log10(value) <= high) : tens;
    return { y: value => room + (1 - (Math.log10(Math.max(value, 10 ** low)) - low) / (high - low)) * reach, ticks: all, says: value => value >= 1000 ? `${value / 1000} s` : `${value} ms` };
  }
  const highest = values.reduce((one, other) => Math.max(one, other), 0), top = highest || 1;
  return { y: value => room + (1 - value / top) * reach, ticks: highest ? ticks(0, top, 3) : [0], says: number, isEmpty: !highest };
}

// About `wanted` round numbers between two.
function ticks(from, to, wanted) {
  const rough = (to - from) / wanted, ten = 10 ** Math.floor(Math.log10(rough || 1));
  const step = [1, 2, 5, 10].map(each => each * ten).find(each => each >= rough) ?? ten;
  const found = [];
  for (let value = Math.ceil(from / step) * step; value <= to + step / 1e6; value += step) found.push(Number(value.toFixed(6)));
  return found;
}
