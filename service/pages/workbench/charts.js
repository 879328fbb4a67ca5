// The page's charts, drawn by Chart.js (served from the package that ships it). Owns how they look in each theme.

import { colourOf, themed } from "./palette.js";
import { AFFECT, clock, percent, plain, signed } from "./words.js";

const { Chart } = window;
const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif";
const charts = new Set();

Object.assign(Chart.defaults, { animation: false, responsive: true, maintainAspectRatio: false, events: ["click", "mousemove", "mouseout", "touchstart"] });
Chart.defaults.font.family = FONT;
Chart.defaults.plugins.legend.display = false;

/** Give every chart the colours of the theme in force. */
export function retheme() {
  for (const { chart, dress } of charts) {
    dress(chart);
    chart.update();
  }
}

function dressed(chart, dress) {
  charts.add({ chart, dress });
  dress(chart);
  chart.update();
  return chart;
}

function axes(chart) {
  for (const axis of Object.values(chart.options.scales)) {
    axis.ticks.color = themed("--quiet");
    axis.grid.color = themed("--line");
    axis.grid.borderColor = themed("--line");
    if (axis.title) axis.title.color = themed("--quiet");
  }
  const tip = chart.options.plugins.tooltip;
  tip.backgroundColor = themed("--ink");
  tip.titleColor = tip.bodyColor = themed("--card");
}

function linear(more = {}) {
  return { type: "linear", ticks: {}, grid: {}, ...more };
}

/** Bars for all classes of one prediction. */
export class Distribution {
  constructor(canvas) {
    const numbers = {
      id: "numbers",
      afterDatasetsDraw: (chart) => {
        const { ctx } = chart;
        ctx.save();
        ctx.font = `600 12px ${FONT}`;
        ctx.fillStyle = themed("--ink");
        ctx.textBaseline = "middle";
        chart.getDatasetMeta(0).data.forEach((bar, index) => {
          const share = chart.data.datasets[0].data[index];
          if (share !== null) ctx.fillText(percent(share), bar.x + 6, bar.y + 1);
        });
        ctx.restore();
      },
    };
    const scales = {
      x: linear({ min: 0, max: 1.24, display: false }),
      y: { ticks: { autoSkip: false, font: { size: 13 } }, grid: { display: false, drawBorder: false } },
    };
    const datasets = [{ data: [], backgroundColor: [], borderRadius: 4, barPercentage: 0.78, categoryPercentage: 0.92, minBarLength: 2 }];
    this.chart = dressed(
      new Chart(canvas, {
        type: "bar",
        data: { labels: [], datasets },
        options: { indexAxis: "y", scales, plugins: { tooltip: { enabled: false } } },
        plugins: [numbers],
      }),
      (chart) => {
        axes(chart);
        chart.options.scales.y.ticks.color = themed("--ink");
      },
    );
  }

  /** Take no room, its heading included, where a model has no labels. */
  offer(yes) {
    const box = this.chart.canvas.parentElement;
    box.hidden = box.previousElementSibling.hidden = !yes;
  }

  /** @param {string[]} labels  in the model's order @param {Map<string, number> | null} scores */
  show(labels, scores) {
    const { data } = this.chart;
    data.labels = labels.map(plain);
    data.datasets[0].data = labels.map((label) => scores?.get(label) ?? null);
    data.datasets[0].backgroundColor = labels.map(colourOf);
    this.chart.update();
  }
}

