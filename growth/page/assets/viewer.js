"use strict";
// A crystal on a canvas: by WebGL (3Dmol), or where there is none by circles on a plain canvas.

const BALL = 1.12; // radius of a ball in covalent radii: neighbours nearly touch
const SMALL = 0.45; // the same where one is to see inside

function hasWebGL() {
  try {
    const canvas = document.createElement("canvas");
    return Boolean(canvas.getContext("webgl2") || canvas.getContext("webgl"));
  } catch {
    return false;
  }
}

function makeViewer(element, onPick) {
  element.replaceChildren();
  if (hasWebGL()) {
    try {
      return new BallViewer(element, onPick);
    } catch (error) {
      element.replaceChildren();
    }
  }
  return new CircleViewer(element, onPick);
}

// Both viewers: show(atoms, marked, lines) with atoms [{elem, x, y, z, color, radius}], marked a number or -1, lines
// [[from, to]]; ball, the radius in covalent radii; frame(points, radius) looks at all of these; background(color), accent; turn(x, y), zoom(factor), picture().

class BallViewer {
  constructor(element, onPick) {
    this.onPick = onPick;
    this.accent = "#c2410c";
    this.ball = BALL;
    this.viewer = $3Dmol.createViewer(element, { backgroundColor: "white", antialias: true, disableFog: true });
    if (!this.viewer) throw new Error("no WebGL");
    this.canvas = element.querySelector("canvas");
    new ResizeObserver(() => this.viewer.resize()).observe(element);
  }

  show(atoms, marked, lines) {
    const viewer = this.viewer;
    viewer.removeAllModels();
    viewer.removeAllShapes();
    const specs = atoms.map((atom, k) => ({ ...atom, serial: k, bonds: [], bondOrder: [], properties: {} }));
    viewer.addModel().addAtoms(specs);
    for (const [elem, radius] of new Map(atoms.map((atom) => [atom.elem, atom.radius]))) {
      viewer.setStyle({ elem }, { sphere: { radius: radius * this.ball } });
    }
    viewer.setClickable({}, true, (atom) => this.onPick(atom.serial));
    for (const [start, end] of lines) viewer.addLine({ start, end, color: this.accentLine || "#888888" });
    const atom = atoms[marked];
    if (atom) {
      viewer.addSphere({ center: { x: atom.x, y: atom.y, z: atom.z }, radius: atom.radius * this.ball * 1.18, color: this.accent, opacity: 0.55 });
    }
    viewer.render();
  }

  frame(points, radius) {
    const model = this.viewer.addModel();
    model.addAtoms(points.map(([x, y, z]) => ({ elem: "H", x, y, z, bonds: [], bondOrder: [] })));
    this.viewer.setView([0, 0, 0, 0, 0, 0, 0, 1]);
    this.viewer.zoomTo({ model });
    this.viewer.rotate(20, "x");
    this.viewer.rotate(-25, "y");
    this.viewer.removeModel(model);
    const centre = [0, 1, 2].map((k) => points.reduce((sum, point) => sum + point[k], 0) / points.length);
    const reach = Math.max(1, ...points.map((point) => Math.hypot(...point.map((x, k) => x - centre[k]))));
    this.viewer.zoom(reach / (reach + 1.3 * radius)); // zoomTo sees the middles of the balls alone
  }

  background(color) {
    this.viewer.setBackgroundColor(color);
    this.viewer.render();
  }

  turn(x, y) {
    if (x) this.viewer.rotate(x, "y");
    if (y) this.viewer.rotate(y, "x");
  }

  zoom(factor) {
    this.viewer.zoom(factor);
  }

  picture() {
    return this.viewer.pngURI();
  }
}

