// Draws the plots of a report from the result in the page. Everything that a peer may have said goes in as text, never as HTML.
"use strict";

const result = JSON.parse(document.getElementById("result").textContent);
const narrow = () => window.innerWidth < 640;
const colour = name => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
const whole = n => n.toLocaleString("en-GB", { maximumFractionDigits: n < 10 ? 2 : n < 100 ? 1 : 0 });

// duration writes nanoseconds as the tables do.
function duration(ns) {
  const [unit, size] = [["s", 1e9], ["ms", 1e6], ["µs", 1e3], ["ns", 1]].find(([, size]) => Math.abs(ns) >= size) || ["s", 1];
  return ns === 0 ? "0" : `${(ns / size).toLocaleString("en-GB", { maximumSignificantDigits: 3 })} ${unit}`;
}

const seconds = s => s === 0 ? "0" : s < 1 ? `${+(s * 1e3).toPrecision(5)} ms` : `${+s.toPrecision(6)} s`;

// tip is a tooltip: its first line stands out.
function tip(title, ...lines) {
  const box = document.createElement("div");
  box.className = "tip";
  box.append(Object.assign(document.createElement("strong"), { textContent: title }));
  for (const line of lines.filter(Boolean)) box.append(Object.assign(document.createElement("div"), { textContent: line }));
  return box;
}

// common is what all plots share.
const common = () => ({
  animation: false,
  textStyle: { fontFamily: getComputedStyle(document.body).fontFamily },
  legend: { top: 0, left: 0, itemWidth: 14, itemHeight: 10, itemGap: 14, textStyle: { color: colour("ink") }, inactiveColor: colour("line") },
  tooltip: {
    confine: true, backgroundColor: colour("card"), borderColor: colour("line"), textStyle: { color: colour("ink"), fontSize: 13 },
    axisPointer: { lineStyle: { color: colour("soft") }, shadowStyle: { color: colour("grid"), opacity: 0.6 } },
  },
});

const axis = more => ({
  axisLine: { lineStyle: { color: colour("line") } }, axisTick: { show: false },
  splitLine: { lineStyle: { color: colour("grid") } },
  ...more,
  axisLabel: { color: colour("soft"), hideOverlap: true, ...more.axisLabel },
  nameTextStyle: { color: colour("soft") },
});

// zoom is a slider beneath a plot, and dragging within it where that does not take scrolling away from a finger.
function zoom(axes, filterMode) {
  const slider = {
    type: "slider", xAxisIndex: axes, filterMode, height: 18, bottom: 4, borderColor: colour("line"), backgroundColor: "transparent",
    fillerColor: colour("held") + "22", handleStyle: { color: colour("card"), borderColor: colour("soft") }, showDetail: false, brushSelect: false,
    moveHandleSize: 0, dataBackground: { lineStyle: { opacity: 0 }, areaStyle: { opacity: 0 } },
    selectedDataBackground: { lineStyle: { opacity: 0 }, areaStyle: { opacity: 0 } },
  };
  const inside = { type: "inside", xAxisIndex: axes, filterMode, zoomOnMouseWheel: "ctrl", moveOnMouseWheel: false };
  return matchMedia("(pointer: coarse)").matches ? [slider] : [slider, inside];
}

const shades = () => [colour("held"), colour("waiting"), colour("took"), colour("released"), colour("bad"), colour("refused")];

function latency() {
  const waited = result.latencies.filter(l => l.count > 0);
  const percentile = x => x <= 1 ? "0 %" : `${+(100 - 100 / x).toFixed(Math.max(0, Math.ceil(Math.log10(x)) - 2) || 0)} %`;
  return {
    ...common(), color: shades(),
    legend: { ...common().legend, icon: "roundRect" },
    grid: { left: 8, right: 24, top: 34 + (narrow() ? 22 * (waited.length - 1) : 0), bottom: 8, containLabel: true },
    tooltip: {
      ...common().tooltip, trigger: "axis",
      formatter: points => tip(percentile(points[0].value[0]), ...points.map(p => `${p.seriesName}: ${duration(p.value[1])}`)),
    },
    xAxis: axis({ type: "log", min: 1, axisLabel: { formatter: percentile } }),
    yAxis: axis({ type: "log", axisLabel: { formatter: duration } }),
    series: waited.map(l => ({
      type: "line", name: l.corrected ? l.name + ", corrected" : l.name, showSymbol: false, symbolSize: 6, lineStyle: { width: 2 },
      data: l.curve.map(p => [p.one_in, p.ns]),
    })),
  };
}

