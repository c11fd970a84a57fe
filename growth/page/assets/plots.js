"use strict";
// The plots. Each takes the data and what a click does; plotly draws them anew in place when the data changes.

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const ofWalker = (walker) => colour(`c${walker % 8}`);
const fine = () => window.matchMedia("(pointer: fine)").matches;
const signed = (x, digits) => x.toFixed(digits).replace("-", "−");
const escaped = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

function layout(x, y, more = {}) {
  const axis = { gridcolor: colour("grid"), zerolinecolor: colour("line"), linecolor: colour("line"), tickcolor: colour("line"), automargin: true, fixedrange: !fine() };
  return {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour("ink"), family: "system-ui, sans-serif", size: 12.5 },
    margin: { l: 58, r: 14, t: 30, b: 46 },
    legend: { orientation: "h", x: 0, y: 1.02, xanchor: "left", yanchor: "bottom", bgcolor: "rgba(0,0,0,0)" },
    hovermode: "closest",
    hoverlabel: { bgcolor: colour("panel"), bordercolor: colour("line"), font: { color: colour("ink") }, align: "left" },
    dragmode: fine() ? "zoom" : false,
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("quiet"), activecolor: colour("link") },
    uirevision: "kept",
    ...more,
    xaxis: { ...axis, title: { text: x, standoff: 8 }, ...more.xaxis },
    yaxis: { ...axis, title: { text: y, standoff: 6 }, ...more.yaxis },
    ...(more.yaxis2 ? { yaxis2: { ...axis, showgrid: false, ...more.yaxis2 } } : {}),
  };
}

function draw(id, traces, shape, onClick) {
  const place = document.getElementById(id);
  const some = traces.some((trace) => !trace.guide && trace.x && trace.x.length);
  if (!some) {
    if (place.classList.contains("js-plotly-plot")) Plotly.purge(place);
    const none = document.createElement("p");
    none.className = "none";
    none.textContent = "Nothing to show yet.";
    place.replaceChildren(none);
    return;
  }
  if (!place.classList.contains("js-plotly-plot")) place.replaceChildren();
  const settings = { responsive: true, displaylogo: false, displayModeBar: fine() ? "hover" : false, modeBarButtons: [["toImage", "resetScale2d"]] };
  Plotly.react(place, traces.map(({ guide, ...trace }) => trace), shape, settings);
  if (!place.listens) {
    place.listens = true;
    place.on("plotly_click", (event) => {
      const point = event.points.find((each) => each.customdata);
      if (point && place.clicked) place.clicked(point.customdata);
    });
  }
  place.clicked = onClick;
}

const guide = (x, y, more = {}) => ({
  x, y, guide: true, mode: "lines", hoverinfo: "skip", showlegend: false, line: { color: colour("quiet"), width: 1, dash: "dot" }, ...more,
});

function drawEnergy(data, shown, onStep) {
  const x = xOfSteps(data)[1];
  const size = data.energies.length > 300 ? 4 : 7;
  const traces = [];
  for (const { walker } of data.walkers) {
    const own = data.energies.filter((e) => e.walker === walker);
    const line = ofWalker(walker);
    const width = (e) => (2 * (e.std_mev_per_atom || 0)) / 1000;
    traces.push({
      x: [...own.map(x), ...own.map(x).reverse()],
      y: [...own.map((e) => e.energy_ev_per_atom + width(e)), ...own.map((e) => e.energy_ev_per_atom - width(e)).reverse()],
      fill: "toself", fillcolor: line, opacity: 0.18, line: { width: 0 }, mode: "lines", hoverinfo: "skip", showlegend: false, legendgroup: walker,
    });
    traces.push({
      x: own.map(x), y: own.map((e) => e.energy_ev_per_atom), name: `walker ${walker}`, legendgroup: walker, mode: "lines+markers",
      line: { color: line, width: 1.6 },
      marker: { size, color: own.map((e) => (e.fate === "accepted" ? colour("paper") : line)), line: { color: line, width: 1.5 } },
      customdata: own.map((e) => ({ walker: e.walker, step: e.step })),
      text: own.map((e) => `walker ${e.walker}, step ${e.step}: ${e.n_atoms} atoms<br>${signed(e.energy_ev_per_atom, 4)} eV/atom` +
        `${e.std_mev_per_atom === null ? "" : ` ± ${e.std_mev_per_atom.toFixed(1)} meV/atom`}<br>${escaped(e.fate)}${e.reason ? `: ${escaped(e.reason)}` : ""}`),
      hovertemplate: "%{text}<extra></extra>",
    });
  }
  draw("plot-energy", traces, layout(xOfSteps(data)[0], "energy per atom (eV)", { shapes: ring(data, shown) }), onStep);
}

