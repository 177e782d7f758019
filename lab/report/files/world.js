// The world map: sites around the places where they are, what went between them as arcs, phase by phase.
const SHAPES = {
  edge: "M-1,0A1,1 0 1,1 1,0A1,1 0 1,1 -1,0Z", regional: "M-.95,-.95H.95V.95H-.95Z", origin: "M0,-1.3L1.3,0L0,1.3L-1.3,0Z",
  dns_router: "M0,-1.2L1.15,.85H-1.15Z", control_plane: "M0,-1.15L1.1,-.35L.68,.95H-.68L-1.1,-.35Z", viewers: "M-1.05,1.25V.9A1.05,.95 0 0,1 1.05,.9V1.25Z M-.62,-.75A.62,.62 0 1,1 .62,-.75A.62,.62 0 1,1 -.62,-.75Z",
};
const SITE_COLORS = { edge: "var(--c0)", regional: "var(--c1)", origin: "var(--c6)", dns_router: "var(--c2)", control_plane: "var(--c5)", viewers: "var(--ink)" };
const SITE_NAMES = { edge: "POP", regional: "regional caches", origin: "origin", dns_router: "DNS router", control_plane: "control plane", viewers: "viewers" };
const HOP_COLORS = { edge: "var(--c0)", regional: "var(--c1)", origin: "var(--c6)", link: "var(--soft)" };
const HOP_NAMES = { edge: "viewers to POPs", regional: "POPs to regional caches", origin: "to origins", link: "links, without counted traffic" };
// Where a site stands beside its place, in units of its size.
const BESIDE = { edge: [0, 0], viewers: [-2.6, 1.5], regional: [2.6, 1.2], origin: [2.6, -1.6], dns_router: [-2.6, -1.6], control_plane: [0, -3] };
const STRETCH = 1.25; // of latitude against longitude: right at 37 degrees, where most cables are

class WorldMap {
  constructor(root, world) {
    this.root = root;
    this.world = world;
    this.phase = 0;
    this.canvas = make("div", { class: "chart" });
    this.bar = make("div", { class: "bar" });
    root.append(this.bar, this.canvas);
    this.tip = new Tip(this.canvas);
    this.drawBar();
    drawnToFit(this.canvas, () => this.draw());
    this.canvas.addEventListener("pointerdown", () => this.tip.hide());
  }

  drawBar() {
    const choices = make("div", { class: "choices", role: "group", "aria-label": "Phase of the run" });
    this.world.phases.forEach((phase, place) => {
      const button = make("button", { type: "button", "aria-pressed": String(place === this.phase), title: `${seconds(phase.began)} to ${seconds(phase.ended)}` }, phase.label);
      button.addEventListener("click", () => {
        this.phase = place;
        [...choices.children].forEach((each, other) => each.setAttribute("aria-pressed", String(other === place)));
        this.draw();
      });
      choices.append(button);
    });
    const hops = new Set(this.world.phases.flatMap(phase => phase.flows.map(flow => flow.hop)));
    const legend = make("div", { class: "legend" });
    for (const hop of Object.keys(HOP_NAMES).filter(name => hops.has(name))) {
      legend.append(make("span", { class: "key" }, make("i", { style: `background:${HOP_COLORS[hop]}; height:4px; width:18px` }), HOP_NAMES[hop]));
    }
    for (const role of Object.keys(SITE_NAMES).filter(name => this.world.sites.some(site => site.role === name))) {
      const glyph = make("svg", { width: 13, height: 13, viewBox: "-1.5 -1.5 3 3", style: "width:13px" }, make("path", { d: SHAPES[role], fill: SITE_COLORS[role] }));
      legend.append(make("span", { class: "key" }, glyph, SITE_NAMES[role]));
    }
    this.bar.append(...(this.world.phases.length > 1 ? [choices] : []), legend);
  }

  // Longitudes and latitudes that are shown: all places with room around them, at least 60 degrees wide, in the shape of the window.
  frame(width) {
    const sites = this.world.sites;
    const longitudes = sites.map(site => site.longitude), latitudes = sites.map(site => site.latitude);
    const isNarrow = width < 640, wanted = isNarrow ? 0.8 : 0.5, margin = isNarrow ? 14 : 22;
    let west = Math.min(...longitudes) - margin, east = Math.max(...longitudes) + margin;
    let south = Math.min(...latitudes) - 12, north = Math.max(...latitudes) + 14;
    const wider = Math.max(0, 60 - (east - west)) / 2;
    west -= wider; east += wider;
    const higher = Math.max(0, wanted * (east - west) / STRETCH - (north - south));
    south -= higher * 0.6; north += higher * 0.4;
    if (south < -58) { north += -58 - south; south = -58; }
    north = Math.min(north, 82);
    const scale = width / (east - west);
    return { west, north, scale, height: Math.round((north - south) * scale * STRETCH) };
  }