// twoGrids stands two plots above each other, over the same axis.
const twoGrids = upper => [
  { left: 48, right: 16, top: narrow() ? 56 : 34, height: upper },
  { left: 48, right: 16, top: (narrow() ? 56 : 34) + upper + 26, bottom: 56 },
];
const compact = n => n.toLocaleString("en-GB", { notation: "compact" });

function rounds() {
  const kinds = [["granted", "granted", "held"], ["took over", "took_over", "took"], ["wrong close", "wrong", "bad"],
    ["unanswered", "unanswered", "waiting"], ["unreached", "unreached", "asked"], ["refused", "refused", "refused"]];
  return {
    ...common(),
    grid: twoGrids(170),
    axisPointer: { link: [{ xAxisIndex: "all" }] },
    tooltip: {
      ...common().tooltip, trigger: "axis", axisPointer: { ...common().tooltip.axisPointer, type: "shadow" },
      formatter: points => tip(`round ${points[0].name}`, ...points.map(p => `${p.seriesName}: ${whole(p.value)}`)),
    },
    xAxis: [0, 1].map(i => axis({ type: "category", gridIndex: i, data: result.rounds.map(r => r.number), axisLabel: { show: i === 1 } })),
    yAxis: [0, 1].map(i => axis({ type: "value", gridIndex: i, minInterval: 1, splitNumber: i ? 2 : 4, axisLabel: { formatter: compact } })),
    dataZoom: zoom([0, 1], "filter"),
    series: kinds.filter(([, key]) => result.rounds.some(r => r[key] > 0)).map(([name, key, shade]) => ({
      type: "bar", stack: key === "refused" ? "refused" : "others", name, color: colour(shade), barMaxWidth: 28, barCategoryGap: result.rounds.length > 60 ? "5%" : "25%",
      xAxisIndex: +(key === "refused"), yAxisIndex: +(key === "refused"), data: result.rounds.map(r => r[key]),
    })),
  };
}

function claims() {
  const kinds = [["granted", "granted", "held"], ["took over", "took_over", "took"], ["refused", "refused", "refused"], ["failed", "failed", "bad"]];
  const rate = (key, i) => {
    const s = result.claims[i], before = i > 0 ? result.claims[i - 1].at_ns : 0;
    return [s.at_ns / 1e9, s.at_ns > before ? s[key] / ((s.at_ns - before) / 1e9) : 0];
  };
  const last = result.claims[result.claims.length - 1].at_ns / 1e9;
  const shown = kinds.filter(([, key]) => result.claims.some(s => s[key] > 0));
  const line = { type: "line", showSymbol: result.claims.length < 2, symbolSize: 6, lineStyle: { width: 2 } };
  return {
    ...common(),
    legend: { ...common().legend, icon: "roundRect" },
    grid: twoGrids(180),
    axisPointer: { link: [{ xAxisIndex: "all" }] },
    tooltip: {
      ...common().tooltip, trigger: "axis",
      formatter: points => tip(seconds(points[0].value[0]), ...points.map(p => `${p.seriesName}: ${whole(p.value[1])}${p.seriesName === "holding" ? "" : " /s"}`)),
    },
    xAxis: [0, 1].map(i => axis({ type: "value", gridIndex: i, min: 0, max: last, axisLabel: { formatter: seconds, show: i === 1, showMaxLabel: false } })),
    yAxis: [0, 1].map(i => axis({ type: "value", gridIndex: i, splitNumber: i ? 2 : 4, minInterval: i, axisLabel: { formatter: compact } })),
    dataZoom: zoom([0, 1], "none"),
    series: [
      ...shown.map(([name, key, shade]) => ({ ...line, name, color: colour(shade), data: result.claims.map((_, i) => rate(key, i)) })),
      { ...line, name: "holding", color: colour("released"), xAxisIndex: 1, yAxisIndex: 1, areaStyle: { opacity: 0.15 },
        data: result.claims.map(s => [s.at_ns / 1e9, s.holding]) },
    ],
  };
}

