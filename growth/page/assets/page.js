"use strict";
// What the reader does: walks through the growth, colours it, clicks plots; and in a page that is served, news.

(() => {
  const $ = (id) => document.getElementById(id);
  const KINDS = { fcc: "#2f7ed8", hcp: "#e69f00", bcc: "#b04fa0", ico: "#d55e00", surface: "#aab4bd", other: "#56b4c9" };
  const RAMP = ["#440154", "#482878", "#3e4a89", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"];
  const MISSING = "#8a939c";
  const SEED = "#8a939c";
  let data = JSON.parse($("data").textContent);
  const state = { walker: 0, index: 0, structure: null, mode: null, picked: -1, timer: 0 };
  let growth = [];
  let labelled = null;
  let viewer = null;

  // ---------------------------------------------------------------- from base64 to atoms

  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const offsets = (sizes) => sizes.map(((sum) => (n) => (sum += n) - n)(0));

  function unpackedPositions(packed) {
    const levels = new Int16Array(bytes(packed.data).buffer);
    return (atom) => [0, 1, 2].map((k) => levels[3 * atom + k] * packed.unit + packed.centre[k]);
  }

  function unpackedLevels(packed) {
    if (!packed) return () => null;
    const levels = new Uint16Array(bytes(packed.data).buffer);
    return (atom) => (levels[atom] === 65535 ? null : packed.low + ((packed.high - packed.low) * levels[atom]) / 65534);
  }

  function unpack() {
    growth = data.walkers.map((w) => ({
      ...w, starts: offsets(w.sizes), at: unpackedPositions(w.positions), kind: bytes(w.kinds), stdOf: unpackedLevels(w.std), shareOf: unpackedLevels(w.share),
    }));
    const s = data.structures;
    labelled = { ...s, starts: offsets(s.sizes), at: unpackedPositions(s.positions), kind: bytes(s.kinds) };
  }

  function atomsNow() {
    if (state.structure !== null) {
      const k = state.structure;
      const names = labelled.species[k];
      return Array.from({ length: labelled.sizes[k] }, (_, i) => {
        const atom = labelled.starts[k] + i;
        return { elem: typeof names === "string" ? names : names[i], at: labelled.at(atom), kind: data.kinds[labelled.kind[atom]], born: null, std: null, share: null };
      });
    }
    const w = growth[state.walker];
    if (!w) return [];
    const ids = w.ids[state.index];
    return Array.from({ length: w.sizes[state.index] }, (_, i) => {
      const atom = w.starts[state.index] + i;
      const id = ids ? ids[i] : i;
      return { elem: w.species[id], at: w.at(atom), kind: data.kinds[w.kind[atom]], born: w.born[id], std: w.stdOf(atom), share: w.shareOf(atom) };
    });
  }

  const stepNow = () => (growth[state.walker] ? growth[state.walker].steps[state.index] : 0);
  const lineNow = () => data.energies.find((e) => e.walker === growth[state.walker]?.walker && e.step === stepNow());

  // ---------------------------------------------------------------- colours

  function ramp(x) {
    const place = Math.min(Math.max(x, 0), 1) * (RAMP.length - 1);
    const k = Math.min(Math.floor(place), RAMP.length - 2);
    const channel = (hex, c) => parseInt(hex.slice(1 + 2 * c, 3 + 2 * c), 16);
    const mix = [0, 1, 2].map((c) => Math.round(channel(RAMP[k], c) + (place - k) * (channel(RAMP[k + 1], c) - channel(RAMP[k], c))));
    return `#${mix.map((v) => v.toString(16).padStart(2, "0")).join("")}`;
  }

  function scaleNow() {
    const w = growth[state.walker];
    const within = (packed, value) => ({ low: packed.low, high: packed.high, value });
    if (!w) return null;
    if (state.mode === "age") return { low: 1, high: Math.max(2, w.steps[w.steps.length - 1]), value: (atom) => (atom.born > 0 ? atom.born : null) };
    if (state.mode === "std" && w.std) return within(w.std, (atom) => atom.std);
    if (state.mode === "share" && w.share) return within(w.share, (atom) => atom.share);
    return null;
  }

  function colourOf(atom, scale) {
    const look = data.species[atom.elem] || { color: MISSING };
    if (state.mode === "order") return KINDS[atom.kind];
    if (state.mode === "species" || (state.structure !== null && !scale)) return look.color;
    if (!scale) return MISSING;
    const value = scale.value(atom);
    return value === null || value === undefined ? (state.structure !== null ? look.color : SEED) : ramp((value - scale.low) / (scale.high - scale.low || 1));
  }

  function swatch(color, text) {
    const item = document.createElement("span");
    const dot = document.createElement("i");
    dot.style.background = color;
    item.append(dot, text);
    return item;
  }

  function legend(atoms, scale) {
    const place = $("legend");
    const count = (key) => [...atoms.reduce((sums, atom) => sums.set(atom[key], (sums.get(atom[key]) || 0) + 1), new Map())];
    const names = { surface: "fewer than 12 neighbours", other: "no known order", ico: "ico (five-fold)" };
    const named = { age: (x) => `step ${x.toFixed(0)}`, std: (x) => `${x.toFixed(3)} eV/Å`, share: (x) => `${signed(x, 2)} eV` };
    if (state.mode === "order") {
      const kinds = count("kind").sort((a, b) => data.kinds.indexOf(a[0]) - data.kinds.indexOf(b[0]));
      place.replaceChildren(...kinds.map(([kind, n]) => swatch(KINDS[kind], `${names[kind] || kind}: ${n}`)));
    } else if (state.mode === "species" || (state.structure !== null && state.mode !== "order")) {
      place.replaceChildren(...count("elem").map(([elem, n]) => swatch((data.species[elem] || { color: MISSING }).color, `${elem}: ${n}`)));
    } else if (scale) {
      const bar = document.createElement("span");
      bar.className = "ramp";
      bar.style.background = `linear-gradient(to right, ${RAMP.join(", ")})`;
      const missing = state.mode === "age" ? "the seed" : "not known for this step";
      const some = atoms.some((atom) => scale.value(atom) === null);
      place.replaceChildren(named[state.mode](scale.low), bar, named[state.mode](scale.high), ...(some ? [swatch(SEED, missing)] : []));
    } else {
      place.textContent = state.mode === "share" ? data.why_no_shares : "No std is kept for this run's steps.";
    }
    if (state.mode === "share" && scale && data.why_no_shares) place.append(` ${data.why_no_shares}`);
  }

  // ---------------------------------------------------------------- showing

  function cellLines(w) {
    if (!w || !w.cell || state.structure !== null) return [];
    const corner = (i, j, k) => {
      const at = [0, 1, 2].map((c) => i * w.cell[0][c] + j * w.cell[1][c] + k * w.cell[2][c]);
      return { x: at[0], y: at[1], z: at[2] };
    };
    const lines = [];
    for (const a of [0, 1]) for (const b of [0, 1]) {
      lines.push([corner(0, a, b), corner(1, a, b)], [corner(a, 0, b), corner(a, 1, b)], [corner(a, b, 0), corner(a, b, 1)]);
    }
    return lines;
  }

  function look() {
    const atoms = atomsNow();
    const radius = Math.max(1, ...Object.values(data.species).map((each) => each.radius));
    if (atoms.length) viewer.frame(state.structure === null && growth[state.walker] ? lastPoints() : atoms.map((atom) => atom.at), radius);
  }

  function lastPoints() {
    const w = growth[state.walker];
    const k = w.sizes.length - 1;
    return Array.from({ length: w.sizes[k] }, (_, i) => w.at(w.starts[k] + i));
  }

  function show() {
    const w = growth[state.walker];
    const atoms = atomsNow();
    const scale = scaleNow();
    const line = lineNow();
    const marked = state.structure === null && line ? line.atom : -1;
    viewer.accent = colour("accent");
    viewer.show(atoms.map((atom) => ({
      elem: atom.elem, x: atom.at[0], y: atom.at[1], z: atom.at[2], color: colourOf(atom, scale), radius: (data.species[atom.elem] || { radius: 1.2 }).radius,
    })), marked, cellLines(w));
    legend(atoms, scale);
    tell(atoms, line);
    $("slider").value = String(state.index);
    $("slider").setAttribute("aria-valuetext", `step ${stepNow()}, ${atoms.length} atoms`);
  }

  function shownStep() {
    const w = growth[state.walker];
    return { walker: w ? w.walker : -1, step: state.structure === null ? stepNow() : -1 };
  }

  function formula(atoms) {
    const counts = new Map();
    for (const atom of atoms) counts.set(atom.elem, (counts.get(atom.elem) || 0) + 1);
    return [...counts].sort().map(([elem, n]) => `${elem}${n > 1 ? n : ""}`).join("");
  }

  function tell(atoms, line) {
    const told = $("told");
    if (!atoms.length) {
      told.textContent = "Nothing has grown yet.";
      return;
    }
    const bold = document.createElement("b");
    const rest = document.createElement("span");
    if (state.structure !== null) {
      const e = data.errors.find((each) => each.structure === state.structure);
      bold.textContent = `A structure that the oracle labelled: ${formula(atoms)}. `;
      const carved = e.carved_from ? `, cut out of a crystal of ${e.carved_from} atoms` : "";
      rest.textContent = `For step ${e.step} of walker ${e.walker}${carved}. The surrogate was off by ${signed(e.error_mev_per_atom, 1)} meV/atom before it learnt this label. `;
      const back = document.createElement("button");
      back.type = "button";
      back.id = "to-growth";
      back.textContent = "Back to the growth";
      back.addEventListener("click", () => goTo({ walker: e.walker, step: e.step }));
      rest.append(back);
    } else if (!line) {
      bold.textContent = `The seed: ${formula(atoms)}. `;
      rest.textContent = "Growth begins here.";
    } else {
      bold.textContent = `Step ${line.step}: ${formula(atoms)}. `;
      const off = line.std_mev_per_atom === null ? "" : ` ± ${line.std_mev_per_atom.toFixed(1)} meV/atom (std)`;
      const barrier = line.barrier_ev === null ? "" : ` over a barrier of ${line.barrier_ev.toFixed(2)} eV`;
      const clock = line.time_s === null ? "" : ` at ${line.time_s.toPrecision(3)} s`;
      const why = { accepted: "taken without asking", queried: "the oracle was asked", audited: "taken, and checked at random", speculative: "taken before the oracle has answered" };
      rest.textContent = `${line.kind}${barrier}${clock}; ${signed(line.energy_ev_per_atom, 4)} eV/atom${off}; ${why[line.fate] || line.fate}${line.reason ? ` (${line.reason})` : ""}.`;
    }
    told.replaceChildren(bold, rest);
    $("stage").setAttribute("aria-label", `The crystal in three dimensions. ${bold.textContent}${rest.textContent}`);
  }

  function pick(k) {
    const atom = atomsNow()[k];
    if (!atom) return;
    const born = atom.born === null ? "" : atom.born ? `, came at step ${atom.born}` : ", of the seed";
    const std = atom.std === null ? "" : `, std of its force ${atom.std.toFixed(3)} eV/Å`;
    const share = atom.share === null ? "" : `, contributes ${signed(atom.share, 3)} eV`;
    const kind = { surface: "fewer than 12 neighbours", other: "no known order" }[atom.kind] || `${atom.kind} surroundings`;
    const fixed = growth[state.walker] && state.structure === null && growth[state.walker].fixed.includes(k) ? ", held fixed" : "";
    $("picked").textContent = `Atom ${k}: ${atom.elem}${born}, ${kind}${std}${share}${fixed}.`;
  }

  // ---------------------------------------------------------------- going

  function goTo(where) {
    if (where.walker === null || where.walker === undefined) return;
    const walker = growth.findIndex((w) => w.walker === where.walker);
    if (walker < 0) return;
    const changed = walker !== state.walker || state.structure !== null;
    state.walker = walker;
    const steps = growth[walker].steps;
    state.index = Math.max(0, steps.findLastIndex((s) => s <= where.step));
    state.structure = null;
    settle();
    if (changed) look();
    refresh();
  }

  function goToPoint(point) {
    if (point.structure === null || point.structure === undefined) {
      goTo(point);
      return;
    }
    halt();
    state.structure = point.structure;
    look();
    refresh();
  }

  function refresh() {
    show();
    moveRing(data, shownStep());
  }

  function stepBy(n) {
    const w = growth[state.walker];
    if (!w) return;
    const before = state.structure;
    state.structure = null;
    state.index = Math.min(Math.max(state.index + n, 0), w.steps.length - 1);
    if (before !== null) look();
    refresh();
  }

  function settle() {
    const w = growth[state.walker];
    $("slider").max = String(w ? w.steps.length - 1 : 0);
    $("walker").value = String(state.walker);
  }

  function halt() {
    clearInterval(state.timer);
    state.timer = 0;
    $("play").classList.remove("playing");
    $("play").setAttribute("aria-label", "Play the growth");
    $("told").setAttribute("aria-live", "polite");
  }

  function play() {
    const w = growth[state.walker];
    if (state.timer || !w) return halt();
    if (state.index >= w.steps.length - 1) state.index = 0;
    $("play").classList.add("playing");
    $("play").setAttribute("aria-label", "Stop");
    $("told").setAttribute("aria-live", "off");
    state.timer = setInterval(() => {
      stepBy(1);
      if (state.index >= growth[state.walker].steps.length - 1) halt();
    }, Math.max(60, Math.min(300, 15000 / w.steps.length)));
    return undefined;
  }

  function choices() {
    const options = growth.map((w, k) => {
      const option = document.createElement("option");
      option.value = String(k);
      option.textContent = `walker ${w.walker}: ${w.sizes[w.sizes.length - 1]} atoms`;
      return option;
    });
    $("walker").replaceChildren(...options);
    settle();
  }

  function everyPlot() {
    drawEnergy(data, shownStep(), goTo);
    drawParity(data, goToPoint);
    drawHonest(data, goToPoint);
    drawPromises(data, $("quantity").value, goTo);
    drawLearning(data);
    drawBusy(data);
  }

  function dress() {
    viewer.background(colour("stage"));
    show();
    everyPlot();
  }

  // ---------------------------------------------------------------- what the reader presses

  function listen() {
    $("slider").addEventListener("input", (event) => { halt(); stepBy(Number(event.target.value) - state.index); });
    $("walker").addEventListener("change", (event) => { halt(); const w = growth[Number(event.target.value)]; goTo({ walker: w.walker, step: w.steps[w.steps.length - 1] }); look(); refresh(); });
    $("mode").addEventListener("change", (event) => { state.mode = event.target.value; show(); });
    $("inside").addEventListener("change", (event) => { viewer.ball = event.target.checked ? SMALL : BALL; show(); });
    $("quantity").addEventListener("change", () => drawPromises(data, $("quantity").value, goTo));
    const press = { first: () => stepBy(-1e9), back: () => stepBy(-1), on: () => stepBy(1), last: () => stepBy(1e9), reset: () => { look(); show(); } };
    for (const [id, act] of Object.entries(press)) $(id).addEventListener("click", () => { halt(); act(); });
    $("play").addEventListener("click", play);
    $("stage").addEventListener("keydown", onKey);
    document.addEventListener("click", (event) => {
      const jump = event.target.closest(".jump");
      const copy = event.target.closest(".copy");
      if (jump) { halt(); goTo({ walker: Number(jump.dataset.walker), step: Number(jump.dataset.step) }); $("stage").focus(); }
      if (copy) copied(copy);
    });
    document.addEventListener("keydown", (event) => {
      if (["ArrowLeft", "ArrowRight", " "].includes(event.key) && event.target === document.body) onKey(event);
    });
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", dress);
    window.addEventListener("beforeprint", () => { still(); dress(); });
    window.addEventListener("afterprint", dress);
  }

  function onKey(event) {
    const turns = { ArrowLeft: [-10, 0], ArrowRight: [10, 0], ArrowUp: [0, -10], ArrowDown: [0, 10] };
    const acts = { ArrowLeft: () => stepBy(-1), ArrowRight: () => stepBy(1), Home: () => stepBy(-1e9), End: () => stepBy(1e9), " ": play, "+": () => viewer.zoom(1.15), "-": () => viewer.zoom(1 / 1.15) };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.shiftKey && turns[event.key]) viewer.turn(...turns[event.key]);
    else if (acts[event.key]) { if (event.key !== " ") halt(); acts[event.key](); }
    else return;
    event.preventDefault();
  }

  function copied(button) {
    const text = button.previousElementSibling.textContent;
    const done = () => { button.textContent = "Copied"; setTimeout(() => { button.textContent = "Copy"; }, 1500); };
    if (navigator.clipboard && window.isSecureContext) { navigator.clipboard.writeText(text).then(done, () => selected(button)); return; }
    selected(button);
  }

  function selected(button) {
    const range = document.createRange();
    range.selectNodeContents(button.previousElementSibling);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    button.textContent = "Selected";
  }

  function still() {
    if (!$("stage").clientWidth) return; // not on the screen: what was last shown stays
    viewer.background("#ffffff");
    show();
    $("still").src = viewer.picture();
    $("still").alt = $("stage").getAttribute("aria-label");
  }

  // ---------------------------------------------------------------- news

  function take(news) {
    const w = growth[state.walker];
    const follows = !w || state.index >= w.steps.length - 1;
    const number = w ? w.walker : 0;
    data = news.data;
    unpack();
    state.walker = Math.max(0, growth.findIndex((each) => each.walker === number));
    const now = growth[state.walker];
    if (now && follows) state.index = now.steps.length - 1;
    if (now) state.index = Math.min(state.index, now.steps.length - 1);
    if (state.structure !== null && state.structure >= labelled.sizes.length) state.structure = null;
    choices();
    for (const place of document.querySelectorAll("[data-section]")) {
      const html = news.sections[place.dataset.section];
      if (html !== undefined && place.told !== html) {
        const open = [...place.querySelectorAll("details")].map((each) => each.open);
        place.innerHTML = html;
        place.told = html;
        place.querySelectorAll("details").forEach((each, k) => { each.open = open[k] || false; });
      }
    }
    show();
    everyPlot();
  }

  function say(text) {
    $("news").hidden = !text;
    $("news").textContent = text;
  }

  async function poll(known) {
    let next = known;
    try {
      const answer = await fetch(`data.json?known=${encodeURIComponent(known)}`, { cache: "no-store" });
      if (answer.status === 200) {
        const news = await answer.json();
        next = news.known;
        take(news);
      } else if (answer.status !== 204) {
        throw new Error(String(answer.status));
      }
      say({ running: "Live: this page shows what the run does as it goes on.", finished: "The run has ended. This page is complete.", stopped: "Nobody works on the run; this page waits for it to go on.", "not begun": "The run has not begun; this page waits for it." }[data.state] || "");
    } catch {
      say("The server of this page does not answer; what stands here is the latest that it said.");
    }
    setTimeout(() => poll(next), document.hidden ? 10000 : 2000);
  }

  // ---------------------------------------------------------------- start

  function lowest() {
    const size = (w) => w.sizes[w.sizes.length - 1];
    const energy = (w) => data.energies.findLast((e) => e.walker === w.walker)?.energy_ev_per_atom ?? Infinity;
    const better = (a, b) => (size(a) !== size(b) ? size(a) > size(b) : energy(a) < energy(b));
    return growth.reduce((best, w, k) => (better(w, growth[best]) ? k : best), 0);
  }

  unpack();
  viewer = makeViewer($("stage"), pick);
  state.mode = Object.keys(data.species).length > 1 ? "species" : "age";
  $("mode").value = state.mode;
  state.walker = lowest();
  if (growth.length) state.index = growth[state.walker].steps.length - 1;
  choices();
  listen();
  look();
  dress();
  still();
  viewer.background(colour("stage"));
  if (document.documentElement.dataset.mode === "live") poll("");
  document.documentElement.dataset.ready = "yes";
})();