  draw() {
    const width = this.canvas.clientWidth;
    if (!width) return;
    const frame = this.frame(width);
    const at = (longitude, latitude) => [(longitude - frame.west) * frame.scale, (frame.north - latitude) * frame.scale * STRETCH];
    const svg = make("svg", { width, height: frame.height, viewBox: `0 0 ${width} ${frame.height}`, role: "img", "aria-label": "World map of the run" });
    svg.append(make("rect", { class: "sea", width, height: frame.height, rx: 8 }), make("path", { class: "land", d: this.coast(at), "fill-rule": "evenodd" }));
    this.size = width < 640 ? 4.6 : 6.5;
    this.places = this.placed(at, width, frame.height);
    this.drawArcs(svg);
    this.drawSites(svg, width);
    this.canvas.querySelector("svg")?.remove();
    this.canvas.prepend(svg);
    this.tip.hide();
  }

  coast(at) {
    return this.world.land.map(ring => {
      const points = [];
      for (let place = 0; place < ring.length; place += 2) points.push(at(ring[place] / 10, ring[place + 1] / 10).map(value => value.toFixed(1)).join(","));
      return `M${points.join("L")}Z`;
    }).join("");
  }

  // Each region's sites together; regions that would run into each other are pushed apart, and keep a line to where they are.
  placed(at, width, height) {
    const regions = new Map();
    for (const site of this.world.sites) {
      const key = `${site.longitude},${site.latitude}`;
      if (!regions.has(key)) { const [x, y] = at(site.longitude, site.latitude); regions.set(key, { x, y, x0: x, y0: y, sites: [] }); }
      regions.get(key).sites.push(site);
    }
    const all = [...regions.values()], apart = this.size * 10.5;
    for (let round = 0; round < 60; round += 1) {
      for (const one of all) for (const other of all) {
        const dx = other.x - one.x, dy = other.y - one.y, gap = Math.hypot(dx, dy);
        if (one === other || gap >= apart) continue;
        const push = (apart - gap) / 4, ux = gap ? dx / gap : 1, uy = gap ? dy / gap : 0;
        one.x -= ux * push; one.y -= uy * push; other.x += ux * push; other.y += uy * push;
      }
      for (const each of all) {
        each.x = Math.max(this.size * 5, Math.min(width - this.size * 5, each.x));
        each.y = Math.max(this.size * 5, Math.min(height - this.size * 5, each.y));
      }
    }
    this.spots = new Map();
    for (const region of all) {
      const seen = {};
      for (const site of region.sites) {
        const [dx, dy] = BESIDE[site.role] ?? [0, 3], again = seen[site.role] = (seen[site.role] ?? 0) + 1;
        this.spots.set(site.id, [region.x + (dx + (again - 1) * 2.4) * this.size, region.y + dy * this.size]);
      }
    }
    return all;
  }

  drawArcs(svg) {
    const phase = this.world.phases[this.phase];
    const most = Math.max(1, ...this.world.phases.flatMap(each => each.flows.map(flow => flow.requests / Math.max(each.ended - each.began, 1))));
    const duration = Math.max(phase.ended - phase.began, 1);
    for (const flow of [...phase.flows].sort((one, other) => other.requests - one.requests)) {
      const from = this.spots.get(flow.source), to = this.spots.get(flow.target);
      if (!from || !to) continue;
      const dx = to[0] - from[0], dy = to[1] - from[1], bend = { edge: 0.16, regional: 0.24, origin: -0.18, link: 0.1 }[flow.hop] ?? 0.1;
      const lift = dx < 0 ? -bend : bend;
      const d = `M${from[0]},${from[1]}Q${(from[0] + to[0]) / 2 + dy * lift},${(from[1] + to[1]) / 2 - Math.abs(dx) * bend}`
        + ` ${to[0]},${to[1]}`;
      const thick = flow.hop === "link" ? 1 : 0.8 + (this.size + 1) * Math.sqrt(flow.requests / duration / most);
      const fault = phase.faulted[flow.link];
      const line = make("path", { class: "arc", d, stroke: fault ? "var(--fault)" : HOP_COLORS[flow.hop] ?? "var(--soft)", "stroke-width": thick.toFixed(1),
        opacity: flow.hop === "link" ? 0.45 : 0.62, "stroke-dasharray": fault ? "6 5" : flow.hop === "link" ? "2 5" : null, "data-arc": flow.hop });
      const wide = make("path", { class: "arc", d, stroke: "transparent", "stroke-width": Math.max(14, thick) });
      this.explained(wide, () => [`${flow.from} → ${flow.to}`, this.figuresOfFlow(flow, duration), fault ? [`fault: ${fault}`] : []]);
      svg.append(line, wide);
    }
  }