// looks says how a state is drawn: its colour, how much of its lane it fills, and whether it is an outline. What ends a claim is a mark.
const looks = {
  "asked": ["asked", 0.2], "waiting": ["waiting", 0.42], "held": ["held", 0.8], "silent": ["held", 0.8, "outline"], "grace": ["grace", 0.2],
  "refused": ["refused", 0, "cross"], "taken over": ["took", 0, "diamond"], "lost": ["bad", 0, "triangle"], "released": ["released", 0, "ring"],
};

const icons = {
  cross: "path://M0,1L1,0L5,4L9,0L10,1L6,5L10,9L9,10L5,6L1,10L0,9L4,5Z", diamond: "diamond", triangle: "triangle", ring: "emptyCircle",
  outline: "emptyRoundRect",
};

// mark draws the end of a claim around a point.
function mark(shape, x, y, shade) {
  const r = 5, line = { stroke: shade, lineWidth: 2, fill: "none" };
  switch (shape) {
    case "ring": return { type: "circle", shape: { cx: x, cy: y, r: r - 1 }, style: { ...line, fill: colour("card") } };
    case "cross": return { type: "path", shape: { pathData: `M${x - r + 1},${y - r + 1}L${x + r - 1},${y + r - 1}M${x - r + 1},${y + r - 1}L${x + r - 1},${y - r + 1}` }, style: line };
    case "diamond": return { type: "polygon", shape: { points: [[x, y - r - 1], [x + r + 1, y], [x, y + r + 1], [x - r - 1, y]] }, style: { fill: shade } };
    default: return { type: "polygon", shape: { points: [[x, y - r - 1], [x + r + 1, y + r], [x - r - 1, y + r]] }, style: { fill: shade } };
  }
}

function drawSpan(state) {
  const [shade, fill, kind] = looks[state] || ["bad", 0.5];
  return (params, api) => {
    const [x, y] = api.coord([api.value(1), api.value(0)]);
    if (fill === 0) return mark(kind, x, y, colour(shade));
    const width = Math.max(api.coord([api.value(2), api.value(0)])[0] - x, 1.5), height = api.size([0, 1])[1] * fill;
    const style = kind === "outline" ? { fill: colour(shade) + "22", stroke: colour(shade), lineWidth: 1, lineDash: [3, 2] } : { fill: colour(shade) };
    return { type: "rect", shape: { x, y: y - height / 2, width, height, r: Math.min(2, height / 2) }, style };
  };
}

// drawViolation is a line through all lanes.
function drawViolation(params, api) {
  const [x] = api.coord([api.value(1), 0]), { y, height } = params.coordSys;
  return { type: "line", shape: { x1: x, x2: x, y1: y, y2: y + height }, style: { stroke: colour("bad"), lineWidth: 2, lineDash: [4, 3] } };
}

