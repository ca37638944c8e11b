"use strict";
// The first part of the page: controls, data and the picture of the ensemble.

const FRAME_BUDGET = 12; // milliseconds of a frame for training and curves; the rest is drawing's
const CURVES_BUDGET = 3; // of these, for curves
const SETTLE = 150; // milliseconds without a change before the picture is trained from the seed
const calm = matchMedia("(prefers-reduced-motion: reduce)");

class EnsemblePart {
  constructor(root) {
    this.find = (name) => root.querySelector(`[data-part="${name}"]`);
    this.canvas = this.find("picture");
    this.cursor = null; // shown while the keyboard is used
    this.where = { x: 0, y: 0 };
    this.frame = 0;
    for (const input of root.querySelectorAll("input")) {
      input.addEventListener("input", () => this.changed(input.name));
    }
    for (const button of root.querySelectorAll("[data-preset]")) {
      button.addEventListener("click", () => this.usePreset(button.dataset.preset));
    }
    this.find("clear").addEventListener("click", () => this.usePoints([]));
    this.find("again").addEventListener("click", () => this.start());
    this.canvas.addEventListener("click", (event) => this.clicked(event));
    this.canvas.addEventListener("keydown", (event) => this.pressed(event));
    this.canvas.addEventListener("blur", () => this.showCursor(false));
    this.inputs = root.querySelectorAll("input");
    this.usePreset("few");
  }

  input(name) {
    return [...this.inputs].find((input) => input.name === name);
  }

  get settings() {
    const number = (name) => Number(this.input(name).value);
    return {
      seed: Math.trunc(number("seed")),
      members: number("members"),
      width: number("width"),
      priorScale: number("priorScale"),
      noise: number("noise"),
      bootstrap: this.input("bootstrap").checked,
    };
  }

  usePreset(name) {
    this.preset = name;
    this.input("noise").value = PRESETS[name].noise;
    this.points = presetPoints(name, PRESETS[name].noise);
    this.start();
  }

  // Points of one's own: the noise slider no longer moves them.
  usePoints(points) {
    this.preset = null;
    this.points = points;
    this.goOn();
  }

  changed(name) {
    if (name === "noise" && this.preset) {
      this.points = presetPoints(this.preset, this.settings.noise);
    }
    if (["members", "width", "seed"].includes(name)) this.start();
    else this.goOn();
  }

  // Trains from the seed, in view.
  start() {
    this.live = new Ensemble(this.settings, this.points);
    this.fresh = this.live;
    this.wake();
  }

  // Goes on from the weights that are there, so that the picture follows the hand. When the hand
  // rests, `fresh` is trained from the seed behind the picture and takes its place: what you see
  // then depends on settings and points alone, not on the way to them.
  goOn() {
    this.live.adopt(this.settings, this.points);
    this.fresh = null;
    this.settleAt = performance.now() + SETTLE;
    this.wake();
  }

  wake() {
    this.showSettings();
    if (this.frame === 0) this.frame = requestAnimationFrame(() => this.tick());
  }

  tick() {
    this.frame = 0;
    const busy = this.work();
    if (!busy || !calm.matches) this.draw();
    this.say(busy);
    if (busy) this.frame = requestAnimationFrame(() => this.tick());
  }

  // A slice of training; false once all is trained and every curve is fresh.
  work() {
    const end = performance.now() + FRAME_BUDGET;
    const trainEnd = end - CURVES_BUDGET;
    const now = () => performance.now();
    if (this.fresh === null && now() >= this.settleAt) {
      this.fresh = new Ensemble(this.settings, this.points);
    }
    const training = this.fresh && this.fresh !== this.live ? this.fresh : this.live;
    while (!training.done && now() < trainEnd) training.step();
    if (training === this.fresh && training.done) this.live = this.fresh;
    let fresher = true;
    do fresher = this.live.refreshOne();
    while (fresher && now() < end);
    return this.live !== this.fresh || !this.live.done || fresher;
  }

