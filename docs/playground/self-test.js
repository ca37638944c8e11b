"use strict";
// The page's numbers against what they must be: open index.html?test. Each check throws if it
// fails; the report lies in the page as JSON, for readers and for tests.

const CHECKS = {
  "gradients equal finite differences"() {
    const points = presetPoints("few", 0.2);
    const settings = { seed: 3, members: 2, width: 7, priorScale: 2, noise: 0.2, bootstrap: true };
    const ensemble = new Ensemble(settings, points);
    for (const member of ensemble.members) {
      ensemble.loss(member);
      const gradient = ensemble.gradient.slice();
      expect(gradient.some((g) => Math.abs(g) > 0.01), "a gradient worth checking");
      member.weights.forEach((weight, j) => {
        const at = (value) => {
          member.weights[j] = value;
          return ensemble.loss(member);
        };
        const slope = (at(weight + 1e-5) - at(weight - 1e-5)) / 2e-5;
        member.weights[j] = weight;
        expect(Math.abs(slope - gradient[j]) < 1e-7, `weight ${j}: ${slope}, ${gradient[j]}`);
      });
    }
  },

  "Adam does what its formula says"() {
    // The averages written out as sums over all gradients so far, which Adam itself never forms.
    const gradients = [[0.3, -2], [-0.1, 4], [0.02, 0], [5, 1e-3]];
    const weights = Float64Array.of(1, -1);
    const adam = new Adam(2, 0.05);
    const expected = [1, -1];
    gradients.forEach((gradient, last) => {
      adam.step(weights, Float64Array.from(gradient));
      for (const j of [0, 1]) {
        const average = (decay, power) => {
          const terms = gradients.slice(0, last + 1).map((g, t) => decay ** (last - t) * g[j] ** power);
          return ((1 - decay) * terms.reduce((a, b) => a + b)) / (1 - decay ** (last + 1));
        };
        expected[j] -= (0.05 * average(0.9, 1)) / (Math.sqrt(average(0.999, 2)) + 1e-8);
        expect(Math.abs(weights[j] - expected[j]) < 1e-12, `${weights[j]}, not ${expected[j]}`);
      }
    });
  },

  "draws have the moments of their laws"() {
    // Bounds are 5 standard errors: each of the six fails by chance once in 1.7 million seeds.
    const count = 40000;
    const stream = new Stream(12);
    const laws = [
      ["uniform", 1 / 2, 1 / 12, 1 / 180],
      ["normal", 0, 1, 2],
      ["poisson", 1, 1, 3],
    ];
    for (const [law, mean, variance, spread] of laws) {
      const draws = Array.from({ length: count }, () => stream[law]());
      const average = (values) => values.reduce((a, b) => a + b) / count;
      const near = (value, wanted, square) =>
        expect(Math.abs(value - wanted) < 5 * Math.sqrt(square / count), `${law}: ${value}`);
      near(average(draws), mean, variance);
      near(average(draws.map((x) => (x - mean) ** 2)), variance, spread);
    }
  },

  "the same seed gives the same curves"() {
    const settings = { seed: 5, members: 3, width: 6, priorScale: 1, noise: 0.1, bootstrap: true };
    const points = presetPoints("few", 0.1);
    const curvesOf = (changes, data) => {
      const ensemble = new Ensemble({ ...settings, ...changes }, data);
      ensemble.finish();
      return ensemble.members.map((member) => member.curve.join()).join();
    };
    const curves = curvesOf({}, points);
    expect(curves === curvesOf({}, points), "again");
    expect(curves === curvesOf({}, [...points].reverse()), "points clicked in another order");
    expect(curves !== curvesOf({ seed: 6 }, points), "another seed, another picture");
    expect(curvesOf({ members: 5 }, points).startsWith(curves), "more members move no others");
    const sliced = new Ensemble(settings, points);
    while (!sliced.done) {
      sliced.step();
      sliced.refreshOne(); // looking on changes nothing
    }
    while (sliced.refreshOne());
    expect(curves === sliced.members.map((m) => m.curve.join()).join(), "in slices");
  },

  "priors keep doubt where there are no data"() {
    for (const seed of [1, 2, 3]) {
      const bands = [0, 4].map((priorScale) => {
        const settings = { seed, members: 12, width: 16, priorScale, noise: 0.05, bootstrap: false };
        const ensemble = new Ensemble(settings, presetPoints("few", 0.05));
        ensemble.finish();
        return spreads(meanAndStd(ensemble.members).std, ensemble.points);
      });
      const [without, including] = bands;
      const said = JSON.stringify(bands);
      expect(without.far < 0.5, `without priors the band far away is narrow: ${said}`);
      expect(including.far > 1.2, `with priors it is wide: ${said}`);
      expect(without.near < 0.3 && including.near < 0.4, `near the data it is narrow: ${said}`);
    }
  },

  "without data an ensemble is its starting networks plus priors"() {
    const settings = { seed: 1, members: 3, width: 8, priorScale: 2, noise: 0.1, bootstrap: true };
    const ensemble = new Ensemble(settings, []);
    const before = ensemble.members.map((member) => member.weights.join());
    ensemble.finish();
    expect(before.every((w, k) => w === ensemble.members[k].weights.join()), "weights stay");
  },

  "one way in 32 leads to the treasure of a sea of 5"() {
    const sea = new Sea(5);
    const returns = Array.from({ length: 32 }, (_, ways) => {
      let total = 0;
      for (let cell = 0, t = 0; cell >= 0; t++) {
        const { reward, next } = sea.step(cell, (ways >> t) & 1);
        total += reward;
        cell = next;
      }
      return total;
    });
    expect(returns.filter((total) => total > 0).length === 1, "one way");
    expect(Math.abs(returns[31] - 0.99) < 1e-12, `all to the right: ${returns[31]}`);
    expect(Math.abs(returns[5] + 0.004) < 1e-12, `two to the right: ${returns[5]}`);
  },

  "with priors deep sea of 10 is solved, ε-greedy does not find the treasure"() {
    for (let seed = 1; seed <= 10; seed++) {
      const after = (kind) => {
        const agent = new Agent(kind, 10, seed);
        while (agent.episodes < 300) agent.play();
        return agent;
      };
      const solved = after("prior");
      expect(solved.solvedAt > 0, `seed ${seed}: not solved`);
      expect(after("greedy").firstFound === 0, `seed ${seed}: ε-greedy found it`);
      const twice = after("prior");
      expect(twice.visits.join() === solved.visits.join(), `seed ${seed}: the same seed differs`);
    }
  },
};

function expect(holds, said) {
  if (!holds) throw new Error(said);
}

function selfTest() {
  const report = {};
  for (const [name, check] of Object.entries(CHECKS)) {
    try {
      check();
      report[name] = "holds";
    } catch (error) {
      report[name] = `fails: ${error.message}`;
    }
  }
  return report;
}

const shownReport = document.createElement("pre");
shownReport.id = "self-test";
shownReport.textContent = JSON.stringify(selfTest(), null, 2);
document.querySelector("main").append(shownReport);
