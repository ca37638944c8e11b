"use strict";
// Starts the parts. `playground` is what tests and the curious reach from the console.

const playground = {};
playground.ensemble = new EnsemblePart(document.getElementById("ensemble"));
playground.sea = new SeaPart(document.getElementById("sea"));

// Canvases do not follow on their own when the window or the colours change.
function redraw() {
  playground.ensemble.wake();
  playground.sea.draw();
}
addEventListener("resize", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

if (location.search === "?test") {
  const script = document.createElement("script");
  script.src = "self-test.js";
  document.body.append(script);
}
