"use strict";
// Drawing on canvas. Colours are the page's CSS variables, so that dark mode is one place.

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

// Fits the canvas's pixels to its size on the page and returns a context that draws in CSS pixels.
function contextOf(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

// Between data and pixels.
const MARGIN = { left: 26, bottom: 20 };
function scaleOf(width, height) {
  const inner = { width: width - MARGIN.left, height: height - MARGIN.bottom };
  return {
    toX: (x) => MARGIN.left + (inner.width * (x + X_RANGE)) / (2 * X_RANGE),
    toY: (y) => (inner.height * (Y_RANGE - y)) / (2 * Y_RANGE),
    fromX: (px) => ((px - MARGIN.left) / inner.width) * 2 * X_RANGE - X_RANGE,
    fromY: (py) => Y_RANGE - (py / inner.height) * 2 * Y_RANGE,
  };
}

function drawAxes(context, scale, width, height) {
  context.strokeStyle = color("line");
  context.fillStyle = color("soft");
  context.lineWidth = 1;
  context.font = "12px system-ui, sans-serif";
  context.beginPath();
  context.textAlign = "center";
  for (let x = -X_RANGE + 1; x < X_RANGE; x++) {
    context.moveTo(scale.toX(x), 0);
    context.lineTo(scale.toX(x), height - MARGIN.bottom);
    context.fillText(String(x), scale.toX(x), height - 5);
  }
  context.textAlign = "right";
  for (let y = -Y_RANGE + 1; y < Y_RANGE; y++) {
    context.moveTo(MARGIN.left, scale.toY(y));
    context.lineTo(width, scale.toY(y));
    context.fillText(String(y), MARGIN.left - 6, scale.toY(y) + 4);
  }
  context.stroke();
}

function traceCurve(context, scale, curve) {
  for (let g = 0; g < GRID.length; g++) context.lineTo(scale.toX(GRID[g]), scale.toY(curve[g]));
}

function strokeCurve(context, scale, curve) {
  context.beginPath();
  traceCurve(context, scale, curve);
  context.stroke();
}

function fillBand(context, scale, low, high) {
  context.beginPath();
  traceCurve(context, scale, high);
  for (let g = GRID.length - 1; g >= 0; g--) {
    context.lineTo(scale.toX(GRID[g]), scale.toY(low[g]));
  }
  context.fill();
}

// The picture of the ensemble: the band of mean ± 2 std, the members, the mean, the data and, for
// those at the keyboard, the cursor.
function drawEnsemble(canvas, ensemble, { mean, std }, cursor) {
  const { context, width, height } = contextOf(canvas);
  const scale = scaleOf(width, height);
  drawAxes(context, scale, width, height);
  context.save();
  context.beginPath();
  context.rect(MARGIN.left, 0, width - MARGIN.left, height - MARGIN.bottom);
  context.clip();
  context.fillStyle = color("band");
  fillBand(
    context,
    scale,
    mean.map((m, g) => m - 2 * std[g]),
    mean.map((m, g) => m + 2 * std[g]),
  );
  context.lineWidth = 1;
  context.strokeStyle = color("member");
  for (const member of ensemble.members) strokeCurve(context, scale, member.curve);
  context.lineWidth = 3;
  context.strokeStyle = color("accent");
  strokeCurve(context, scale, mean);
  for (const point of ensemble.points) drawPoint(context, scale, point);
  if (cursor) drawCursor(context, scale, cursor);
  context.restore();
}

function drawPoint(context, scale, { x, y }) {
  context.beginPath();
  context.arc(scale.toX(x), scale.toY(y), 5, 0, 2 * Math.PI);
  context.fillStyle = color("ink");
  context.fill();
  context.lineWidth = 2;
  context.strokeStyle = color("paper");
  context.stroke();
}

function drawCursor(context, scale, { x, y }) {
  const [px, py] = [scale.toX(x), scale.toY(y)];
  context.strokeStyle = color("bad");
  context.lineWidth = 2;
  context.beginPath();
  context.arc(px, py, 9, 0, 2 * Math.PI);
  for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
    context.moveTo(px + 5 * dx, py + 5 * dy);
    context.lineTo(px + 15 * dx, py + 15 * dy);
  }
  context.stroke();
}

// The heat map of a sea: the darker, the more episodes came through; the last path as a line.
function drawSea(canvas, size, agent, mostVisits) {
  const { context, width } = contextOf(canvas);
  const cell = width / size;
  const gap = cell > 8 ? 1 : 0.5;
  const top = Math.log1p(mostVisits);
  const [empty, visited] = [color("line"), color("accent")];
  for (let at = 0; at < size * size; at++) {
    const row = Math.floor(at / size);
    const column = at % size;
    if (column > row) continue; // no block gets there
    context.globalAlpha = 1;
    context.fillStyle = empty;
    context.fillRect(column * cell, row * cell, cell - gap, cell - gap);
    if (agent.visits[at] === 0) continue;
    context.globalAlpha = 0.15 + 0.85 * (Math.log1p(agent.visits[at]) / top);
    context.fillStyle = visited;
    context.fillRect(column * cell, row * cell, cell - gap, cell - gap);
  }
  context.globalAlpha = 1;
  drawPath(context, agent.lastPath, size, cell);
  drawTreasure(context, (size - 0.5) * cell, cell, agent.firstFound > 0);
}

function drawPath(context, path, size, cell) {
  context.strokeStyle = color("bad");
  context.lineWidth = Math.max(1.5, cell / 9);
  context.lineJoin = "round";
  context.beginPath();
  for (const at of path) {
    context.lineTo(((at % size) + 0.5) * cell, (Math.floor(at / size) + 0.5) * cell);
  }
  context.stroke();
}

// A diamond in the last cell, hollow until it was found.
function drawTreasure(context, middle, cell, found) {
  const reach = 0.38 * cell;
  context.beginPath();
  for (const [dx, dy] of [[0, -1], [1, 0], [0, 1], [-1, 0]]) {
    context.lineTo(middle + dx * reach, middle + dy * reach);
  }
  context.closePath();
  context.lineWidth = 1.5;
  context.strokeStyle = color("ink");
  context.fillStyle = found ? color("gold") : color("paper");
  context.fill();
  context.stroke();
}