/** Valence to the right, arousal upwards, and where the last moments went. */
export class Circumplex {
  constructor(canvas) {
    this.anchors = [];
    const plane = {
      id: "plane",
      beforeDatasetsDraw: (chart) => this.plane(chart),
    };
    const side = () => linear({ min: -1.12, max: 1.12, grid: { display: false, drawBorder: false }, ticks: { display: false } });
    const scales = {
      x: { ...side(), title: { display: true, text: "valence  (unpleasant → pleasant)", padding: 0 } },
      y: { ...side(), title: { display: true, text: "arousal  (calm → excited)", padding: 0 } },
    };
    const tooltip = { callbacks: { label: ({ raw }) => `valence ${signed(raw.x)}, arousal ${signed(raw.y)}` }, displayColors: false };
    const trail = { data: [], showLine: true, borderWidth: 2, pointRadius: 0, pointHitRadius: 0, tension: 0.3 };
    const now = { data: [], pointRadius: 8, pointHoverRadius: 9, pointBorderWidth: 2.5, pointBackgroundColor: "#888888" };
    this.chart = dressed(
      new Chart(canvas, { type: "scatter", data: { datasets: [now, trail] }, options: { scales, plugins: { tooltip } }, plugins: [plane] }),
      (chart) => {
        axes(chart);
        chart.data.datasets[0].pointBorderColor = themed("--card");
        chart.data.datasets[1].borderColor = themed("--quiet");
      },
    );
  }

  plane(chart) {
    const { ctx, scales: { x, y } } = chart;
    const at = (valence, arousal) => [x.getPixelForValue(valence), y.getPixelForValue(arousal)];
    const [left, top] = at(-1, 1);
    const [right, bottom] = at(1, -1);
    const [midX, midY] = at(0, 0);
    ctx.save();
    ctx.strokeStyle = themed("--line");
    ctx.fillStyle = themed("--well");
    ctx.beginPath();
    ctx.ellipse(midX, midY, (right - left) / 2, (bottom - top) / 2, 0, 0, 2 * Math.PI);
    ctx.fill();
    ctx.stroke();
    ctx.beginPath();
    ctx.moveTo(left, midY);
    ctx.lineTo(right, midY);
    ctx.moveTo(midX, top);
    ctx.lineTo(midX, bottom);
    ctx.stroke();
    ctx.font = `11px ${FONT}`;
    ctx.textBaseline = "middle";
    const points = this.anchors.map(([label, [valence, arousal]]) => [label, ...at(valence, arousal)]);
    for (const [label, px, py] of points) {
      ctx.fillStyle = colourOf(label);
      ctx.beginPath();
      ctx.arc(px, py, 3.5, 0, 2 * Math.PI);
      ctx.fill();
    }
    ctx.fillStyle = themed("--quiet");
    const taken = points.map(([, px, py]) => ({ left: px - 4, right: px + 4, top: py - 4, bottom: py + 4 }));
    for (const [label, px, py] of points) {
      const place = roomiest(px, py, ctx.measureText(plain(label)).width, taken);
      taken.push(place);
      ctx.fillText(plain(label), place.left, (place.top + place.bottom) / 2);
    }
    ctx.restore();
  }

  /** One unit is as long on both axes, whatever room the titles leave. */
  square() {
    const { chartArea: area, options } = this.chart;
    if (!area?.height) return;
    const ratio = (area.right - area.left) / area.height;
    for (const [axis, reach] of [["x", Math.max(1, ratio)], ["y", Math.max(1, 1 / ratio)]]) {
      Object.assign(options.scales[axis], { min: -1.12 * reach, max: 1.12 * reach });
    }
  }

  /** @param {Record<string, number[]>} points  where the classes lie, from the model's manifest */
  place(points) {
    this.anchors = Object.entries(points ?? {});
    this.square();
    this.chart.update();
  }

  /**
   * @param {{x?: number, y?: number}[]} trail  oldest first; the last is now; one of the two alone is a line, not a point
   * @param {string | null} label
   */
  show(trail, label) {
    const [now, before] = this.chart.data.datasets;
    const last = trail.at(-1);
    const whole = !last || (last.x !== undefined && last.y !== undefined);
    now.data = whole ? trail.slice(-1) : [];
    now.pointBackgroundColor = label ? colourOf(label) : themed("--accent");
    before.data = whole ? trail : [-1, 1].map((end) => ({ x: last.x ?? end, y: last.y ?? end }));
    this.square();
    this.chart.update();
  }
}