  figuresOfFlow(flow, duration) {
    const rows = [];
    if (flow.hop !== "link") rows.push(["requests", number(flow.requests)], ["a second", number(flow.requests / duration)], ["bytes", bytes(flow.bytes)], ["errors", number(flow.errors)]);
    if (flow.delay) rows.push(["round trip, asked", flow.delay.asked === null ? "–" : `${number(flow.delay.asked)} ms`], ["measured", flow.delay.measured === null ? "–" : `${number(flow.delay.measured)} ms`]);
    return rows;
  }

  drawSites(svg, width) {
    const phase = this.world.phases[this.phase];
    for (const region of this.places) {
      if (Math.hypot(region.x - region.x0, region.y - region.y0) > 4) svg.append(make("line", { class: "leader", x1: region.x0, y1: region.y0, x2: region.x, y2: region.y }));
      svg.append(make("circle", { cx: region.x0, cy: region.y0, r: 1.6, fill: "var(--soft)" }));
      for (const site of region.sites) this.drawSite(svg, site, phase);
      const name = region.sites[0].region, below = region.sites.some(site => site.role === "viewers") ? 4.6 : 3.4;
      const label = make("text", { class: "strong halo", x: region.x, y: region.y + below * this.size, "text-anchor": "middle" }, width < 640 ? name.replace(/^(..)-(.).*-(\d)$/, "$1-$2$3") : name);
      svg.append(label);
    }
  }

  drawSite(svg, site, phase) {
    const [x, y] = this.spots.get(site.id), hurt = site.nodes.filter(node => node in phase.faulted), isGone = hurt.length > 0 && hurt.length === site.nodes.length;
    const glyph = make("path", { class: "site", d: SHAPES[site.role] ?? SHAPES.edge, fill: SITE_COLORS[site.role] ?? "var(--soft)", transform: `translate(${x},${y}) scale(${this.size * 0.8})`,
      "vector-effect": "non-scaling-stroke", "stroke-width": site.role === "viewers" ? 0 : 1.5, opacity: isGone ? 0.45 : 1, "data-site": site.id });
    svg.append(glyph);
    if (hurt.length) {
      const r = this.size * 1.5, s = r * 0.7;
      svg.append(make("circle", { class: "ring", cx: x, cy: y, r, "stroke-dasharray": isGone ? null : "4 3", "data-hurt": hurt.join(" ") }));
      if (isGone) svg.append(make("path", { class: "ring", d: `M${x - s},${y - s}L${x + s},${y + s}M${x + s},${y - s}L${x - s},${y + s}` }));
    }
    const target = make("circle", { cx: x, cy: y, r: this.size * 1.5, fill: "transparent", style: "cursor:pointer" });
    this.explained(target, () => [`${SITE_NAMES[site.role] ?? site.role} ${site.name}`, this.figuresOfSite(site, phase), [...site.nodes.slice(0, 6).map(node => node in phase.faulted ? `${node}: ${phase.faulted[node]}` : node)]]);
    svg.append(target);
  }

  figuresOfSite(site, phase) {
    const load = phase.loads[site.id], rows = site.users ? [["viewers", number(site.users)]] : [];
    if (load) {
      rows.push(["requests", number(load.requests)]);
      if (load.cacheable) rows.push(["hit ratio", percent(load.hits / load.cacheable)]);
      if (load.bytes) rows.push(["bytes sent", bytes(load.bytes)]);
    }
    const sent = phase.flows.filter(flow => flow.source === site.id && flow.hop !== "link");
    if (site.role === "viewers" && sent.length) rows.push(["requests", number(sent.reduce((sum, flow) => sum + flow.requests, 0))], ["errors", number(sent.reduce((sum, flow) => sum + flow.errors, 0))]);
    return rows;
  }

  explained(target, text) {
    const show = event => { event.stopPropagation(); const [title, rows, lines] = text(); this.tip.show(event, title, rows, lines); };
    target.addEventListener("pointermove", show);
    target.addEventListener("pointerdown", show);
    target.addEventListener("pointerleave", event => { if (event.pointerType === "mouse") this.tip.hide(); });
  }
}