class CircleViewer {
  constructor(element, onPick) {
    this.onPick = onPick;
    this.accent = "#c2410c";
    this.ball = BALL;
    this.paper = "#ffffff";
    this.atoms = [];
    this.lines = [];
    this.marked = -1;
    this.axes = [[1, 0, 0], [0, 1, 0], [0, 0, 1]];
    this.centre = [0, 0, 0];
    this.reach = 5;
    this.scale = 1;
    this.canvas = document.createElement("canvas");
    element.append(this.canvas);
    this.element = element;
    new ResizeObserver(() => this.draw()).observe(element);
    let from = null;
    let moved = 0;
    this.canvas.addEventListener("pointerdown", (event) => {
      from = [event.clientX, event.clientY];
      moved = 0;
      this.canvas.setPointerCapture(event.pointerId);
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!from) return;
      const [dx, dy] = [event.clientX - from[0], event.clientY - from[1]];
      moved += Math.abs(dx) + Math.abs(dy);
      from = [event.clientX, event.clientY];
      this.turn(dx / 2, dy / 2);
    });
    this.canvas.addEventListener("pointerup", (event) => {
      from = null;
      if (moved < 4) this.pick(event.offsetX, event.offsetY);
    });
  }

  show(atoms, marked, lines) {
    Object.assign(this, { atoms, marked, lines });
    this.draw();
  }

  frame(points, radius) {
    const n = Math.max(points.length, 1);
    this.centre = [0, 1, 2].map((k) => points.reduce((sum, point) => sum + point[k], 0) / n);
    this.reach = Math.max(3, ...points.map((point) => Math.hypot(...point.map((x, k) => x - this.centre[k])))) + 1.3 * radius;
    this.scale = 1;
    this.axes = [[1, 0, 0], [0, 1, 0], [0, 0, 1]];
    this.turn(-25, 20);
  }

  background(color) {
    this.paper = color;
    this.draw();
  }

  zoom(factor) {
    this.scale *= factor;
    this.draw();
  }

  turn(x, y) {
    const spin = (a, b, degrees) => {
      const [c, s] = [Math.cos((degrees * Math.PI) / 180), Math.sin((degrees * Math.PI) / 180)];
      return [a.map((v, k) => c * v + s * b[k]), b.map((v, k) => c * v - s * a[k])];
    };
    let [u, v, w] = this.axes;
    [u, w] = spin(u, w, x);
    [v, w] = spin(v, w, -y);
    this.axes = [u, v, w];
    this.draw();
  }

  place({ x, y, z }) {
    const point = [x - this.centre[0], y - this.centre[1], z - this.centre[2]];
    return this.axes.map((axis) => axis.reduce((sum, a, k) => sum + a * point[k], 0));
  }

  draw() {
    const [width, height, dense] = [this.element.clientWidth, this.element.clientHeight, window.devicePixelRatio || 1];
    this.canvas.width = width * dense;
    this.canvas.height = height * dense;
    this.canvas.style.width = "100%";
    this.canvas.style.height = "100%";
    const pen = this.canvas.getContext("2d");
    pen.scale(dense, dense);
    pen.fillStyle = this.paper;
    pen.fillRect(0, 0, width, height);
    const unit = (Math.min(width, height) / 2 / this.reach) * this.scale;
    const onPaper = ([x, y]) => [width / 2 + x * unit, height / 2 - y * unit];
    pen.strokeStyle = "#888888";
    for (const [start, end] of this.lines) {
      pen.beginPath();
      pen.moveTo(...onPaper(this.place(start)));
      pen.lineTo(...onPaper(this.place(end)));
      pen.stroke();
    }
    this.drawn = this.atoms.map((atom, k) => ({ atom, k, at: this.place(atom) })).sort((a, b) => a.at[2] - b.at[2]);
    for (const { atom, k, at } of this.drawn) {
      const [x, y] = onPaper(at);
      const radius = atom.radius * this.ball * unit;
      const light = pen.createRadialGradient(x - radius / 3, y - radius / 3, radius / 8, x, y, radius);
      light.addColorStop(0, "#ffffff");
      light.addColorStop(0.35, atom.color);
      light.addColorStop(1, atom.color);
      pen.fillStyle = light;
      pen.strokeStyle = k === this.marked ? this.accent : "#00000066";
      pen.lineWidth = k === this.marked ? 4 : 1;
      pen.beginPath();
      pen.arc(x, y, radius, 0, 2 * Math.PI);
      pen.fill();
      pen.stroke();
    }
    this.onPaper = onPaper;
    this.unit = unit;
  }

  pick(x, y) {
    for (const { atom, k, at } of [...(this.drawn || [])].reverse()) {
      const [px, py] = this.onPaper(at);
      if (Math.hypot(x - px, y - py) < atom.radius * this.ball * this.unit) {
        this.onPick(k);
        return;
      }
    }
  }

  picture() {
    return this.canvas.toDataURL("image/png");
  }
}