function timeline(figure) {
  const t = result.timelines[figure.dataset.index];
  const violations = result.violations.filter(v => v.server_id === t.server_id);
  const clash = new Set(violations.flatMap(v => v.lanes || []));
  const spans = t.lanes.flatMap((lane, i) => (lane.spans || []).map(s => ({ ...s, lane, value: [i, s.from_ns / 1e9, s.to_ns / 1e9] })));
  const from = Math.min(...spans.map(s => s.value[1])), to = Math.max(...spans.map(s => s.value[2]));
  const edge = (to - from) * 0.02 || 0.001, row = t.lanes.length > 24 ? 15 : 20;
  figure.querySelector(".plot").style.height = `${t.lanes.length * row + (narrow() ? 130 : 100)}px`;
  const named = name => ({ name, icon: icons[(looks[name] || [])[2]] || "roundRect" });
  const states = Object.keys(looks).filter(state => spans.some(s => s.state === state));
  return {
    ...common(),
    legend: { ...common().legend, data: [...states.map(named), ...(violations.length ? [named("violation")] : [])] },
    grid: { left: 8, right: 16, top: narrow() ? 72 : 40, bottom: 34, containLabel: true },
    tooltip: {
      ...common().tooltip, trigger: "item",
      formatter: ({ data: s }) => s.check ? tip(s.check, `at ${seconds(s.value[1])}`, s.says) : tip(`${s.lane.who}: ${s.state}`,
        s.to_ns > s.from_ns ? `${seconds(s.from_ns / 1e9)} to ${seconds(s.to_ns / 1e9)}, for ${duration(s.to_ns - s.from_ns)}` : `at ${seconds(s.from_ns / 1e9)}`,
        s.note, s.lane.ended && `ended: ${s.lane.ended}`),
    },
    xAxis: axis({ type: "value", min: Math.max(0, from - edge), max: to + edge, axisLabel: { formatter: s => seconds(s), showMinLabel: false, showMaxLabel: false } }),
    yAxis: axis({
      type: "category", inverse: true, data: t.lanes.map(l => l.who), splitLine: { show: true, lineStyle: { color: colour("grid") } },
      axisLabel: {
        color: who => clash.has(who) ? colour("bad") : colour("soft"), formatter: who => clash.has(who) ? "! " + who : who,
        interval: 0, width: narrow() ? 84 : 160, overflow: "truncate", fontSize: row > 15 ? 12 : 11, hideOverlap: false,
      },
    }),
    dataZoom: zoom([0], "weakFilter"),
    series: [
      ...states.map(state => ({
        type: "custom", name: state, clip: true, color: colour(looks[state][0]), z: looks[state][1] === 0 ? 4 : 2,
        renderItem: drawSpan(state), encode: { x: [1, 2], y: 0 }, data: spans.filter(s => s.state === state),
      })),
      { type: "custom", name: "violation", clip: true, color: colour("bad"), z: 5, renderItem: drawViolation, encode: { x: 1 },
        data: violations.map(v => ({ ...v, value: [0, v.at_ns / 1e9] })) },
    ],
  };
}

function compare(figure) {
  const rows = result.compare.rows.filter(r => r.ratio > 0);
  figure.querySelector(".plot").style.height = `${rows.length * 30 + 50}px`;
  const better = r => r.higher_is_better === r.ratio > 1;
  return {
    ...common(), legend: { show: false },
    grid: { left: 8, right: 24, top: 8, bottom: 8, containLabel: true },
    tooltip: { ...common().tooltip, trigger: "item", formatter: p => tip(rows[p.dataIndex].name, `B is ${rows[p.dataIndex].ratio.toFixed(2)} of A`) },
    xAxis: axis({ type: "value", min: 0, axisLabel: { formatter: x => `${+x.toPrecision(3)} ×` } }),
    yAxis: axis({ type: "category", inverse: true, data: rows.map(r => r.name), axisLabel: { width: narrow() ? 110 : 220, overflow: "truncate", interval: 0 } }),
    series: [{
      type: "bar", name: "B/A", barMaxWidth: 16,
      data: rows.map(r => ({ value: r.ratio, itemStyle: { color: colour(better(r) ? "pass" : "waiting") } })),
    }],
  };
}

const plots = { latency, rounds, claims, timeline, compare };
const drawn = new Map(); // by figure

function draw(figure) {
  const box = figure.querySelector(".plot");
  drawn.get(figure)?.dispose();
  const option = plots[figure.dataset.plot](figure); // may set the height
  const chart = echarts.init(box, null, { renderer: "svg" });
  chart.setOption(option);
  drawn.set(figure, chart);
}

const drawAll = () => document.querySelectorAll("figure[data-plot]").forEach(f => f.closest("details:not([open])") || draw(f));

drawAll();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
document.querySelectorAll("details.timeline").forEach(d => d.addEventListener("toggle", () => d.open && draw(d.querySelector("figure"))));
let resized;
let width = window.innerWidth;
addEventListener("resize", () => {
  if (window.innerWidth === width) return; // a phone's address bar came or went
  width = window.innerWidth;
  cancelAnimationFrame(resized);
  resized = requestAnimationFrame(drawAll);
});
