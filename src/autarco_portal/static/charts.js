// Draws the charts of a page with plotly.js. Their values stand in the page as JSON and as a table;
// without this file, or for whoever cannot use a drawing, the table remains.
"use strict";

const SHARE = 0.5; // of the shown time: by so much a button zooms or moves

const LOCALE = "page";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function traces(chart) {
  const digits = `,.${chart.digits}f`;
  let number = 0;
  return chart.series.map((series) => {
    const isExpected = series.role === "expected";
    const tint = isExpected ? colour("--expected") : colour(`--chart-${(number++ % 6) + 1}`);
    const trace = {
      name: series.name,
      x: chart.x,
      y: series.values,
      hovertemplate: `%{y:${digits}} ${chart.unit}`,
    };
    if (chart.kind === "bars") {
      return { ...trace, type: "bar", marker: { color: tint }, width: barWidth(chart, isExpected) };
    }
    const line = { color: tint, width: isExpected ? 2 : 2.2, dash: isExpected ? "dot" : "solid" };
    return { ...trace, type: "scatter", mode: "lines", line, connectgaps: false };
  });
}

// Expected bars stand wide behind the narrower measured ones. Bars of days and months have a time
// axis, whose widths are in milliseconds.
function barWidth(chart, isExpected) {
  const share = isExpected ? 0.86 : 0.56;
  const at = chart.x.map((x) => Date.parse(x));
  return at.map((time, i) => {
    const next = i + 1 < at.length ? at[i + 1] - time : time - (at[i - 1] ?? time - 86400000);
    return share * next;
  });
}

function layout(chart) {
  const ink = colour("--ink");
  const line = colour("--line");
  const coarse = window.matchMedia("(pointer: coarse)").matches;
  const axis = { gridcolor: line, linecolor: line, zerolinecolor: line, tickcolor: line };
  return {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: ink, family: getComputedStyle(document.body).fontFamily, size: 13 },
    margin: { t: 8, r: 8, b: 32, l: 52 },
    hovermode: "x unified",
    hoverlabel: { bgcolor: colour("--card"), bordercolor: line, font: { color: ink } },
    // A finger scrolls the page; the buttons below zoom for it.
    dragmode: coarse ? false : "zoom",
    barmode: "overlay",
    separators: chart.separators,
    showlegend: chart.series.length > 1,
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
    xaxis: { ...axis, type: "date", tickformat: chart.xFormat, hoverformat: chart.xHover, showgrid: false },
    yaxis: { ...axis, rangemode: "tozero", fixedrange: true, tickformat: ",", title: { text: chart.unit, standoff: 6 }, automargin: true },
    shapes: chart.gaps.map((gap) => ({
      type: "rect", xref: "x", yref: "paper", x0: gap.start, x1: gap.end, y0: 0, y1: 1,
      fillcolor: colour("--gap"), line: { width: 0 }, layer: "below",
    })),
  };
}

function act(plot, what) {
  const axis = plot.layout.xaxis;
  if (what === "all") return Plotly.relayout(plot, { "xaxis.autorange": true });
  const [from, to] = axis.range.map((x) => Date.parse(`${String(x).replace(" ", "T")}Z`));
  const span = to - from;
  const middle = (from + to) / 2;
  const moved = {
    in: [middle - (span * SHARE) / 2, middle + (span * SHARE) / 2],
    out: [middle - span / SHARE / 2, middle + span / SHARE / 2],
    earlier: [from - span * SHARE, to - span * SHARE],
    later: [from + span * SHARE, to + span * SHARE],
  }[what];
  const text = moved.map((time) => new Date(time).toISOString().slice(0, 19));
  return Plotly.relayout(plot, { "xaxis.range": text });
}

async function mount(plot) {
  const figure = plot.closest("figure");
  const chart = JSON.parse(document.getElementById(`${plot.dataset.chart}-data`).textContent);
  // A name of its own: what is missing here is then taken from English, which must stay whole.
  Plotly.register({
    moduleType: "locale",
    name: LOCALE,
    dictionary: {},
    format: { ...chart.calendar, date: "%d-%m-%Y" },
  });
  plot.hidden = false;
  const draw = () => Plotly.react(plot, traces(chart), layout(chart), {
    displayModeBar: false,
    responsive: true,
    scrollZoom: false,
    doubleClick: "reset",
    locale: LOCALE,
  });
  await draw();
  const zoom = figure.querySelector(".zoom");
  zoom.hidden = false;
  zoom.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) act(plot, button.dataset.act);
  });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  figure.dataset.ready = "true";
}

for (const plot of document.querySelectorAll(".plot")) mount(plot);
