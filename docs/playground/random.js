"use strict";
// Random numbers from a seed. A stream is named by whole numbers (seed, purpose, member, …), so
// that what one part draws never moves what another part draws: same seed, same picture.

// Purposes, one number each.
const PURPOSE = { data: 1, network: 2, prior: 3, bootstrap: 4, noise: 5, agent: 6 };

// Mixes whole numbers into 32 bits (the finaliser of MurmurHash3 after each number).
function hashOf(...numbers) {
  let hash = 0x9e3779b9;
  for (const number of numbers) {
    hash = (hash ^ number) | 0;
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    hash = (hash ^ (hash >>> 16)) + 0x6d2b79f5;
  }
  return hash >>> 0;
}

class Stream {
  constructor(...numbers) {
    this.state = hashOf(...numbers);
  }

  // Uniform in [0, 1), 32 bits: mulberry32.
  uniform() {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  below(count) {
    return Math.floor(this.uniform() * count);
  }

  // Standard normal, by Box and Muller; 1 - u is never 0.
  normal() {
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    return radius * Math.cos(2 * Math.PI * this.uniform());
  }

  // Poisson with mean 1, by inversion.
  poisson() {
    const u = this.uniform();
    let count = 0;
    let chance = Math.exp(-1);
    for (let below = chance; u >= below && count < 12; below += chance) {
      count += 1;
      chance /= count;
    }
    return count;
  }
}