/** Where a name of this width beside its point covers no other: above, right, left or below. */
function roomiest(px, py, width, taken) {
  const lines = [[px - width / 2, py - 12], [px + 7, py], [px - 7 - width, py], [px - width / 2, py + 12]];
  const places = lines.map(([left, middle]) => ({ left, right: left + width, top: middle - 6, bottom: middle + 6 }));
  const covers = (a) => taken.some((b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom);
  return places.find((place) => !covers(place)) ?? places[0];
}

/** Shares of all classes over time, stacked; of a model without classes, valence and arousal as lines. */
export class Timeline {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {{ticks: (seconds: number) => string, picked?: (seconds: number) => void, stepSize?: number}} options
   */
  constructor(canvas, { ticks, picked, stepSize }) {
    this.cursor = null;
    this.shares = true;
    const said = (value) => (this.shares ? percent(value) : signed(value));
    const cursor = {
      id: "cursor",
      afterDatasetsDraw: (chart) => {
        if (this.cursor === null) return;
        const px = chart.scales.x.getPixelForValue(this.cursor);
        const { top, bottom } = chart.chartArea;
        chart.ctx.save();
        chart.ctx.fillStyle = themed("--ink");
        chart.ctx.fillRect(px - 1, top, 2, bottom - top);
        chart.ctx.restore();
      },
    };
    const scales = {
      x: linear({ grid: { display: false }, ticks: { maxRotation: 0, autoSkipPadding: 18, callback: (value) => ticks(value), ...(stepSize ? { stepSize } : {}) } }),
      y: linear({ min: 0, max: 1, stacked: true, ticks: { stepSize: 0.5, callback: said } }),
    };
    const tooltip = {
      mode: "index",
      intersect: false,
      itemSort: (a, b) => b.raw.y - a.raw.y,
      filter: (item) => !this.shares || item.raw.y >= 0.05,
      callbacks: { title: (items) => (items.length ? ticks(items[0].raw.x) : ""), label: ({ dataset, raw }) => ` ${dataset.label} ${said(raw.y)}` },
    };
    const onClick = (event, _, chart) => picked?.(chart.scales.x.getValueForPixel(event.x));
    this.chart = dressed(
      new Chart(canvas, {
        type: "line",
        data: { datasets: [] },
        options: { parsing: false, normalized: true, interaction: { mode: "index", intersect: false }, scales, plugins: { tooltip }, onClick },
        plugins: [cursor],
      }),
      axes,
    );
  }

  /**
   * @param {string[]} labels  none: the shares are valence and arousal, NaN where the model does not give one
   * @param {{x: number, shares: number[] | null}[]} points  in time order; null where there was no label
   * @param {[number, number]} range  seconds
   */
  show(labels, points, range) {
    const { chart } = this;
    const shares = (this.shares = labels.length > 0);
    Object.assign(chart.options.scales.x, { min: range[0], max: range[1] });
    Object.assign(chart.options.scales.y, { min: shares ? 0 : -1, stacked: shares });
    chart.data.datasets = (shares ? labels : AFFECT).map((label, index) => ({
      label: plain(label),
      data: points.map(({ x, shares: values }) => ({ x, y: values ? values[index] : NaN })),
      backgroundColor: colourOf(label),
      borderColor: colourOf(label),
      borderWidth: shares ? 0 : 2,
      pointRadius: 0,
      fill: shares ? (index === 0 ? "origin" : "-1") : false,
      stack: shares ? "all" : undefined,
      spanGaps: false,
    }));
    chart.update();
  }

  mark(seconds) {
    this.cursor = seconds;
    this.chart.draw();
  }
}

export function ago(seconds) {
  if (Math.abs(seconds) < 0.5) return "now";
  const whole = Math.round(-seconds);
  if (whole % 60 === 0) return `−${whole / 60} min`;
  return whole > 60 ? `−${clock(whole).replace(/\.\d$/, "")} min` : `−${whole} s`;
}
