"use strict";

// Charts: Vega-Lite specifications that stand in the page, drawn in the colours of its style sheet.
const names = ["text", "muted", "champion", "candidate", "good", "warn", "bad", "grid"];

function colours() {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

function themed(value, palette, key) {
  if (Array.isArray(value)) return value.map((item) => themed(item, palette, key));
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, themed(item, palette, name)]));
  }
  return (key === "color" || key === "range") && palette[value] ? palette[value] : value;
}

const tip = document.createElement("div");
tip.className = "tip";
tip.hidden = true;
document.body.append(tip);

function showTip(_, event, __, value) {
  tip.hidden = value === null || value === undefined || value === "";
  if (tip.hidden) return;
  tip.replaceChildren(...Object.entries(value).map(([name, text]) => {
    const row = document.createElement("div");
    const label = document.createElement("span");
    const figure = document.createElement("b");
    label.textContent = name;
    figure.textContent = text;
    row.append(label, figure);
    return row;
  }));
  tip.style.left = `${Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)}px`;
  tip.style.top = `${event.clientY + 14}px`;
}

async function draw(figure) {
  const palette = colours();
  const spec = themed(JSON.parse(figure.querySelector("script").textContent), palette, "");
  const axis = { labelColor: palette.muted, titleColor: palette.muted, domainColor: palette.grid,
    tickColor: palette.grid, gridColor: palette.grid, titleFontWeight: "normal" };
  let target = figure.querySelector("div");
  if (!target) {
    target = document.createElement("div");
    target.style.width = "100%";
    figure.append(target);
  }
  await window.vegaEmbed(target, spec, { actions: false, ast: true, renderer: "svg", defaultStyle: false,
    tooltip: showTip, config: { background: null, font: "system-ui, sans-serif", axis, legend: { labelColor: palette.text, titleColor: palette.text }, view: { stroke: null } } });
  figure.dataset.drawn = "yes";
}

function drawAll() {
  if (window.vegaEmbed) document.querySelectorAll("[data-chart]").forEach((figure) => draw(figure).catch(console.error));
}
addEventListener("load", drawAll);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);

// Steps by hand: each needs a reason.
document.querySelectorAll("[data-steps]").forEach((form) => form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const step = event.submitter.value;
  const said = form.querySelector("output");
  const body = { reason: form.reason.value };
  if (form.actor.value) body.actor = form.actor.value;
  form.querySelectorAll("button").forEach((button) => { button.disabled = true; });
  try {
    const answer = await fetch(form.dataset.steps + encodeURIComponent(step), { method: "POST",
      headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
    const told = await answer.json();
    if (answer.ok) { location.reload(); return; }
    said.className = "bad";
    said.textContent = [told.error.what, told.error.expected, told.error.hint].filter(Boolean).join(". ");
  } catch (error) {
    said.className = "bad";
    said.textContent = `the service did not answer: ${error.message}`;
  }
  form.querySelectorAll("button").forEach((button) => { button.disabled = false; });
}));

// Live numbers: provisional, every second while the page is looked at.
const live = document.querySelector("[data-live]");
if (live) {
  setInterval(async () => {
    if (document.hidden) return;
    try {
      const told = await (await fetch("/live.json")).json();
      const missing = told.tiles.some((tile) => !live.querySelector(`[data-tile="${CSS.escape(tile.key)}"]`));
      if (missing) { location.reload(); return; }
      told.tiles.forEach((tile) => { live.querySelector(`[data-tile="${CSS.escape(tile.key)}"]`).textContent = tile.text; });
    } catch { /* the next look may succeed */ }
  }, 1000);
}
