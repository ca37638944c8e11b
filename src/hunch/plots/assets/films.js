// Plays trainings: each canvas holds its frames as one 16-bit number a point, all share one clock.
"use strict";
for (const group of document.querySelectorAll(".films")) {
  const films = [...group.querySelectorAll("canvas")].map((canvas) => {
    const bytes = Uint8Array.from(atob(canvas.dataset.frames), (c) => c.charCodeAt(0));
    const meta = JSON.parse(canvas.dataset.meta);
    return { canvas, meta, values: new Int16Array(bytes.buffer) };
  });
  const slider = group.querySelector("input");
  const button = group.querySelector("button");
  const label = group.querySelector("output");
  const last = films[0].meta.steps.length - 1;
  slider.max = last;

  function draw({ canvas, meta, values }, frame) {
    const ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth, height = Math.round(width * 0.72);
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, width, height);
    const left = 26, bottom = height - 20, top = 6, right = width - 6;
    const [x0, x1] = meta.x, [y0, y1] = meta.y;
    const px = (x) => left + ((x - x0) / (x1 - x0)) * (right - left);
    const py = (y) => bottom - ((y - y0) / (y1 - y0)) * (bottom - top);
    pen.font = "11px sans-serif";
    pen.fillStyle = "#444";
    pen.strokeStyle = "#e3e6ea";
    pen.lineWidth = 1;
    for (let y = Math.ceil(y0 / 2) * 2; y <= y1; y += 2) {
      pen.beginPath(); pen.moveTo(left, py(y)); pen.lineTo(right, py(y)); pen.stroke();
      pen.fillText(String(y).replace("-", "−"), 4, py(y) + 4);
    }
    for (let x = Math.ceil(x0); x <= x1; x += 1) {
      pen.fillText(String(x).replace("-", "−"), px(x) - 4, height - 5);
    }
    pen.save();
    pen.beginPath(); pen.rect(left, top, right - left, bottom - top); pen.clip();
    pen.strokeStyle = "rgba(0,114,178,0.38)";
    const points = meta.points, members = meta.members;
    for (let m = 0; m < members; m++) {
      const start = (frame * members + m) * points;
      pen.beginPath();
      for (let i = 0; i < points; i++) {
        const x = px(x0 + ((x1 - x0) * i) / (points - 1));
        const y = py(y0 + ((values[start + i] + 32000) / 64000) * (y1 - y0));
        if (i) pen.lineTo(x, y); else pen.moveTo(x, y);
      }
      pen.stroke();
    }
    pen.fillStyle = "#D55E00";
    for (const [x, y] of meta.data) {
      pen.beginPath(); pen.arc(px(x), py(y), 3, 0, 2 * Math.PI); pen.fill();
    }
    pen.restore();
  }

  function show(frame) {
    slider.value = frame;
    label.textContent = "step " + films[0].meta.steps[frame];
    group.dataset.frame = frame;
    for (const film of films) draw(film, frame);
  }

  let frame = 0, playing = !matchMedia("(prefers-reduced-motion: reduce)").matches, before = 0;
  function tick(now) {
    // A pause on the last frame, where the figure is.
    const wait = frame === last ? 1800 : 110;
    if (playing && now - before > wait) {
      before = now;
      frame = frame === last ? 0 : frame + 1;
      show(frame);
    }
    requestAnimationFrame(tick);
  }
  function setPlaying(value) {
    playing = value;
    button.textContent = playing ? "Pause" : "Play";
  }
  button.addEventListener("click", () => setPlaying(!playing));
  slider.addEventListener("input", () => { setPlaying(false); frame = Number(slider.value); show(frame); });
  window.addEventListener("resize", () => show(frame));
  setPlaying(playing);
  show(playing ? 0 : last);
  if (!playing) frame = last;
  requestAnimationFrame(tick);
}