  draw() {
    this.summary = meanAndStd(this.live.members);
    drawEnsemble(this.canvas, this.live, this.summary, this.cursor);
  }

  // What the picture says, in words.
  say(busy) {
    this.find("progress").value = busy ? (this.fresh ?? this.live).progress : 1;
    if (busy) return;
    this.tell("words", this.story(spreads(this.summary.std, this.live.points)));
  }

  story({ near, far }) {
    const band = (value) => `±${value.toFixed(2)}`;
    const { points, settings } = this.live;
    const others = settings.bootstrap ? "noise, bootstrap" : "noise";
    const why = settings.priorScale === 0
      ? ` No priors: what doubt there is comes from ${others} and starting weights alone.`
      : "";
    if (points.length === 0) return `No data, so nothing is learned: ${band(far)}.${why}`;
    if (Number.isNaN(far)) return `Data everywhere: ${band(near)}.${why}`;
    const times = far / near;
    const factor = times < 10 ? times.toFixed(1) : Math.round(times);
    return `Near the data ${band(near)}, far from them ${band(far)}: ${factor} times as wide.${why}`;
  }

  // Text is written only where it is new, for those who have it read to them.
  tell(name, text) {
    const place = this.find(name);
    if (place.textContent !== text) place.textContent = text;
  }

  showSettings() {
    for (const input of this.inputs) {
      const output = this.find(`${input.name}-value`);
      if (output) output.textContent = input.value;
    }
  }

  scale() {
    return scaleOf(this.canvas.clientWidth, this.canvas.clientHeight);
  }

  clicked(event) {
    const box = this.canvas.getBoundingClientRect();
    const scale = this.scale();
    const x = scale.fromX(event.clientX - box.left);
    const y = scale.fromY(event.clientY - box.top);
    if (Math.abs(x) > X_RANGE || Math.abs(y) > Y_RANGE) return;
    this.where = { x, y };
    this.showCursor(false);
    this.toggle(x, y, event.pointerType === "touch" ? 20 : 11);
  }

  // Removes the point within `reach` pixels, or adds one where there is none.
  toggle(x, y, reach) {
    const scale = this.scale();
    const away = (p) =>
      Math.hypot(scale.toX(p.x) - scale.toX(x), scale.toY(p.y) - scale.toY(y));
    const near = this.points.filter((p) => away(p) <= reach).sort((p, q) => away(p) - away(q))[0];
    if (near) {
      this.tell("cursor", "Point removed.");
      this.usePoints(this.points.filter((p) => p !== near));
    } else {
      this.tell("cursor", "Point added.");
      this.usePoints([...this.points, { x, y }]);
    }
  }

  pressed(event) {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const { x, y } = this.where;
    if (event.key in move) {
      const [dx, dy] = move[event.key];
      const step = event.shiftKey ? 0.5 : 0.1;
      // Kept on the grid of the steps: 0.1 + 0.2 shall be 0.3.
      const on = (value, range) => Math.min(range, Math.max(-range, Math.round(10 * value) / 10));
      this.where = { x: on(x + step * dx, X_RANGE), y: on(y + step * dy, Y_RANGE) };
      this.showCursor(true);
      this.tellPlace();
    } else if (event.key === " " || event.key === "Enter") {
      this.showCursor(true);
      this.toggle(x, y, 11);
    } else return;
    event.preventDefault(); // the page shall not scroll
  }

  tellPlace() {
    const { x, y } = this.where;
    const g = Math.round((x / X_RANGE + 1) * 50);
    const { mean, std } = meanAndStd(this.live.members);
    this.tell(
      "cursor",
      `Cursor at x ${x.toFixed(1)}, y ${y.toFixed(1)}; the ensemble says ` +
        `${mean[g].toFixed(2)} ± ${(2 * std[g]).toFixed(2)}.`,
    );
  }

  showCursor(shown) {
    this.cursor = shown ? this.where : null;
    this.wake();
  }
}