// What the steps are plotted against: size where every step adds an atom.
function xOfSteps(data) {
  return data.energies.every((e) => e.kind === "attach") ? ["atoms in the crystal", (e) => e.n_atoms] : ["step", (e) => e.step];
}

// A ring around the step that is shown; to move it is much cheaper than to draw the plot anew.
function ring(data, shown) {
  const now = data.energies.find((e) => e.walker === shown.walker && e.step === shown.step);
  if (!now) return [];
  const size = { type: "circle", xsizemode: "pixel", ysizemode: "pixel", x0: -8, x1: 8, y0: -8, y1: 8 };
  return [{ ...size, xanchor: xOfSteps(data)[1](now), yanchor: now.energy_ev_per_atom, line: { color: colour("ink"), width: 2.5 } }];
}

function moveRing(data, shown) {
  const place = document.getElementById("plot-energy");
  if (place.classList.contains("js-plotly-plot")) Plotly.relayout(place, { shapes: ring(data, shown) });
}

function errorText(e) {
  const where = e.walker === null ? "" : `walker ${e.walker}, step ${e.step}: `;
  const carved = e.carved_from ? ` cut out of ${e.carved_from}` : "";
  return `${where}${e.n_atoms} atoms${carved}<br>off by ${signed(e.error_mev_per_atom, 1)} meV/atom,<br>forces by ${e.force_error_mev_per_A.toFixed(0)} meV/Å on average`;
}

function groupsOfErrors(data) {
  return [
    ["asked, unsure", data.errors.filter((e) => e.reason === "query"), "c0", "circle"],
    ["audited", data.errors.filter((e) => e.reason !== "query"), "c2", "diamond"],
    ["certificate, taken unasked", data.certified.map((e) => ({ ...e, certified: true })), "c1", "square"],
  ];
}

function drawParity(data, onPoint) {
  const traces = groupsOfErrors(data).map(([name, all, line, symbol]) => {
    const known = all.filter((e) => e.labelled_ev_per_atom !== null);
    return {
      x: known.map((e) => e.labelled_ev_per_atom), y: known.map((e) => e.predicted_ev_per_atom), name, mode: "markers", type: "scatter",
      marker: { color: colour(line), size: 7, symbol, opacity: 0.8 }, customdata: known, text: known.map(errorText), hovertemplate: "%{text}<extra></extra>",
    };
  });
  const all = traces.flatMap((trace) => [...trace.x, ...trace.y]);
  const ends = [Math.min(...all), Math.max(...all)];
  draw("plot-parity", [guide(ends, ends), ...traces], layout("labelled by the oracle (eV/atom)", "predicted before (eV/atom)"), onPoint);
}

function drawHonest(data, onPoint) {
  const [asked, audited] = groupsOfErrors(data);
  const number = new Map(data.errors.map((e, k) => [e, k + 1]));
  const traces = [asked, audited].map(([name, all, line, symbol]) => ({
    x: all.map((e) => number.get(e)), y: all.map((e) => e.error_mev_per_atom), name, mode: "markers", type: "scatter",
    marker: { color: colour(line), size: 7, symbol, opacity: 0.8 }, customdata: all, text: all.map(errorText), hovertemplate: "%{text}<extra></extra>",
  }));
  const band = { type: "rect", xref: "paper", x0: 0, x1: 1, y0: -data.tolerances.energy, y1: data.tolerances.energy, fillcolor: colour("c2"), opacity: 0.12, line: { width: 0 } };
  draw("plot-honest", traces, layout("label", "predicted − labelled (meV/atom)", { shapes: [band] }), onPoint);
}

