"""The page's own script: unpacks BokehJS, draws the plots in the theme's colours, serves the checkboxes."""

from ncclprobe.report.html.drawing import DRAWING
from ncclprobe.report.html.heat import HEAT

_START = r"""
"use strict";
(async () => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const paper = 680;
  const paints = ["paper", "ink", "muted", "line", ...Array.from({length: 8}, (_, at) => `c${at}`)]
    .map((name) => `--${name}`);
  const byId = (id) => document.getElementById(id);
"""
_END = r"""
  const library = async () => {
    const letters = atob(byId("library").textContent);
    const bytes = new Uint8Array(letters.length);
    for (let at = 0; at < letters.length; at++) bytes[at] = letters.charCodeAt(at);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    performance.mark("unpacked");
    document.head.append(script);
    if (!window.Bokeh) throw new Error("BokehJS did not start");
    Bokeh.set_log_level("warn");
    performance.mark("started");
  };

  const plots = new Map();
  const stateOf = (figure) => {
    const hidden = new Set(figure.traces.filter((trace) => trace.visible === false).map((trace) => trace.meta));
    return {bars: true, log: true, hidden, shows: (trace) => !hidden.has(trace.meta) || trace.meta === undefined};
  };
  const idle = (plot) => new Promise((done) => {
    if (plot.document.is_idle) done(); else plot.document.idle.connect(() => done());
  });
  const draw = async (figure, state) => {
    const {Document} = Bokeh.require("document");
    const kept = plots.get(figure.key);
    const made = built(figure, state);
    plots.set(figure.key, made);
    if (kept) {
      made.document = kept.document;
      made.document.clear();
      made.document.add_root(made.plot);
      return;
    }
    made.document = new Document();
    made.document.add_root(made.plot);
    Bokeh.documents.push(made.document);
    const place = byId(figure.key);
    for (const kind of ["pointermove", "pointerdown"])
      place.addEventListener(kind, ({clientX, clientY}) => tell(figure.key, clientX, clientY));
    place.addEventListener("pointerleave", () => { tip.hidden = true; });
    await Bokeh.embed.add_document_standalone(made.document, place, [place]);
    await idle(made.plot);
  };
  const tip = document.createElement("div");
  const tell = (key, x, y) => {
    const said = nearest(plots.get(key), x, y);
    tip.hidden = said === null;
    if (tip.hidden) return;
    tip.textContent = said;
    tip.style.left = `${Math.max(0, Math.min(x + 14, root.clientWidth - tip.offsetWidth - 4))}px`;
    tip.style.top = `${y + 18 + tip.offsetHeight > innerHeight ? y - 10 - tip.offsetHeight : y + 18}px`;
  };
  const redraw = () => { for (const {figure, state} of [...plots.values()]) draw(figure, state); };

  // Paper gets drawings instead of pixels, in its own width and light colours; nothing here may wait.
  const palette = () => {
    const style = getComputedStyle(root);
    const shades = paints.map((name) => style.getPropertyValue(name).trim());
    return [...shades, ...shades.map((shade) => `rgb(${parts(shade).join(",")})`)];
  };
  const toPaper = () => {
    const shades = palette();
    root.classList.add("on-paper");
    const light = palette();
    for (const kept of plots.values()) {
      const {figure, plot} = kept;
      const place = byId(figure.key);
      place.style.width = `${Math.min(paper, parseFloat(place.closest("figure").style.maxWidth) || paper)}px`;
      const view = Bokeh.index[plot.id];
      view.after_resize();
      recoloured(kept);
      const printed = view.export("svg").canvas;
      for (const part of printed.querySelectorAll("[fill], [stroke]"))
        for (const name of ["fill", "stroke"]) {
          const at = shades.indexOf(part.getAttribute(name));
          if (at >= 0) part.setAttribute(name, light[at]);
        }
      printed.classList.add("printed");
      place.append(printed);
    }
  };
  const fromPaper = () => {
    root.classList.remove("on-paper");
    for (const printed of document.querySelectorAll(".printed")) {
      printed.parentElement.style.width = "";
      printed.remove();
    }
    plots.forEach(recoloured);
  };

  const within = (box) =>
    box.closest("fieldset").dataset.figures.split(" ").map((key) => plots.get(key)).filter(Boolean);
  const show = (box) => {
    for (const kept of within(box)) {
      kept.state.hidden[box.checked ? "delete" : "add"](box.dataset.group);
      shown(kept);
    }
  };
  const switches = {
    intervals: (kept, on) => { kept.state.bars = on; shown(kept); },
    logarithmic: (kept, on) => {
      if (!kept.figure.key.endsWith("-busbw")) return;
      kept.state.log = on;
      draw(kept.figure, kept.state);
    },
  };
  const many = (button) => {
    for (const box of button.closest("fieldset").querySelectorAll("input[data-group]")) {
      const wanted = {all: true, none: false, best: "best" in box.dataset}[button.dataset.many];
      if (box.checked !== wanted) { box.checked = wanted; show(box); }
    }
  };

  tip.className = "tip";
  tip.hidden = true;
  document.body.append(tip);
  root.dataset.state = "loading";
  try {
    await library();
    // What the first screen shows comes first.
    const figures = JSON.parse(byId("figures").textContent);
    const first = (figure) => byId(figure.key).getBoundingClientRect().top < innerHeight;
    for (const figure of [...figures.filter(first), ...figures.filter((figure) => !first(figure))]) {
      if (!first(figure) && !root.dataset.first) root.dataset.first = Math.round(performance.now());
      await draw(figure, stateOf(figure));
      performance.mark(figure.key);
    }
  } catch (problem) {
    root.dataset.state = "failed";
    throw problem;
  }
  document.addEventListener("change", ({target}) => {
    if (target.dataset.group) show(target);
    const act = switches[target.dataset.switch];
    if (act) within(target).forEach((kept) => act(kept, target.checked));
  });
  document.addEventListener("click", ({target}) => { if (target.dataset.many) many(target); });
  dark.addEventListener("change", redraw);
  addEventListener("beforeprint", toPaper);
  addEventListener("afterprint", fromPaper);
  root.dataset.state = "drawn";
  root.dataset.milliseconds = Math.round(performance.now());
  root.dataset.first ??= root.dataset.milliseconds;
})();
"""
SCRIPT = _START + DRAWING + HEAT + _END
"""Whatever comes from documents reaches it as JSON, and reaches BokehJS as values, never as HTML or code."""
