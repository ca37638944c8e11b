"use strict";
// A network of one number to one number, with two hidden layers of tanh units, its gradient and
// Adam, on plain typed arrays.

function tanh(x) {
  // By the exponential, which is several times faster than Math.tanh and exact enough to draw.
  return 1 - 2 / (Math.exp(2 * x) + 1);
}

class Mlp {
  // One shape; the weights come from outside, so that one Mlp serves all members.
  // Weights lie flat as: w1 (width), b1 (width), w2 (width × width, a row per unit), b2 (width),
  // w3 (width), b3 (1).
  constructor(width) {
    this.width = width;
    this.size = width * width + 4 * width + 1;
    this.first = new Float64Array(width);
    this.second = new Float64Array(width);
    this.back = new Float64Array(width);
  }

  // Random weights: normal, with variance 1 / inputs. `reach` is the spread of the first layer's
  // weights and biases: the larger, the more the function wiggles. `height` multiplies the last
  // layer's weights.
  draw(stream, reach, height) {
    const { width, size } = this;
    const weights = new Float64Array(size);
    const spread = 1 / Math.sqrt(width);
    const b2 = 2 * width + width * width;
    for (let i = 0; i < 2 * width; i++) weights[i] = reach * stream.normal();
    for (let i = 2 * width; i < b2; i++) weights[i] = spread * stream.normal();
    for (let i = b2 + width; i < size - 1; i++) weights[i] = height * spread * stream.normal();
    return weights;
  }

  value(weights, x) {
    const { width, first, second } = this;
    for (let j = 0; j < width; j++) first[j] = tanh(weights[j] * x + weights[width + j]);
    const b2 = 2 * width + width * width;
    let value = weights[this.size - 1];
    for (let i = 0, at = 2 * width; i < width; i++) {
      let sum = weights[b2 + i];
      for (let j = 0; j < width; j++) sum += weights[at++] * first[j];
      second[i] = tanh(sum);
      value += weights[b2 + width + i] * second[i];
    }
    return value;
  }

  // Adds slope · d value / d weights to `gradient`. Call `value` with the same x just before.
  addGradient(weights, x, slope, gradient) {
    const { width, first, second, back } = this;
    const b2 = 2 * width + width * width;
    back.fill(0);
    gradient[this.size - 1] += slope;
    for (let i = 0, at = 2 * width; i < width; i++) {
      gradient[b2 + width + i] += slope * second[i];
      const signal = slope * weights[b2 + width + i] * (1 - second[i] * second[i]);
      gradient[b2 + i] += signal;
      for (let j = 0; j < width; j++, at++) {
        gradient[at] += signal * first[j];
        back[j] += signal * weights[at];
      }
    }
    for (let j = 0; j < width; j++) {
      const signal = back[j] * (1 - first[j] * first[j]);
      gradient[j] += signal * x;
      gradient[width + j] += signal;
    }
  }
}

class Adam {
  // Kingma and Ba (2015), algorithm 1.
  constructor(size, learningRate) {
    this.learningRate = learningRate;
    this.mean = new Float64Array(size);
    this.square = new Float64Array(size);
    this.steps = 0;
  }

  step(weights, gradient) {
    const { mean, square } = this;
    this.steps += 1;
    const rate = this.learningRate / (1 - 0.9 ** this.steps);
    const correction = 1 / Math.sqrt(1 - 0.999 ** this.steps);
    for (let i = 0; i < weights.length; i++) {
      mean[i] = 0.9 * mean[i] + 0.1 * gradient[i];
      square[i] = 0.999 * square[i] + 0.001 * gradient[i] * gradient[i];
      weights[i] -= (rate * mean[i]) / (Math.sqrt(square[i]) * correction + 1e-8);
    }
  }
}
