"use strict";
// Deep sea and three agents with tables of values. A block falls through N rows, one a step, and
// moves left or right; a step to the right costs 0.01 / N, and only N steps to the right in a row
// reach the treasure, 1. (The library's environment also hides which action means right; a table
// cannot guess that from neighbours anyway.)

const [LEFT, RIGHT] = [0, 1];
const MOVE_COST = 0.01;

class Sea {
  constructor(size) {
    this.size = size;
  }

  // From a cell (row · size + column): the reward, and the next cell or -1 at the end.
  step(cell, action) {
    const { size } = this;
    const row = Math.floor(cell / size);
    const column = cell % size;
    const found = action === RIGHT && column === size - 1;
    const reward = (found ? 1 : 0) - (action === RIGHT ? MOVE_COST / size : 0);
    const moved = Math.max(0, Math.min(size - 1, column + (action === RIGHT ? 1 : -1)));
    return { reward, found, next: row === size - 1 ? -1 : (row + 1) * size + moved };
  }
}

const EPSILON = 0.1;
const MEMBERS = 20;
const PRIOR_SCALE = 1;
const REPLAYS = 10; // old episodes learned again after each new one
const REMEMBERED = 10; // episodes of which "9 found" means solved
const SOLVED_AT = 9;

// What differs between the agents, and nothing else does: how many tables, where they start, and
// how often a move is a coin's.
const AGENTS = {
  greedy: { members: 1, priorScale: 0, epsilon: EPSILON },
  plain: { members: MEMBERS, priorScale: 0, epsilon: 0 },
  prior: { members: MEMBERS, priorScale: PRIOR_SCALE, epsilon: 0 },
};

class Agent {
  constructor(kind, size, seed) {
    Object.assign(this, AGENTS[kind]);
    this.sea = new Sea(size);
    this.stream = new Stream(seed, PURPOSE.agent, Object.keys(AGENTS).indexOf(kind));
    const cells = size * size;
    // In a table, prior + what is learned is one number, which starts at the prior.
    this.tables = Array.from({ length: this.members }, () =>
      Float64Array.from({ length: 2 * cells }, () => this.priorScale * this.stream.normal()),
    );
    this.visits = new Uint32Array(cells);
    this.memory = []; // every episode, with the members that may learn from it
    this.episodes = 0;
    this.lastPath = [];
    this.recent = []; // did the last episodes find the treasure?
    this.firstFound = 0; // the number of an episode; 0 is never
    this.solvedAt = 0;
  }

  // The better action, and a coin where both are equal.
  best(table, cell) {
    const difference = table[2 * cell + RIGHT] - table[2 * cell + LEFT];
    if (difference === 0) return this.stream.below(2);
    return difference > 0 ? RIGHT : LEFT;
  }

  // One episode by the table of one member, drawn at its start; then all learn.
  play() {
    const table = this.tables[this.stream.below(this.members)];
    const episode = { cells: [], actions: [], rewards: [], found: false };
    episode.seenBy = this.drawViewers();
    for (let cell = 0; cell >= 0; ) {
      const random = this.epsilon > 0 && this.stream.uniform() < this.epsilon;
      const action = random ? this.stream.below(2) : this.best(table, cell);
      const { reward, found, next } = this.sea.step(cell, action);
      episode.cells.push(cell);
      episode.actions.push(action);
      episode.rewards.push(reward);
      episode.found ||= found;
      this.visits[cell] += 1;
      cell = next;
    }
    this.memory.push(episode);
    this.learn(episode);
    for (let i = 0; i < REPLAYS; i++) this.learn(this.memory[this.stream.below(this.memory.length)]);
    this.keepCount(episode);
  }

  // The bootstrap: each member sees an episode or does not, for good, at the throw of a coin.
  drawViewers() {
    return this.tables.map(() => this.members === 1 || this.stream.below(2) === 1);
  }

  // Q-learning, from the end of the episode to its start. Nothing here is random, so that a value
  // may be replaced by its target at once.
  learn({ cells, actions, rewards, seenBy }) {
    for (let k = 0; k < this.members; k++) {
      if (!seenBy[k]) continue;
      const table = this.tables[k];
      let after = 0;
      for (let t = cells.length - 1; t >= 0; t--) {
        const at = 2 * cells[t];
        table[at + actions[t]] = rewards[t] + after;
        after = Math.max(table[at], table[at + 1]);
      }
    }
  }

  keepCount({ cells, found }) {
    this.episodes += 1;
    this.lastPath = cells;
    this.recent.push(found);
    if (this.recent.length > REMEMBERED) this.recent.shift();
    if (found && this.firstFound === 0) this.firstFound = this.episodes;
    if (this.recentlyFound >= SOLVED_AT && this.solvedAt === 0) this.solvedAt = this.episodes;
  }

  get recentlyFound() {
    return this.recent.filter(Boolean).length;
  }
}