// Marks of a logarithmic axis: 1, 2, 5 where there are few decades, else 1.
function decades(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)].map((x) => Math.log10(x || 1));
  const digits = high - low < 2.2 ? [1, 2, 5] : [1];
  const tickvals = [];
  for (let k = Math.floor(low) - 1; k <= high + 1; k += 1) tickvals.push(...digits.map((digit) => digit * 10 ** k));
  return { tickvals, ticktext: tickvals.map((x) => String(Number(x.toPrecision(1)))) };
}

function drawPromises(data, quantity, onStep) {
  const unit = data.units[quantity];
  const told = data.promises[quantity].filter((p) => p.promised !== null && p.promised > 0);
  const least = told.length ? Math.max(Math.min(...told.map((p) => p.promised)) / 100, 1e-6) : 1;
  const groups = [["asked, unsure", (p) => p.reason === "query", "c0", "circle"], ["audited", (p) => p.reason !== "query", "c2", "diamond"]];
  const traces = groups.map(([name, belongs, line, symbol]) => {
    const own = told.filter(belongs);
    return {
      x: own.map((p) => p.promised), y: own.map((p) => Math.max(p.came, least)), name, mode: "markers", type: "scatter",
      marker: { color: colour(line), size: 7, symbol, opacity: 0.8 }, customdata: own,
      text: own.map((p) => `promised ±${p.promised.toPrecision(3)} ${unit}<br>came ${p.came.toPrecision(3)} ${unit}`), hovertemplate: "%{text}<extra></extra>",
    };
  });
  const ends = told.length ? [Math.min(...told.map((p) => p.promised)), Math.max(...told.map((p) => p.promised))] : [1, 2];
  const log = (key) => ({ type: "log", tickmode: "array", ...decades(told.map((p) => Math.max(p[key], least))) });
  draw("plot-promise", [guide(ends, ends), ...traces],
    layout(`interval promised, ± (${unit})`, `error that came (${unit})`, { xaxis: log("promised"), yaxis: log("came"), uirevision: quantity }), onStep);
}

function drawLearning(data) {
  const series = [["energy_mev_per_atom", "energies, meV/atom", "c0", "y"], ["force_mev_per_A", "forces, meV/Å", "c1", "y2"]];
  const traces = series.map(([key, name, line, yaxis]) => {
    const told = data.models.filter((m) => m[key] !== null);
    return {
      x: told.map((m) => m.n_labels), y: told.map((m) => m[key]), name, yaxis, mode: "lines+markers", line: { color: colour(line), width: 1.4 },
      marker: { size: 7, color: told.map((m) => (m.promoted ? colour(line) : colour("paper"))), line: { color: colour(line), width: 1.5 } },
      text: told.map((m) => `${m.promoted ? `model v${m.version}` : "a model that did not take over"}, ${m.n_labels} labels<br>${m[key].toFixed(1)} ${name.split(", ")[1]}` +
        `<br>on ${m.n_structures} structures; trained in ${m.seconds.toFixed(0)} s`),
      hovertemplate: "%{text}<extra></extra>",
    };
  });
  const above = { domain: [0.55, 1], rangemode: "tozero", title: { text: "meV/atom", standoff: 6 } };
  const below = { domain: [0, 0.45], rangemode: "tozero", title: { text: "meV/Å", standoff: 6 }, showgrid: true };
  draw("plot-learning", traces, layout("labels known", "", { yaxis: above, yaxis2: below, xaxis: { anchor: "y2" } }));
}

function drawBusy(data) {
  const told = data.busy.filter((role) => role.share !== null).reverse();
  const text = told.map((role) => `${(role.busy_s / 3600).toFixed(2)} h · ${(100 * role.share).toFixed(0)}% of ${role.workers > 1 ? `${role.workers} workers' time` : "its time"}`);
  const most = Math.max(0.001, ...told.map((role) => role.busy_s / 3600));
  const trace = { type: "bar", orientation: "h", x: told.map((role) => role.busy_s / 3600), y: told.map((role) => role.role), text,
    textposition: told.map((role) => (role.busy_s / 3600 > 0.6 * most ? "inside" : "outside")), insidetextanchor: "end", marker: { color: colour("c0") },
    insidetextfont: { color: colour("paper") }, hoverinfo: "skip", cliponaxis: false };
  draw("plot-busy", [trace], layout("hours of work", "", { margin: { l: 78, r: 14, t: 6, b: 44 }, xaxis: { rangemode: "tozero" } }));
}
