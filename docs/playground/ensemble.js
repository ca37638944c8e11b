"use strict";
// An ensemble with randomised priors: member k predicts network(x) + scale · prior(x), where the
// prior is a random network of its own that is never trained (Osband et al., 2018).

const X_RANGE = 2; // x runs from -2 to 2
const Y_RANGE = 3;
const GRID = Float64Array.from({ length: 101 }, (_, i) => X_RANGE * (i / 50 - 1));
const STEPS = 400; // gradient steps of a training from the start
const LEARNING_RATE = 0.01;
// Networks to train start calm; priors wiggle, and a scale of 1 makes their std about 1.
const NETWORK_START = [0.5, 1];
const PRIOR_START = [2, 1.5];

// Data in the order of x, each with a number of its own. The number depends on the place alone,
// not on the order of clicks, so that the same points draw the same weights and the same noise.
function numbered(points) {
  const sorted = points.map((p) => ({ x: p.x, y: p.y })).sort((p, q) => p.x - q.x || p.y - q.y);
  let twin = 0;
  sorted.forEach((point, i) => {
    const place = Math.round(1000 * point.x);
    twin = i > 0 && place === Math.round(1000 * sorted[i - 1].x) ? twin + 1 : 0;
    point.number = hashOf(place, twin);
  });
  return sorted;
}

class Ensemble {
  // settings: seed, members, width, priorScale, noise (σ of the data), bootstrap (true, false).
  constructor(settings, points) {
    this.mlp = new Mlp(settings.width);
    this.gradient = new Float64Array(this.mlp.size);
    this.members = Array.from({ length: settings.members }, (_, k) =>
      this.newMember(settings.seed, k),
    );
    this.adopt(settings, points);
  }

  newMember(seed, k) {
    const prior = this.mlp.draw(new Stream(seed, PURPOSE.prior, k), ...PRIOR_START);
    return {
      weights: this.mlp.draw(new Stream(seed, PURPOSE.network, k), ...NETWORK_START),
      adam: new Adam(this.mlp.size, LEARNING_RATE),
      prior,
      // The prior never changes: what it says on the grid is computed once.
      priorCurve: GRID.map((x) => this.mlp.value(prior, x)),
      curve: new Float64Array(GRID.length),
      stale: true, // its curve is older than its weights
    };
  }

  // Takes other settings and data over and goes on from the weights that it has. Members and width
  // are those of the start.
  adopt(settings, points) {
    this.settings = settings;
    this.points = numbered(points);
    this.members.forEach((member, k) => this.giveTargets(member, k));
    this.left = STEPS * this.members.length;
    this.turn = 0;
    this.turnToDraw = 0;
  }

  // What the member is to learn: the data with noise of its own, less what its prior says already,
  // and how often the bootstrap drew each datum.
  giveTargets(member, k) {
    const { seed, priorScale, noise, bootstrap } = this.settings;
    const targets = this.points.map((point) => {
      const draw = new Stream(seed, PURPOSE.noise, k, point.number).normal();
      return point.y + noise * draw - priorScale * this.mlp.value(member.prior, point.x);
    });
    const counts = this.points.map((point) =>
      bootstrap ? new Stream(seed, PURPOSE.bootstrap, k, point.number).poisson() : 1,
    );
    member.targets = Float64Array.from(targets);
    member.counts = Float64Array.from(counts);
    member.stale = true;
  }

  get done() {
    return this.left === 0;
  }

  get progress() {
    return 1 - this.left / (STEPS * this.members.length);
  }

