"use strict";
// Starts the parts. `playground` is what tests and the curious reach from the console.

const playground = {};
playground.ensemble = new EnsemblePart(document.getElementById("ensemble"));
