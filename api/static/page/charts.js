// Live charts of rate, latency, queue and memory, drawn by uPlot, which is loaded here only.

import { number } from "./predictions.js";
import { Component, createRef, html } from "./ui.js";

const HEIGHT = 130;
const LEAST_S = 60; // that a chart spans, empty at first
const CHARTS = [
  { title: "Rate", unit: "requests/s", lines: [["rate", "requests"]] },
  {
    title: "Latency",
    unit: "ms",
    lines: [
      ["p50", "p50"],
      ["p95", "p95"],
    ],
  },
  {
    title: "Queue",
    unit: "",
    lines: [
      ["waiting", "waiting"],
      ["running", "running"],
    ],
  },
  { title: "Memory", unit: "MiB", lines: [["memory", "resident"]] },
];
let loading = null;

function loadPlots() {
  const style = Object.assign(document.createElement("link"), { rel: "stylesheet", href: "page/vendor/uPlot.min.css" });
  const script = Object.assign(document.createElement("script"), { src: "page/vendor/uPlot.iife.min.js" });
  document.head.append(style, script);
  return new Promise((resolve) => script.addEventListener("load", resolve));
}

export function Charts({ points }) {
  return html`<section class="charts" aria-label="Now">
    ${CHARTS.map((chart) => html`<${Chart} key=${chart.title} ...${chart} points=${points} />`)}
  </section>`;
}

class Chart extends Component {
  element = createRef();

  async componentDidMount() {
    loading ??= loadPlots();
    await loading;
    if (!this.element.current) return;
    this.observer = new ResizeObserver(([{ contentRect }]) =>
      this.plot?.setSize({ width: contentRect.width, height: HEIGHT }),
    );
    this.observer.observe(this.element.current);
    this.theme = matchMedia("(prefers-color-scheme: dark)");
    this.theme.onchange = () => this.create();
    this.create();
  }

  componentDidUpdate() {
    this.plot?.setData(this.data());
  }

  componentWillUnmount() {
    this.observer?.disconnect();
    this.plot?.destroy();
  }

  data() {
    const { points, lines } = this.props;
    const start = points.length ? [points[0].time - LEAST_S] : [];
    return [
      [...start, ...points.map(({ time }) => time)],
      ...lines.map(([field]) => [...start.map(() => null), ...points.map((point) => point[field])]),
    ];
  }

  create() {
    this.plot?.destroy();
    const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const axis = {
      stroke: colour("--muted"),
      grid: { stroke: colour("--line"), width: 1 },
      ticks: { show: false },
      font: "11px system-ui",
    };
    const strokes = [colour("--accent"), colour("--edge")];
    const options = {
      width: this.element.current.clientWidth,
      height: HEIGHT,
      legend: { show: false },
      cursor: { show: false },
      scales: { y: { range: (_, _low, high) => [0, Math.max(1, (high ?? 0) * 1.1)] } },
      axes: [
        { ...axis, space: 90, size: 24, values: (_, times) => times.map(clock) },
        { ...axis, size: 44 },
      ],
      series: [
        {},
        ...this.props.lines.map((_, i) => ({ stroke: strokes[i], width: 2, points: { show: false }, spanGaps: false })),
      ],
    };
    this.plot = new uPlot(options, this.data(), this.element.current);
  }

  render({ title, unit, lines, points }) {
    const last = points[points.length - 1] ?? {};
    const texts = lines.map(([field, name]) => `${lines.length > 1 ? `${name} ` : ""}${shown(last[field])}`);
    return html`<figure class="chart">
      <figcaption>
        <h3>${title} <span class="muted">${unit}</span></h3>
        <span class="now">${texts.map((text, i) => html`${i > 0 && " · "}<span>${text}</span>`)}</span>
      </figcaption>
      <div ref=${this.element} class="plot" role="img" aria-label=${`${title} over the last minutes, now ${texts.join(", ")} ${unit}`.trim()}></div>
    </figure>`;
  }
}

const clock = (time) => new Date(1000 * time).toLocaleTimeString("en-GB");

const shown = (value) =>
  value === null || value === undefined ? "–" : number(value < 100 ? Number(value.toFixed(1)) : Math.round(value));
