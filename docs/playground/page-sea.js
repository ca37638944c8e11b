"use strict";
// The second part of the page: three agents in deep sea, side by side.

const LAST_EPISODE = 1000;
const NAMES = { greedy: "ε-greedy", plain: "Without priors", prior: "With priors" };
const CALM_PAUSE = 1000; // milliseconds between pictures for those who want no motion

class SeaPart {
  constructor(root) {
    this.find = (name) => root.querySelector(`[data-sea="${name}"]`);
    this.frame = 0;
    this.running = false;
    root.addEventListener("input", (event) => {
      if (event.target.name !== "speed") this.reset();
      else this.showSettings();
    });
    this.find("go").addEventListener("click", () => {
      if (this.episodes >= LAST_EPISODE) this.reset();
      this.run(!this.running);
    });
    this.find("one").addEventListener("click", () => this.playOne());
    this.find("reset").addEventListener("click", () => this.reset());
    this.inputs = root.querySelectorAll("input");
    this.reset();
  }

  number(name) {
    return Number([...this.inputs].find((input) => input.name === name).value);
  }

  reset() {
    this.run(false);
    this.size = this.number("size");
    const seed = Math.trunc(this.number("seaSeed"));
    this.agents = Object.keys(AGENTS).map((kind) => [kind, new Agent(kind, this.size, seed)]);
    this.episodes = 0;
    this.showSettings();
    this.draw();
  }

  showSettings() {
    this.find("size-value").textContent = this.number("size");
    this.find("speed-value").textContent = `${this.number("speed")} a second`;
    const odds = (2 ** this.size).toLocaleString("en");
    this.find("odds").textContent =
      `Throwing a coin at every step finds the treasure in one of ${odds} episodes.`;
  }

  run(running) {
    this.running = running;
    this.find("go").textContent = this.running ? "Pause" : "Start";
    this.due = 0;
    this.before = performance.now();
    if (this.running && this.frame === 0) this.frame = requestAnimationFrame(() => this.tick());
  }

  tick() {
    this.frame = 0;
    if (!this.running) return;
    const now = performance.now();
    // A hidden page has no frames: what it missed is not made up for.
    this.due += (Math.min(200, now - this.before) / 1000) * this.number("speed");
    this.before = now;
    const end = now + FRAME_BUDGET;
    for (; this.due >= 1 && performance.now() < end; this.due -= 1) this.play();
    this.due = Math.min(this.due, 2);
    if (!calm.matches || now - (this.drawn ?? 0) > CALM_PAUSE) {
      this.drawn = now;
      this.draw();
    }
    if (this.episodes >= LAST_EPISODE) this.run(false);
    if (this.running) this.frame = requestAnimationFrame(() => this.tick());
    else this.draw();
  }

  // An episode of each agent; what one does never depends on the others, nor on the clock.
  play() {
    if (this.episodes >= LAST_EPISODE) return;
    for (const [, agent] of this.agents) agent.play();
    this.episodes += 1;
  }

  playOne() {
    this.run(false);
    this.play();
    this.draw();
  }

  draw() {
    this.find("episodes").textContent = this.episodes.toLocaleString("en");
    const mostVisits = Math.max(1, this.episodes);
    for (const [kind, agent] of this.agents) {
      drawSea(this.find(kind), this.size, agent, mostVisits);
      this.find(`${kind}-words`).textContent = storyOf(agent);
      const seen = agent.visits.filter((count) => count > 0).length;
      const all = (this.size * (this.size + 1)) / 2;
      this.find(`${kind}-seen`).textContent = `${seen} of ${all} cells visited`;
      this.find(kind).setAttribute("aria-label", `Map: ${seen} of ${all} cells visited`);
    }
    this.say();
  }

  // Read out when something happened, not with every episode.
  say() {
    const told = this.agents.map(([kind, { firstFound, solvedAt }]) => {
      if (solvedAt > 0) return `${NAMES[kind]}: solved in episode ${solvedAt}`;
      if (firstFound > 0) return `${NAMES[kind]}: treasure found in episode ${firstFound}`;
      return this.episodes >= LAST_EPISODE ? `${NAMES[kind]}: never found` : "";
    });
    const text = told.filter(Boolean).join(". ");
    const place = this.find("words");
    const shown = text ? `${text}.` : "Nobody has found the treasure yet.";
    if (place.textContent !== shown) place.textContent = shown;
  }
}

function storyOf({ firstFound, solvedAt, recent, recentlyFound }) {
  if (firstFound === 0) return "Treasure not found yet.";
  const now = `${recentlyFound} of the last ${recent.length} episodes reach it.`;
  const solved = solvedAt ? ` Solved in episode ${solvedAt}.` : "";
  return `Found in episode ${firstFound}.${solved} ${now}`;
}
