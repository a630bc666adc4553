"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const colors = { generated: "#0b7285", train: "#e8890c", test: "#7048a8" };
  const elementColors = { H: "#8a949e", C: "#2b3640", O: "#d62828", N: "#2f5fd0", F: "#3a9d3a", S: "#b8960c" };
  const faint = { gridcolor: "#eef1f4", zerolinecolor: "#dfe4e8", linecolor: "#c9d2da", ticks: "outside", ticklen: 3, tickcolor: "#c9d2da", fixedrange: true };
  const layout = (more) => Object.assign({
    margin: { l: 46, r: 10, t: 26, b: 36 }, font: { family: "system-ui, sans-serif", size: 12, color: "#46525e" },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest",
    legend: { orientation: "h", x: 1, xanchor: "right", y: 1.12 },
  }, more);
  const settings = { displayModeBar: false, responsive: true };

  // Drawn when it comes into sight: a page of many plots opens at once.
  const waiting = new Map();
  const sight = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      sight.unobserve(entry.target);
      waiting.get(entry.target)();
    }
  }, { rootMargin: "200px" });
  const whenSeen = (element, draw) => { if (element) { waiting.set(element, draw); sight.observe(element); } };

  // Training ------------------------------------------------------------------------------------
  whenSeen(at("loss-plot"), () => {
    const names = ["loss", "validation_loss"].filter((name) => data.loss[name]);
    const traces = names.map((name) => ({
      name: name.replaceAll("_", " "), ...data.loss[name], mode: name.startsWith("validation") ? "lines+markers" : "lines",
      line: { width: name === "validation_loss" ? 2.5 : 1.5, color: name === "loss" ? "#9cc7cf" : name === "validation_loss" ? "#0b7285" : undefined },
      marker: { size: 5 },
    }));
    if (data.loss.valid) traces.push({
      name: "valid structures", x: data.loss.valid.x, y: data.loss.valid.y.map((v) => 100 * v), yaxis: "y2",
      mode: "lines+markers", line: { color: "#2b8a3e", width: 2, dash: "dot" }, marker: { size: 6 },
    });
    Plotly.newPlot("loss-plot", traces, layout({
      margin: { l: 54, r: data.loss.valid ? 54 : 12, t: 34, b: 40 },
      xaxis: { ...faint, title: { text: "training step" } }, yaxis: { ...faint, title: { text: "loss (nats)" } },
      yaxis2: { overlaying: "y", side: "right", range: [0, 104], tickvals: [0, 25, 50, 75, 100], title: { text: "valid (%)" }, showgrid: false, fixedrange: true },
      legend: { orientation: "h", x: 0, y: 1.14 },
    }), settings);
  });

  // Distributions -------------------------------------------------------------------------------
  const box = at("distribution-plots");
  if (box) {
    const far = ({ distances, unit }) => Object.entries(distances).map(([name, apart]) =>
      "<span style='color:" + colors[name] + "'>" + apart.toFixed(unit === "Å" ? 4 : 2) + "</span>").join(" · ") + (Object.keys(distances).length ? " " + unit : "");
    data.distributions.plots.forEach((plot) => {
      const div = document.createElement("div");
      div.className = "plot";
      box.append(div);
      whenSeen(div, () => Plotly.newPlot(div, Object.entries(plot.density).map(([name, y]) => ({
        name, x: y.map((_, k) => plot.start + (k + 0.5) * plot.width), y, mode: "lines", line: { shape: "hvh", width: 1.8, color: colors[name] },
        fill: name === "generated" ? "tozeroy" : "none", fillcolor: "rgba(11,114,133,.15)", hovertemplate: "%{x:.5~g} " + plot.unit + "<extra>" + name + "</extra>",
      })), layout({
        title: { text: "<b>" + plot.kind + "</b> " + plot.quantity, font: { size: 13 }, x: 0.02, y: 0.97 }, showlegend: false,
        annotations: [{ text: far(plot), showarrow: false, x: 1, y: 1, xref: "paper", yref: "paper", xanchor: "right", yanchor: "bottom", yshift: 3, font: { size: 11.5 } }],
        xaxis: { ...faint, title: { text: plot.unit, standoff: 4 } }, yaxis: { ...faint, rangemode: "tozero", nticks: 4 },
      }), settings));
    });
    const rings = document.createElement("div");
    rings.className = "plot";
    box.append(rings);
    whenSeen(rings, () => Plotly.newPlot(rings, Object.entries(data.distributions.rings.per_molecule).map(([name, y]) => ({
      name, y, type: "bar", x: data.distributions.rings.sizes.map((size) => (size > 8 ? "9+" : String(size))), marker: { color: colors[name] },
    })), layout({
      title: { text: "<b>Rings</b> per molecule", font: { size: 13 }, x: 0.02, y: 0.97 }, showlegend: false, barmode: "group",
      bargap: 0.25, xaxis: { ...faint, type: "category", title: { text: "ring size", standoff: 4 } }, yaxis: { ...faint, nticks: 4 },
    }), settings));
  }

  // 3-D -----------------------------------------------------------------------------------------
  const pad = (text, width) => String(text).padStart(width);
  const molblock = (symbols, pos, bonds) => ["", "", "", pad(symbols.length, 3) + pad(bonds.length, 3) + "  0  0  0  0  0  0  0  0999 V2000",
    ...symbols.map((symbol, k) => pos[k].map((x) => pad(x.toFixed(4), 10)).join("") + " " + symbol.padEnd(3) + " 0  0  0  0  0  0  0  0  0  0  0  0"),
    ...bonds.map((bond) => pad(bond[0] + 1, 3) + pad(bond[1] + 1, 3) + pad(bond[2] || 1, 3) + "  0"), "M  END", ""].join("\n");
  const triples = (flat, size, scale) => {
    const rows = [];
    for (let k = 0; k < flat.length; k += size) rows.push(flat.slice(k, k + size).map((x) => x * scale));
    return rows;
  };
  const style = (more) => ({ stick: { radius: 0.13, ...more }, sphere: { scale: 0.26, ...more } });
  let viewer = null;
  let open = -1;
  function show(place) {
    const row = data.molecules[place];
    open = place;
    if (!at("sheet").open) at("sheet").showModal();
    viewer = viewer || $3Dmol.createViewer(at("viewer"), { backgroundColor: "white", antialias: true });
    viewer.resize();
    viewer.removeAllModels();
    const symbols = row.z.split(" ");
    const bonds = triples(row.bonds, 3, 1);
    viewer.addModel(molblock(symbols, triples(row.pos, 3, 0.001), bonds), "sdf").setStyle({}, style({ colorscheme: "Jmol" }));
    if (row.given) viewer.getModel(0).setStyle({ index: [...Array(row.given).keys()] }, style({ colorscheme: "cyanCarbon" }));
    if (row.relaxed) viewer.addModel(molblock(symbols, triples(row.relaxed, 3, 0.001), bonds), "sdf")
      .setStyle({}, { stick: { radius: 0.07, color: "#0b7285" }, sphere: { scale: 0.15, color: "#0b7285" } });
    viewer.zoomTo();
    viewer.render();
    at("sheet-drawing").innerHTML = data.drawings[row.drawing] || "";
    at("sheet-smiles").textContent = row.smiles || "not valid: " + row.failure;
    const facts = [["structure", row.number], ["status", row.status]];
    if (row.log_prob !== undefined) facts.push(["log-density (nats, T = 1)", row.log_prob.toFixed(2)]);
    if (row.count > 1) facts.push(["found", row.count + " times"]);
    if (row.energy !== undefined) facts.push(["energy", row.energy.toFixed(3) + " eV"]);
    if (row.rmsd !== undefined) facts.push(["RMSD, all atoms", row.rmsd.toFixed(3) + " Å"]);
    if (row.rmsd_heavy !== undefined) facts.push(["RMSD, heavy atoms", row.rmsd_heavy.toFixed(3) + " Å"]);
    for (const plot of data.targets) for (const point of plot.points) if (point[0] === place) {
      const unit = plot.unit ? " " + plot.unit : "";
      facts.push([plot.name + ", asked", point[1] + unit], [plot.name + ", " + plot.source, point[2] + unit]);
    }
    facts.push(...Object.entries(row.verdicts));
    at("sheet-facts").replaceChildren(...facts.flatMap(([name, value]) => [["dt", name], ["dd", value]]).map(([tag, text]) => {
      const element = document.createElement(tag);
      element.textContent = text;
      return element;
    }));
    at("sheet-legend").textContent = row.relaxed ? "Thin, teal: after relaxation." : row.given ? "Cyan carbons and what is on them: the fragment." : "Drag to turn, scroll to zoom.";
  }
  at("close").onclick = () => at("sheet").close();
  at("sheet").onclick = (event) => { if (event.target === at("sheet")) at("sheet").close(); };
  const step = (by) => { const k = order.indexOf(open) + by; if (k >= 0 && k < order.length) show(order[k]); };
  at("before").onclick = () => step(-1);
  at("after").onclick = () => step(1);
  at("sheet").onkeydown = (event) => { if (event.key === "ArrowLeft") step(-1); if (event.key === "ArrowRight") step(1); };

  // Gallery -------------------------------------------------------------------------------------
  let order = [];
  let drawn = 0;
  let ascending = true;
  const CHUNK = 48;
  const keys = { number: "number", log_prob: "log-density", rmsd: "RMSD after relaxation", energy: "energy", count: "times found", smiles: "SMILES" };
  function card(place) {
    const row = data.molecules[place];
    const button = document.createElement("button");
    button.className = "card";
    button.dataset.place = place;
    button.innerHTML = data.drawings[row.drawing] || "";
    const code = document.createElement("code");
    code.textContent = row.smiles || " ";
    const small = document.createElement("small");
    const tag = document.createElement("span");
    tag.className = "tag " + (row.failure ? "broken" : row.status);
    tag.textContent = row.status;
    const value = document.createElement("span");
    const key = at("sort").value;
    const chosen = typeof row[key] === "number" && key !== "number" ? row[key] : row.log_prob;
    const units = { count: "× ", rmsd: " Å", energy: " eV" };
    const shownKey = units[key] && row[key] !== undefined ? key : "log_prob";
    value.textContent = chosen === undefined ? "" : shownKey === "count" ? "× " + chosen : shownKey === "log_prob" ? "log p " + chosen.toFixed(1) : chosen.toFixed(2) + units[shownKey];
    value.title = keys[shownKey];
    small.append(tag, value);
    button.append(code, small);
    button.onclick = () => show(place);
    return button;
  }
  function more() {
    const part = document.createDocumentFragment();
    for (const place of order.slice(drawn, drawn + CHUNK)) part.append(card(place));
    drawn += CHUNK;
    at("gallery").append(part);
  }
  function arrange() {
    const [wanted, key, text] = [at("filter").value, at("sort").value, at("search").value.trim()];
    const seen = new Set();
    const sign = ascending ? 1 : -1;
    order = data.molecules.map((_, k) => k).filter((k) => {
      const row = data.molecules[k];
      const kind = wanted === "all" || (wanted === "any valid" ? !row.failure : wanted === "any broken" ? row.failure : row.status === wanted);
      return kind && (!text || row.smiles.includes(text));
    });
    order.sort((a, b) => {
      const [x, y] = [data.molecules[a][key], data.molecules[b][key]];
      const [noX, noY] = [x === undefined || x === "", y === undefined || y === ""];
      if (noX || noY) return noX - noY || a - b;  // what has no value comes last
      return sign * (x < y ? -1 : x > y ? 1 : 0) || a - b;
    });
    if (at("once").checked) order = order.filter((k) => !data.molecules[k].smiles || (!seen.has(data.molecules[k].smiles) && seen.add(data.molecules[k].smiles)));
    at("gallery").replaceChildren();
    at("shown").textContent = order.length.toLocaleString("en") + " shown";
    drawn = 0;
    more();
  }
  if (at("gallery")) {
    const options = (select, entries) => select.append(...entries.map(([value, text]) => new Option(text, value)));
    const kinds = new Set(data.molecules.map((row) => row.status));
    const broken = new Set(data.molecules.filter((row) => row.failure).map((row) => row.status));
    const valid = [...kinds].filter((kind) => !broken.has(kind) && kind !== "valid").sort();
    options(at("filter"), [["all", "all"], ["any valid", "valid"], ...valid.map((k) => [k, "valid: " + k]), ...(broken.size ? [["any broken", "broken"]] : []), ...[...broken].sort().map((k) => [k, "broken: " + k])]);
    options(at("sort"), Object.entries(keys).filter(([key]) => data.molecules.some((row) => row[key] !== undefined)));
    for (const id of ["filter", "sort", "once"]) at(id).onchange = arrange;
    at("search").oninput = arrange;
    at("direction").onclick = () => { ascending = !ascending; at("direction").textContent = ascending ? "↑" : "↓"; arrange(); };
    arrange();
    new IntersectionObserver((entries) => { if (entries[0].isIntersecting && drawn < order.length) more(); }, { rootMargin: "900px" }).observe(at("more"));
  }

  // Relaxation ----------------------------------------------------------------------------------
  whenSeen(at("relax-plot"), () => {
    const rows = data.molecules.map((row, place) => ({ ...row, place })).filter((row) => row.rmsd !== undefined && row.energy !== undefined);
    const least = Math.min(...rows.map((row) => row.energy));
    const groups = [...new Set(rows.map((row) => row.status))];
    const tints = { new: "#2b8a3e", valid: "#2b8a3e", train: "#2f5597", seen: "#2f5597", test: "#d9860b" };
    Plotly.newPlot("relax-plot", groups.map((group) => {
      const some = rows.filter((row) => row.status === group);
      return { name: group, mode: "markers", x: some.map((row) => row.rmsd), y: some.map((row) => 23.0605 * (row.energy - least)), customdata: some.map((row) => row.place), marker: { size: 8, color: tints[group] || "#c0392b", opacity: 0.8 }, hovertemplate: "%{x:.3f} Å, %{y:.1f} kcal/mol<extra>" + group + "</extra>" };
    }), layout({ xaxis: { ...faint, title: { text: "RMSD of all atoms (Å)" }, rangemode: "tozero" }, yaxis: { ...faint, title: { text: "energy above the lowest (kcal/mol)" } } }), settings);
    at("relax-plot").on("plotly_hover", (event) => {
      const row = data.molecules[event.points[0].customdata];
      at("under-cursor").innerHTML = data.drawings[row.drawing] || "";
      const text = document.createElement("p");
      text.className = "lead";
      text.textContent = (row.smiles || row.failure) + ", structure " + row.number;
      at("under-cursor").append(text);
    });
    at("relax-plot").on("plotly_click", (event) => show(event.points[0].customdata));
  });

  // Targets -------------------------------------------------------------------------------------
  const aims = at("target-plots");
  if (aims) data.targets.filter((plot) => plot.points.length).forEach((plot) => {
    const div = document.createElement("div");
    div.className = "plot tall";
    aims.append(div);
    whenSeen(div, () => {
      const [asked, found] = [1, 2].map((k) => plot.points.map((point) => point[k]));
      const ends = [Math.min(...asked, ...found), Math.max(...asked, ...found)];
      const unit = plot.unit ? " (" + plot.unit + ")" : "";
      Plotly.newPlot(div, [
        { x: ends, y: ends, mode: "lines", line: { color: "#c9d2da", width: 1 }, hoverinfo: "skip" },
        { x: asked, y: found, mode: "markers", customdata: plot.points.map((point) => point[0]), marker: { size: 6, color: "#0b7285", opacity: 0.6 }, hovertemplate: "asked %{x:.4~g}, " + plot.source + " %{y:.4~g}<extra>structure %{customdata}</extra>" },
      ], layout({
        title: { text: "<b>" + plot.name + "</b>", font: { size: 13 }, x: 0.02, y: 0.97 }, showlegend: false,
        xaxis: { ...faint, title: { text: "asked" + unit, standoff: 4 } }, yaxis: { ...faint, title: { text: plot.source + unit } },
      }), settings);
      div.on("plotly_click", (event) => { const place = event.points[0].customdata; if (data.molecules[place]) show(place); });
    });
  });

  // One molecule being built --------------------------------------------------------------------
  whenSeen(at("stage"), () => {
    const built = data.construction;
    const scene = $3Dmol.createViewer(at("stage"), { backgroundColor: "white", antialias: true });
    // The view is that of the whole molecule, so that it stays while atoms come.
    scene.addModel(molblock(built.z, built.pos, built.bonds), "sdf");
    scene.zoomTo();
    const names = built.z.map((symbol, k) => symbol + (built.z.slice(0, k + 1).filter((other) => other === symbol).length));
    const near = (a, b) => Math.hypot(...built.pos[a].map((x, k) => x - built.pos[b][k]));
    let timer = null;
    function draw(size) {  // of them placed; the next atom is number `size`
      const now = built.steps[size - 1];
      scene.removeAllModels();
      scene.removeAllShapes();
      const bonds = built.bonds.filter(([a, b]) => a <= size && b <= size);
      const model = scene.addModel(molblock(built.z.slice(0, size + 1), built.pos.slice(0, size + 1), bonds), "sdf");
      model.setStyle({}, style({ colorscheme: "Jmol" }));
      model.setStyle({ index: size }, style({ color: "#0b9cb5" }));
      if (now.focus !== undefined) {
        const [fx, fy, fz] = built.pos[now.focus];
        scene.addSphere({ center: { x: fx, y: fy, z: fz }, radius: 0.72, color: "#f2b84b", opacity: 0.38 });
      }
      scene.render();
      const traces = [];
      const ticks = { values: [], texts: [] };
      for (let k = 0; k < size; k++) {
        const row = now.p[k];
        const most = Math.max(...row, 1);
        const base = size - 1 - k;
        const centers = row.map((_, bin) => bin * built.spacing);
        const color = elementColors[built.z[k]] || "#7048a8";
        const focus = now.focus === k;
        traces.push({ x: centers, y: centers.map(() => base), mode: "lines", line: { width: 0.5, color: "#d5dbe0" }, hoverinfo: "skip" });
        traces.push({ x: centers, y: row.map((v) => base + 0.85 * v / most), mode: "lines", line: { width: focus ? 2.6 : 1.3, color }, fill: "tonexty", fillcolor: color + (focus ? "40" : "1c"), customdata: row.map((v) => v / 1e4), hovertemplate: names[k] + ": %{x:.2f} Å, p = %{customdata:.3f}<extra></extra>" });
        const distance = near(k, size);
        const height = row[Math.min(row.length - 1, Math.round(distance / built.spacing))] / most;
        traces.push({ x: [distance], y: [base + 0.85 * height], mode: "markers", marker: { size: 7, color: "#0b9cb5", line: { width: 1, color: "#fff" } }, hovertemplate: "placed at %{x:.2f} Å<extra>" + names[k] + "</extra>" });
        ticks.values.push(base);
        ticks.texts.push(focus ? "<b>" + names[k] + " (focus)</b>" : names[k]);
      }
      Plotly.react("ridges", traces, layout({
        margin: { l: 74, r: 8, t: 8, b: 42 }, showlegend: false,
        xaxis: { ...faint, range: [0.5, built.steps[0].p[0].length * built.spacing], title: { text: "distance to the new " + built.z[size] + " (Å)" } },
        yaxis: { fixedrange: true, showgrid: false, zeroline: false, range: [-0.15, Math.max(size, 3) + 0.05], tickvals: ticks.values, ticktext: ticks.texts },
      }), settings);
      at("step").value = size;
      at("step-text").textContent = "step " + size + " of " + built.steps.length + ": " + names[size] + " joins " + size + (size === 1 ? " atom" : " atoms");
    }
    const go = (size) => draw(Math.min(Math.max(size, 1), built.steps.length));
    const stop = () => { clearInterval(timer); timer = null; at("play").textContent = "Play"; };
    at("step").oninput = () => { stop(); go(Number(at("step").value)); };
    at("previous").onclick = () => { stop(); go(Number(at("step").value) - 1); };
    at("next").onclick = () => { stop(); go(Number(at("step").value) + 1); };
    at("play").onclick = () => {
      if (timer) return stop();
      at("play").textContent = "Pause";
      if (Number(at("step").value) === built.steps.length) go(1);
      timer = setInterval(() => {
        const size = Number(at("step").value);
        if (size === built.steps.length) return stop();
        go(size + 1);
      }, 900);
    };
    go(Math.min(6, built.steps.length));
  });
})();
