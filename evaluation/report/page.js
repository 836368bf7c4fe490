"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const SVG = "http://www.w3.org/2000/svg";
  const short = (v) => (v === null || v === undefined ? "–" : Number.isInteger(v) ? v.toLocaleString("en") : String(+v.toPrecision(4)));

  const draw = (parent, name, attributes, text) => {
    const node = document.createElementNS(SVG, name);
    for (const key in attributes) node.setAttribute(key, attributes[key]);
    if (text !== undefined) node.textContent = text;
    parent.appendChild(node);
    return node;
  };

  // tables

  const number = (cell) => {
    if (typeof cell !== "string") return cell;
    const text = cell.replace(/,/g, "").trim();
    return /^[<>]?\s*[+-]?\d/.test(text) ? parseFloat(text.replace(/^[<>]\s*/, "")) : null;
  };

  const compare = (a, b) => {
    const x = number(a), y = number(b);
    if (x !== null && y !== null) return x - y;
    if (typeof a === "string" && typeof b === "string") return a.localeCompare(b, undefined, { numeric: true });
    return 0;
  };

  // what has no value is last in both directions
  const missing = (cell) => cell === null || cell === "" || cell === "-";

  const condition = (text, heads) => {
    const found = text.match(/^\s*(.+?)\s*(<=|>=|<|>|=)\s*([+-]?[\d.]+)\s*$/);
    const column = found ? heads.findIndex((head) => head.toLowerCase() === found[1].toLowerCase()) : -1;
    if (column < 0) return null;
    const bound = parseFloat(found[3]);
    const tests = { "<": (v) => v < bound, ">": (v) => v > bound, "<=": (v) => v <= bound, ">=": (v) => v >= bound, "=": (v) => v === bound };
    return (row) => !missing(row[column]) && number(row[column]) !== null && tests[found[2]](number(row[column]));
  };

  const makeTable = (home, { heads, rows, bars }) => {
    const body = home.querySelector("tbody");
    const lines = [...body.rows].map((element, place) => ({ element, place, cells: rows[place] }));
    const columns = heads.map((head, place) => (bars.includes(head) ? place : -1)).filter((place) => place >= 0);
    const highest = Math.max(0, ...rows.flatMap((row) => columns.map((place) => number(row[place]) || 0)));
    if (highest > 0)
      for (const line of lines)
        for (const place of columns) {
          const value = number(line.cells[place]);
          if (!(value > 0)) continue;
          const cell = line.element.cells[place];
          cell.classList.add("bar");
          cell.style.setProperty("--share", value / highest);
        }
    const tops = [...home.querySelectorAll("thead th")];
    tops.forEach((top, place) =>
      top.querySelector("button").addEventListener("click", () => {
        const textual = rows.every((row) => missing(row[place]) || number(row[place]) === null);
        const now = top.getAttribute("aria-sort");
        const order = now === "none" ? (textual ? "ascending" : "descending") : now === "ascending" ? "descending" : "ascending";
        tops.forEach((other) => other.setAttribute("aria-sort", other === top ? order : "none"));
        const sign = order === "ascending" ? 1 : -1;
        lines.sort((a, b) => {
          const x = a.cells[place], y = b.cells[place];
          return missing(x) - missing(y) || (missing(x) ? 0 : sign * compare(x, y)) || a.place - b.place;
        });
        body.append(...lines.map((line) => line.element));
      })
    );
    const input = home.querySelector("input[type=search]");
    if (!input) return;
    const said = home.querySelector("[role=status]");
    input.addEventListener("input", () => {
      const test = condition(input.value, heads);
      const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const line of lines) {
        const text = line.element.textContent.toLowerCase();
        const fits = test ? test(line.cells) : wanted.every((word) => text.includes(word));
        line.element.hidden = !fits;
        shown += fits;
      }
      said.textContent = shown === lines.length ? `${shown} rows` : `${shown} of ${lines.length} rows`;
    });
  };

  // charts

  const ticks = (low, high, wanted) => {
    const raw = (high - low) / wanted || 1;
    const size = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((k) => k * size).find((s) => s >= raw * 0.999);
    const found = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(+(k * step).toPrecision(10));
    return found;
  };

  const colour = (place) => `var(--c${place % 8})`;
  const placed = (series) => series.map((line, n) => ({ ...line, colour: line.colour ?? n }));
  const dashes = (place) => ["", "7 3", "2 3", "9 3 2 3"][Math.floor(place / 8) % 4];

  const axes = (place, wide, high, xs, ys, names) => {
    const svg = draw(place, "svg", { viewBox: `0 0 ${wide} ${high}`, role: "img", "aria-label": place.dataset.title, tabindex: 0 });
    const frame = { left: names.left || 46, right: wide - 14, top: 8, bottom: high - 38 };
    const x = (v) => frame.left + ((v - xs[0]) / (xs[1] - xs[0] || 1)) * (frame.right - frame.left);
    const y = (v) => frame.bottom - ((v - ys[0]) / (ys[1] - ys[0] || 1)) * (frame.bottom - frame.top);
    for (const t of ticks(xs[0], xs[1], wide < 500 ? 5 : 8)) {
      draw(svg, "line", { class: "grid", x1: x(t), x2: x(t), y1: frame.top, y2: frame.bottom });
      draw(svg, "text", { x: x(t), y: frame.bottom + 15, "text-anchor": "middle" }, String(t));
    }
    if (names.y !== undefined) {
      for (const t of ticks(ys[0], ys[1], 5)) {
        draw(svg, "line", { class: "grid", x1: frame.left, x2: frame.right, y1: y(t), y2: y(t) });
        draw(svg, "text", { x: frame.left - 5, y: y(t) + 4, "text-anchor": "end" }, String(t));
      }
      draw(svg, "text", { transform: `translate(11 ${(frame.top + frame.bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, names.y);
    }
    draw(svg, "rect", { class: "frame", x: frame.left, y: frame.top, width: frame.right - frame.left, height: frame.bottom - frame.top });
    draw(svg, "text", { x: (frame.left + frame.right) / 2, y: high - 4, "text-anchor": "middle" }, names.x);
    return { svg, frame, x, y };
  };

  const range = (values) => {
    const known = values.filter((v) => v !== null);
    if (!known.length) return [0, 1];
    const low = known.reduce((a, b) => Math.min(a, b)), high = known.reduce((a, b) => Math.max(a, b));
    const pad = low === high ? Math.abs(low) * 0.1 || 1 : 0;
    return [low - pad, high + pad];
  };

  const width = (place) => Math.max(300, Math.round(place.clientWidth || 800));

  const drawChart = (place, chart) => {
    place.replaceChildren();
    const wide = width(place), high = wide < 500 ? 300 : 380;
    const xs = range(chart.series.flatMap((s) => s.x));
    const own = range(chart.series.flatMap((s) => s.y)), room = 0.04 * (own[1] - own[0]);
    const ys = chart.range || [own[0] - room, own[1] + room];
    const plot = axes(place, wide, high, xs, ys, chart);
    placed(chart.series).forEach((line) => {
      const n = line.colour;
      let path = "", before = null;
      line.x.forEach((v, i) => {
        const w = line.y[i];
        if (w === null || v === null) return void (before = null);
        const to = `${plot.x(v).toFixed(1)} ${plot.y(w).toFixed(1)}`;
        if (line.line) path += before === null ? `M${to}` : line.steps ? `H${plot.x(v).toFixed(1)}V${plot.y(w).toFixed(1)}` : `L${to}`;
        before = w;
        if (line.marks) draw(plot.svg, "circle", { cx: plot.x(v), cy: plot.y(w), r: 3, fill: colour(n) });
      });
      const style = line.dashed ? "var(--soft)" : colour(n);
      if (line.line) draw(plot.svg, "path", { class: `curve${line.dashed ? " dashed" : ""}`, d: path || "M0 0", stroke: style, "stroke-dasharray": line.dashed ? "6 5" : dashes(n) });
    });
    legend(place, chart.series);
    hover(place, plot, chart, xs, wide);
    return plot;
  };

  const legend = (place, series) => {
    const list = document.createElement("ul");
    list.className = "legend";
    placed(series).forEach((line) => {
      const n = line.colour;
      const item = document.createElement("li");
      const key = draw(item, "svg", { viewBox: "0 0 26 10", "aria-hidden": "true" });
      if (!line.line) draw(key, "circle", { cx: 13, cy: 5, r: 4, fill: colour(n) });
      else draw(key, "line", { x1: 0, x2: 26, y1: 5, y2: 5, stroke: line.dashed ? "var(--soft)" : colour(n), "stroke-width": 3, "stroke-dasharray": line.dashed ? "6 5" : dashes(n) });
      item.append(line.name);
      list.append(item);
    });
    place.append(list);
  };

  const nearest = (values, wanted) => {
    let best = -1;
    values.forEach((v, i) => {
      if (v !== null && (best < 0 || Math.abs(v - wanted) < Math.abs(values[best] - wanted))) best = i;
    });
    return best;
  };

  const hover = (place, plot, chart, xs, wide) => {
    const cursor = draw(plot.svg, "line", { class: "cursor", y1: plot.frame.top, y2: plot.frame.bottom, visibility: "hidden" });
    const tip = document.createElement("div");
    tip.className = "tip";
    tip.hidden = true;
    tip.setAttribute("role", "status");
    place.append(tip);
    let at = null;
    const show = (value) => {
      at = Math.min(Math.max(value, xs[0]), xs[1]);
      const lines = [`${chart.x} ${short(at)}`];
      for (const line of chart.series) {
        const i = line.dashed ? -1 : nearest(line.x, at);
        if (i >= 0) lines.push(`${line.name}  ${short(line.y[i])}`);
      }
      const spot = plot.x(at);
      cursor.setAttribute("x1", spot);
      cursor.setAttribute("x2", spot);
      cursor.setAttribute("visibility", "visible");
      tip.textContent = lines.join("\n");
      tip.hidden = false;
      const left = (spot / wide) * place.clientWidth;
      const over = left > place.clientWidth / 2;
      tip.style.left = over ? "auto" : `${left + 12}px`;
      tip.style.right = over ? `${place.clientWidth - left + 12}px` : "auto";
      tip.style.top = "12px";
    };
    const hide = () => {
      tip.hidden = true;
      cursor.setAttribute("visibility", "hidden");
    };
    plot.svg.addEventListener("pointermove", (event) => {
      const box = plot.svg.getBoundingClientRect();
      const spot = ((event.clientX - box.left) / box.width) * wide;
      show(xs[0] + ((spot - plot.frame.left) / (plot.frame.right - plot.frame.left)) * (xs[1] - xs[0]));
    });
    plot.svg.addEventListener("pointerleave", hide);
    plot.svg.addEventListener("blur", hide);
    plot.svg.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      show((at === null ? xs[0] : at) + (step * (xs[1] - xs[0])) / 50);
    });
  };

  const drawIntervals = (place, { x: name, rows }) => {
    place.replaceChildren();
    const wide = width(place), row = 26;
    const longest = rows.reduce((a, [text]) => Math.max(a, text.length), 0);
    const left = Math.min(longest * 7 + 12, wide * 0.45);
    const all = range(rows.flatMap(([, ...values]) => values)), room = 0.05 * (all[1] - all[0]);
    const fits = Math.max(4, Math.floor((left - 12) / 7));
    const plot = axes(place, wide, rows.length * row + 54, [all[0] - room, all[1] + room], [0, 1], { x: name, left });
    if (all[0] < 0 && all[1] > 0)
      draw(plot.svg, "line", { class: "cursor", x1: plot.x(0), x2: plot.x(0), y1: plot.frame.top, y2: plot.frame.bottom });
    rows.forEach(([text, value, low, high], n) => {
      const y = plot.frame.top + row * (n + 0.5) + 2;
      const label = draw(plot.svg, "text", { x: left - 6, y: y + 4, "text-anchor": "end" }, text.length > fits ? `${text.slice(0, fits - 1)}…` : text);
      draw(label, "title", {}, text);
      if (value === null) return;
      const group = draw(plot.svg, "g", {});
      draw(group, "title", {}, `${text}: ${short(value)} (${short(low)} to ${short(high)})`);
      draw(group, "rect", { x: left, y: y - row / 2, width: plot.frame.right - left, height: row, fill: "transparent" });
      draw(group, "circle", { cx: plot.x(value), cy: y, r: 4, fill: colour(0) });
      if (low === null || high === null) return;
      draw(group, "line", { x1: plot.x(low), x2: plot.x(high), y1: y, y2: y, stroke: colour(0), "stroke-width": 2 });
      for (const end of [low, high]) draw(group, "line", { x1: plot.x(end), x2: plot.x(end), y1: y - 7, y2: y + 7, stroke: colour(0), "stroke-width": 1.5 });
    });
  };

  // thresholds

  const makeThresholds = (home, entries) => {
    const [entry, category] = ["entry", "category"].map((name) => home.querySelector(`select.${name}`));
    const slider = home.querySelector("input[type=range]"), score = home.querySelector("output.score");
    const place = home.querySelector(".drawing");
    let curve, plot, mark;
    const figures = (i) => {
      const tp = curve.right[i], fp = curve.wrong[i];
      return { tp, fp, fn: curve.objects - tp, precision: tp / (tp + fp), recall: tp / curve.objects, f1: (2 * tp) / (tp + fp + curve.objects) };
    };
    const move = () => {
      // to the right scores rise, as on the axis below
      const i = curve.score.length - 1 - slider.value;
      if (i < 0) {
        score.textContent = "–";
        for (const cell of home.querySelectorAll("[data-of]")) cell.textContent = "–";
        return;
      }
      const found = figures(i);
      score.textContent = short(curve.score[i]);
      slider.setAttribute("aria-valuetext", `score at least ${short(curve.score[i])}`);
      for (const cell of home.querySelectorAll("[data-of]")) {
        const value = found[cell.dataset.of];
        const share = ["precision", "recall", "f1"].includes(cell.dataset.of);
        cell.textContent = Number.isNaN(value) ? "–" : share ? value.toFixed(4) : short(value);
      }
      if (mark) {
        mark.setAttribute("x1", plot.x(curve.score[i]));
        mark.setAttribute("x2", plot.x(curve.score[i]));
      }
    };
    const redraw = () => {
      mark = null;
      place.replaceChildren();
      if (!curve.score.length) return;
      const all = curve.score.map((_, i) => figures(i));
      const clean = (name) => all.map((one) => (Number.isFinite(one[name]) ? one[name] : null));
      const series = [["F1", "f1"], ["precision", "precision"], ["recall", "recall"]].map(([name, key]) => ({ name, x: curve.score, y: clean(key), steps: true, line: true }));
      plot = drawChart(place, { x: "least score kept", y: "at IoU .50", range: [0, 1], series });
      mark = draw(plot.svg, "line", { y1: plot.frame.top, y2: plot.frame.bottom, stroke: "var(--ink)", "stroke-width": 1.5 });
      move();
    };
    const take = () => {
      curve = entries[entry.value][category.value] || entries[entry.value][""];
      slider.max = Math.max(curve.score.length - 1, 0);
      slider.value = curve.score.length - 1 - Math.max(curve.best, 0);
      redraw();
      move();
    };
    const offer = () => {
      const kept = category.value;
      category.replaceChildren(
        ...Object.keys(entries[entry.value]).map((name) => new Option(name === "" ? "all categories" : name, name))
      );
      if (kept in entries[entry.value]) category.value = kept;
      category.parentElement.hidden = category.options.length < 2;
      take();
    };
    entry.parentElement.hidden = entry.options.length < 2;
    entry.addEventListener("change", offer);
    category.addEventListener("change", take);
    slider.addEventListener("input", move);
    offer();
    return redraw;
  };

  // the page

  const redraws = [];
  for (const [name, block] of Object.entries(data)) {
    const home = document.getElementById(name);
    const place = home.querySelector(".drawing");
    if (block.kind === "table") makeTable(home, block);
    if (block.kind === "chart") redraws.push([place, () => drawChart(place, block)]);
    if (block.kind === "intervals") redraws.push([place, () => drawIntervals(place, block)]);
    if (block.kind === "thresholds") redraws.push([place, makeThresholds(home, block.entries)]);
  }
  // what is hidden has no width, and is drawn when it is shown
  const redraw = () => redraws.forEach(([place, again]) => place.offsetParent && again());
  for (const home of document.querySelectorAll(".choice")) {
    const select = home.querySelector(":scope > .controls select");
    if (!select) continue;
    const parts = [...home.children].filter((child) => child.classList.contains("chosen"));
    select.addEventListener("change", () => {
      parts.forEach((part, place) => (part.hidden = place !== select.selectedIndex));
      redraw();
    });
  }
  let before = window.innerWidth;
  window.addEventListener("resize", () => {
    if (window.innerWidth !== before) redraw();
    before = window.innerWidth;
  });
  redraw();
})();
