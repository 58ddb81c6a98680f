// Charts of a report: each is drawn by uPlot from the exact columns in the page, sampled for the width of the screen.
"use strict";

const COLUMNS_OF_PIXELS = 1200; // of a sampled curve: each keeps its lowest and its highest value
const PAGE = 100; // rows of a table at a time

// A plain loop: Uint8Array.from with a function takes twenty times as long.
function decode(binary) {
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

async function unpack(id) {
  const text = document.getElementById(id).textContent.trim();
  const bytes = Uint8Array.fromBase64 ? Uint8Array.fromBase64(text) : decode(atob(text));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function format(value) {
  if (value === null || value === undefined) return "–";
  if (Number.isInteger(value)) return value.toLocaleString("en");
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString("en");
  return size !== 0 && size < 0.001 ? value.toExponential(2) : Number(value.toPrecision(4)).toString();
}

function clock(seconds) {
  const s = Math.round(seconds), h = Math.floor(s / 3600), m = Math.floor((s % 3600) / 60);
  if (h) return `${h} h ${String(m).padStart(2, "0")}`;
  return m ? `${m} min ${String(s % 60).padStart(2, "0")}` : `${s} s`;
}

// x and y of one series without what a later attempt did again; x ascends.
function points(set, column, mode) {
  const xs = [], ys = [];
  const base = mode === "time" ? set.start : 0;
  const x = mode === "time" ? set.time : set.step, y = set[column], gone = set.superseded;
  for (let i = 0; i < x.length; i++) {
    if ((gone && gone[i]) || x[i] === null || y[i] === null || y[i] === undefined) continue;
    const at = x[i] - base;
    if (xs.length && at <= xs[xs.length - 1]) {
      if (at === xs[xs.length - 1]) ys[ys.length - 1] = y[i];
      continue;
    }
    xs.push(at);
    ys.push(y[i]);
  }
  return [xs, ys];
}

// At most two points for each column of pixels between lo and hi, and the neighbours outside.
function thin([xs, ys], lo, hi) {
  let first = 0, last = xs.length;
  while (first < last && xs[first] < lo) first++;
  while (last > first && xs[last - 1] > hi) last--;
  first = Math.max(0, first - 1);
  last = Math.min(xs.length, last + 1);
  if (last - first <= 2 * COLUMNS_OF_PIXELS) return [xs.slice(first, last), ys.slice(first, last)];
  const outX = [], outY = [], step = (last - first) / COLUMNS_OF_PIXELS;
  for (let c = 0; c < COLUMNS_OF_PIXELS; c++) {
    const from = first + Math.floor(c * step), to = first + Math.floor((c + 1) * step);
    let low = from, high = from;
    for (let i = from; i < to; i++) {
      if (ys[i] < ys[low]) low = i;
      if (ys[i] > ys[high]) high = i;
    }
    for (const i of low === high ? [low] : [Math.min(low, high), Math.max(low, high)]) {
      outX.push(xs[i]);
      outY.push(ys[i]);
    }
  }
  return [outX, outY];
}

class Chart {
  constructor(board, spec, holder) {
    Object.assign(this, { board, spec, holder });
    this.live = holder.parentElement.querySelector("[aria-live]");
    holder.addEventListener("keydown", (event) => this.key(event));
  }

  build() {
    const { board, spec, holder } = this;
    this.plot?.destroy();
    this.curves = spec.series.map((s) => points(board.sets[s.set], s.column, board.mode));
    const ends = this.curves.filter(([xs]) => xs.length).flatMap(([xs]) => [xs[0], xs[xs.length - 1]]);
    this.full = ends.length ? [Math.min(...ends), Math.max(...ends)] : [0, 1];
    if (this.full[0] === this.full[1]) this.full = [this.full[0] - 0.5, this.full[1] + 0.5];
    const ink = css("--soft"), line = css("--line");
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
    const time = board.mode === "time";
    const whole = time ? {} : { incrs: [1, 2, 5].flatMap((n) => [n, n * 10, n * 100, n * 1e3, n * 1e4, n * 1e5]).sort((a, b) => a - b) };
    this.plot = new uPlot({
      width: holder.clientWidth, height: 240,
      scales: { x: { time: false, range: (u, lo, hi) => (lo === null ? this.full : [lo, hi]) }, y: this.scaleY() },
      axes: [
        { ...axis, ...whole, label: time ? "time since the training began" : "step", labelSize: 22, labelFont: "12px system-ui",
          values: (u, ticks) => ticks.map((v) => (time ? clock(v) : format(v))), space: time ? 80 : 50 },
        { ...axis, label: spec.unit, labelSize: 22, labelFont: "12px system-ui", size: 62,
          values: (u, ticks) => ticks.map((v) => (v === null ? "" : format(v))) },
      ],
      series: [
        { label: time ? "time" : "step", value: (u, v) => (v === null ? "–" : time ? clock(v) : format(v)) },
        ...spec.series.map((s, i) => ({
          label: s.label, stroke: css(`--series-${s.color}`), width: s.points ? 2 : 1.5, spanGaps: true,
          dash: s.dash || [], points: { show: Boolean(s.points) || this.curves[i][0].length < 3, size: 6 },
          value: (u, v) => format(v),
        })),
        ...spec.lines.map((l) => ({
          label: l.label, stroke: css(`--series-${l.color}`), width: 1.5, dash: [7, 5],
          points: { show: false }, value: () => format(l.value),
        })),
      ],
      cursor: { sync: { key: "ql" }, focus: { prox: 24 }, drag: { x: true, y: false } },
      legend: { live: true },
      hooks: { setScale: [(u, key) => key === "x" && board.zoomed(this)], drawClear: [(u) => this.marks(u)] },
    }, this.data(...this.full), holder);
  }

  scaleY() {
    const values = this.spec.lines.map((l) => l.value);
    return {
      distr: this.spec.log ? 3 : 1,
      range: (u, lo, hi) => {
        const low = Math.min(lo ?? Infinity, ...values), high = Math.max(hi ?? -Infinity, ...values);
        if (!Number.isFinite(low) || !Number.isFinite(high)) return [0, 1];
        const pad = (high - low || Math.abs(high) || 1) * 0.06;
        return [this.spec.zero || (low >= 0 && low - pad < 0) ? 0 : low - pad, high + pad];
      },
    };
  }

  data(lo, hi) {
    const curves = this.curves.map((curve) => thin(curve, lo, hi)).map((c) => (c[0].length ? c : [[lo], [null]]));
    const lines = this.spec.lines.map((l) => [[lo, hi], [l.value, l.value]]);
    return uPlot.join([...curves, ...lines]);
  }

  // Quarter epochs and checkpoints below the curves, repairs and resumptions above them.
  marks(u) {
    const ctx = u.ctx, { left, top, width, height } = u.bbox;
    ctx.save();
    ctx.beginPath();
    ctx.rect(left - 6 * devicePixelRatio, top, width + 12 * devicePixelRatio, height);
    ctx.clip();
    for (const mark of this.board.marks) {
      const at = this.board.mode === "time" ? mark.time : mark.step;
      if (at === null || at === undefined) continue;
      const x = Math.round(u.valToPos(at, "x", true));
      ctx.strokeStyle = ctx.fillStyle = css(mark.kind === "eval" || mark.kind === "save" ? "--soft" : "--bad");
      ctx.lineWidth = devicePixelRatio;
      ctx.globalAlpha = 1;
      if (mark.kind === "save") {
        const s = 5 * devicePixelRatio;
        ctx.beginPath();
        ctx.moveTo(x - s, top + height);
        ctx.lineTo(x + s, top + height);
        ctx.lineTo(x, top + height - 1.6 * s);
        ctx.fill();
        continue;
      }
      ctx.globalAlpha = mark.kind === "eval" ? 0.55 : 1;
      ctx.setLineDash((mark.kind === "eval" ? [2, 5] : [6, 4]).map((n) => n * devicePixelRatio));
      ctx.beginPath();
      ctx.moveTo(x, top);
      ctx.lineTo(x, top + height);
      ctx.stroke();
    }
    ctx.restore();
  }

  zoom(lo, hi) {
    this.plot.batch(() => {
      this.plot.setData(this.data(lo, hi), false);
      this.plot.setScale("x", { min: lo, max: hi });
    });
  }

  key(event) {
    const u = this.plot, { min, max } = u.scales.x, span = max - min;
    const at = u.cursor.left > 0 ? u.posToVal(u.cursor.left, "x") : min;
    const zoom = { "+": 0.5, "=": 0.5, "-": 2 }[event.key];
    if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
      const x = Math.min(max, Math.max(min, at + (event.key === "ArrowRight" ? 1 : -1) * span * 0.02));
      u.setCursor({ left: u.valToPos(x, "x"), top: u.over.clientHeight / 2 });
      const index = u.cursor.idx;
      const said = u.series.slice(1, 1 + this.spec.series.length).map((s, i) => {
        let k = index;
        while (k > 0 && (u.data[i + 1][k] === null || u.data[i + 1][k] === undefined)) k--;
        return `${s.label} ${format(u.data[i + 1][k])}`;
      });
      this.live.textContent = `${u.series[0].label} ${u.series[0].value(u, u.data[0][index])}: ${said.join(", ")}`;
    } else if (zoom) {
      const half = Math.min((span * zoom) / 2, (this.full[1] - this.full[0]) / 2);
      this.board.zoomAll(Math.max(this.full[0], at - half), Math.min(this.full[1], at + half));
    } else if (event.key === "0" || event.key === "Escape") {
      this.board.reset();
    } else return;
    event.preventDefault();
  }
}

class Board {
  constructor(data) {
    this.sets = data.sets;
    this.marks = data.marks;
    this.mode = "step";
    this.busy = false;
    this.charts = data.charts
      .map((spec) => [spec, document.getElementById(`chart-${spec.id}`)])
      .filter(([, holder]) => holder)
      .map(([spec, holder]) => new Chart(this, spec, holder));
  }

  draw() {
    this.busy = true;
    for (const chart of this.charts) chart.build();
    // uPlot draws in a microtask; what it says of its first scale is no zoom.
    queueMicrotask(() => queueMicrotask(() => { this.busy = false; }));
  }

  zoomed(from) {
    if (this.busy || !from.plot) return;
    const { min, max } = from.plot.scales.x;
    this.zoomAll(min, max);
  }

  zoomAll(lo, hi) {
    if (this.busy || !(hi > lo)) return;
    this.busy = true;
    for (const chart of this.charts) chart.zoom(lo, hi);
    queueMicrotask(() => queueMicrotask(() => { this.busy = false; }));
  }

  reset() {
    const lo = Math.min(...this.charts.map((c) => c.full[0])), hi = Math.max(...this.charts.map((c) => c.full[1]));
    this.zoomAll(lo, hi);
  }
}

// A table of all rows of a set, PAGE at a time, in place of the few that the page was written with.
function fillTable(details, sets) {
  const set = sets[details.dataset.set], names = details.dataset.columns.split(" ").filter((name) => set[name]);
  const rows = set.step.length, table = details.querySelector("table"), body = table.tBodies[0];
  const pages = Math.max(1, Math.ceil(rows / PAGE));
  let page = 0;
  table.tHead.rows[0].replaceChildren(...names.map((name) => {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.className = "n";
    cell.textContent = name.replaceAll("_", " ");
    return cell;
  }));
  const bar = document.createElement("p");
  bar.className = "pager noprint";
  const said = document.createElement("span");
  const button = (text, go) => {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.addEventListener("click", () => { page = Math.min(pages - 1, Math.max(0, go())); show(); });
    return made;
  };
  const csv = document.createElement("button");
  csv.type = "button";
  csv.textContent = "Save all rows as CSV";
  csv.addEventListener("click", () => {
    const lines = [names.join(",")];
    for (let i = 0; i < rows; i++) lines.push(names.map((name) => set[name][i] ?? "").join(","));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "text/csv" }));
    link.download = `${document.title}-${details.dataset.set}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  bar.append(button("First", () => 0), button("Back", () => page - 1), said, button("Next", () => page + 1),
    button("Last", () => pages - 1), csv);
  table.parentElement.before(bar);
  details.querySelector(".sampled")?.remove();
  function show() {
    const from = page * PAGE, to = Math.min(rows, from + PAGE);
    said.textContent = ` rows ${(from + 1).toLocaleString("en")} to ${to.toLocaleString("en")} of ${rows.toLocaleString("en")} `;
    const made = [];
    for (let i = from; i < to; i++) {
      const row = document.createElement("tr");
      if (set.superseded && set.superseded[i]) row.className = "gone";
      for (const name of names) {
        const cell = row.insertCell();
        cell.className = "n";
        cell.textContent = set[name][i] ?? "–";
      }
      made.push(row);
    }
    body.replaceChildren(...made);
  }
  show();
}

// Rows by token length: bars, with what lies beyond the sequence length in the colour of a loss.
function drawLengths(facts) {
  const holder = document.getElementById("chart-lengths");
  if (!holder || !facts) return null;
  const { histogram, width, limit } = facts;
  const xs = histogram.map(([upper]) => upper - width / 2);
  const kept = histogram.map(([upper, rows]) => (limit && upper > limit ? 0 : rows));
  const cut = histogram.map(([upper, rows]) => (limit && upper > limit ? rows : 0));
  const bars = (color, label) => ({
    label, stroke: css(`--series-${color}`), fill: css(`--series-${color}`), paths: uPlot.paths.bars({ size: [0.86, 80] }),
    points: { show: false }, value: (u, v) => format(v),
  });
  const ink = css("--soft"), line = css("--line");
  const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
  return new uPlot({
    width: holder.clientWidth, height: 220,
    scales: { x: { time: false, range: [xs[0] - width, xs[xs.length - 1] + width] }, y: { range: (u, lo, hi) => [0, (hi || 1) * 1.06] } },
    axes: [{ ...axis, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000], label: "tokens of a row", labelSize: 22, labelFont: "12px system-ui" },
      { ...axis, label: "rows", labelSize: 22, labelFont: "12px system-ui", size: 62 }],
    series: [{ label: "tokens", value: (u, v) => (v === null ? "–" : `${v - width / 2 + 1} to ${v + width / 2}`) },
      bars("a", "rows"), ...(cut.some(Boolean) ? [bars("d", `longer than ${limit}`)] : [])],
    cursor: { drag: { x: false, y: false }, y: false },
  }, cut.some(Boolean) ? [xs, kept, cut] : [xs, kept], holder);
}

async function startCharts() {
  if (!document.getElementById("ql-data")) return;
  const data = await unpack("ql-data");
  const board = new Board(data);
  let lengths = null;
  const draw = () => {
    board.draw();
    lengths?.destroy();
    lengths = drawLengths(data.lengths);
  };
  draw();
  for (const details of document.querySelectorAll("details.rows")) {
    details.addEventListener("toggle", () => {
      if (!details.open || details.dataset.full) return;
      details.dataset.full = "1";
      fillTable(details, data.sets);
    });
  }
  for (const input of document.querySelectorAll("input[name=axis]")) {
    input.addEventListener("change", () => { board.mode = input.value; board.draw(); });
  }
  document.getElementById("reset-zoom")?.addEventListener("click", () => board.reset());
  document.addEventListener("ql-theme", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    draw();
  });
  addEventListener("beforeprint", draw);
  addEventListener("afterprint", draw);
  document.documentElement.dataset.drawn = "1";
  performance.mark("ql-drawn");
  return board;
}

window.qlCharts = startCharts();