  // The mean over data of count · (network - target)² / 2, plus the ridge noise² · |weights|² / 2
  // / data. Noise on the targets with this ridge is the recipe that is exact Bayes for a linear
  // model whose weights have variance 1. The gradient is left in this.gradient.
  loss(member) {
    const { mlp, points, gradient } = this;
    gradient.fill(0);
    if (points.length === 0) return 0;
    const ridge = this.settings.noise ** 2 / points.length;
    let loss = 0;
    for (let j = 0; j < mlp.size; j++) {
      gradient[j] = ridge * member.weights[j];
      loss += (ridge * member.weights[j] ** 2) / 2;
    }
    for (let i = 0; i < points.length; i++) {
      const count = member.counts[i] / points.length;
      if (count === 0) continue;
      const error = mlp.value(member.weights, points[i].x) - member.targets[i];
      loss += (count * error * error) / 2;
      mlp.addGradient(member.weights, points[i].x, count * error, gradient);
    }
    return loss;
  }

  // One step of one member; members take turns. A slice of a frame may end after any of them and
  // the numbers are the same.
  step() {
    const member = this.members[this.turn];
    this.loss(member);
    member.adam.step(member.weights, this.gradient);
    member.stale = true;
    this.turn = (this.turn + 1) % this.members.length;
    this.left -= 1;
  }

  // Computes the curve of the next member whose curve is stale; false if there is none.
  refreshOne() {
    for (let i = 0; i < this.members.length; i++) {
      const member = this.members[this.turnToDraw];
      this.turnToDraw = (this.turnToDraw + 1) % this.members.length;
      if (!member.stale) continue;
      const scale = this.settings.priorScale;
      for (let g = 0; g < GRID.length; g++) {
        member.curve[g] = this.mlp.value(member.weights, GRID[g]) + scale * member.priorCurve[g];
      }
      member.stale = false;
      return true;
    }
    return false;
  }

  // All of it at once, for tests and for screens that shall not move.
  finish() {
    while (!this.done) this.step();
    while (this.refreshOne());
  }
}

// Mean and standard deviation over members at each point of the grid.
function meanAndStd(members) {
  const mean = new Float64Array(GRID.length);
  const std = new Float64Array(GRID.length);
  for (let g = 0; g < GRID.length; g++) {
    let sum = 0;
    for (const { curve } of members) sum += curve[g];
    mean[g] = sum / members.length;
    let squares = 0;
    for (const { curve } of members) squares += (curve[g] - mean[g]) ** 2;
    std[g] = Math.sqrt(squares / Math.max(1, members.length - 1));
  }
  return { mean, std };
}

// The half width of the band, 2 std, averaged over the grid near the data and far from them; NaN
// where the grid has no such place.
const NEAR = 0.1;
const FAR = 0.5;
function spreads(std, points) {
  const sums = { near: [0, 0], far: [0, 0] };
  GRID.forEach((x, g) => {
    const distance = Math.min(...points.map((point) => Math.abs(point.x - x)), Infinity);
    const kind = distance <= NEAR ? "near" : distance >= FAR ? "far" : null;
    if (kind === null) return;
    sums[kind][0] += 2 * std[g];
    sums[kind][1] += 1;
  });
  return { near: sums.near[0] / sums.near[1], far: sums.far[0] / sums.far[1] };
}

// Points to start from: a curve and where it was measured. The draws of the noise have a seed of
// their own, so that the seed of the page changes the members and not the data.
function evenly(from, to, count) {
  return Array.from({ length: count }, (_, i) => from + ((to - from) * i) / (count - 1));
}

const wave = (x) => Math.sin(2.5 * x);
const PRESETS = {
  few: { curve: wave, x: [-0.9, -0.45, -0.1, 0.35, 0.6, 1], noise: 0.05 },
  gap: { curve: wave, x: [...evenly(-1.6, -0.8, 9), ...evenly(0.7, 1.5, 9)], noise: 0.1 },
  line: { curve: (x) => 0.8 * x, x: evenly(-1, 1, 30), noise: 0.3 },
};

function presetPoints(name, noise) {
  const { curve, x } = PRESETS[name];
  const stream = new Stream(PURPOSE.data, name.length);
  return x.map((x) => ({ x, y: curve(x) + noise * stream.normal() }));
}
