"""The page's own script: unpacks plotly.js, draws the plots in the theme's colours, serves the checkboxes."""

SCRIPT = r"""
"use strict";
(async () => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const byId = (id) => document.getElementById(id);
  const figures = JSON.parse(byId("figures").textContent);
  const config = {displayModeBar: false, responsive: true};
  // A finger scrolls the page; a mouse zooms, and a double click goes back.
  const drag = matchMedia("(pointer: fine)").matches ? "zoom" : false;
  const data = new Set(["x", "y", "z", "customdata", "text", "ticktext", "name", "meta"]);

  // A colour such as "@3" or "@ink" is the style's --c3 or --ink, so plots follow the page into dark and print.
  const coloured = (value, key) => {
    if (data.has(key)) return value;
    if (typeof value === "string" && /^@\w+$/.test(value)) {
      const name = value.slice(1);
      return getComputedStyle(root).getPropertyValue(/^\d$/.test(name) ? `--c${name}` : `--${name}`).trim();
    }
    if (Array.isArray(value)) return value.map((inner) => coloured(inner));
    if (value && typeof value === "object")
      return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, coloured(inner, name)]));
    return value;
  };

  const layoutOf = (figure) => {
    const axis = {gridcolor: "@line", linecolor: "@muted", zeroline: false, automargin: true};
    const more = figure.layout;
    return coloured({
      ...more, xaxis: {...axis, ...more.xaxis}, yaxis: {...axis, ...more.yaxis}, height: figure.height,
      paper_bgcolor: "@paper", plot_bgcolor: "@paper", font: {color: "@ink", size: 12, family: "inherit"},
      margin: {l: 56, r: 16, t: 8, b: 44}, hovermode: "closest", showlegend: Boolean(more.showlegend),
      legend: {orientation: "h", y: 1.02, yanchor: "bottom"}, dragmode: drag,
      hoverlabel: {align: "left", bgcolor: "@panel", bordercolor: "@muted", font: {color: "@ink"}},
    });
  };

  const library = async () => {
    const letters = atob(byId("library").textContent);
    const bytes = new Uint8Array(letters.length);
    for (let at = 0; at < letters.length; at++) bytes[at] = letters.charCodeAt(at);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
    if (!window.Plotly) throw new Error("plotly.js did not start");
  };

  const traces = (place) => place.data.map((trace, at) => ({at, group: trace.meta, bars: Boolean(trace.error_y)}));
  const places = (box) => box.closest("fieldset").dataset.figures.split(" ").map(byId);

  const show = (box) => places(box).map((place) => {
    const wanted = traces(place).filter((trace) => trace.group === box.dataset.group).map((trace) => trace.at);
    return wanted.length ? Plotly.restyle(place, {visible: box.checked}, wanted) : null;
  });
  const switches = {
    intervals: (place, on) => {
      const wanted = traces(place).filter((trace) => trace.bars).map((trace) => trace.at);
      return Plotly.restyle(place, {"error_y.visible": on}, wanted);
    },
    logarithmic: (place, on) =>
      place.id.endsWith("-busbw") ? Plotly.relayout(place, {"yaxis.type": on ? "log" : "linear"}) : null,
  };
  const many = (button) => {
    for (const box of button.closest("fieldset").querySelectorAll("input[data-group]")) {
      const wanted = {all: true, none: false, best: "best" in box.dataset}[button.dataset.many];
      if (box.checked !== wanted) { box.checked = wanted; show(box); }
    }
  };

  const drawn = [];
  const recolour = (width) => {
    for (const figure of drawn) {
      const place = byId(figure.key);
      const now = place.layout;
      const layout = {...layoutOf(figure), ...(width ? {width, autosize: false} : {autosize: true})};
      layout.yaxis.type = now.yaxis.type;
      const styled = coloured(figure.traces).map((trace, at) => ({...trace, visible: place.data[at].visible,
        ...(trace.error_y ? {error_y: {...trace.error_y, visible: place.data[at].error_y.visible}} : {})}));
      Plotly.react(place, styled, layout, config);
    }
  };

  root.dataset.state = "loading";
  try {
    await library();
    for (const figure of figures) {
      await Plotly.newPlot(byId(figure.key), coloured(figure.traces), layoutOf(figure), config);
      drawn.push(figure);
    }
  } catch (problem) {
    root.dataset.state = "failed";
    throw problem;
  }
  document.addEventListener("change", ({target}) => {
    if (target.dataset.group) show(target);
    const act = switches[target.dataset.switch];
    if (act) places(target).forEach((place) => act(place, target.checked));
  });
  document.addEventListener("click", ({target}) => { if (target.dataset.many) many(target); });
  dark.addEventListener("change", () => recolour());
  addEventListener("beforeprint", () => recolour(680));
  addEventListener("afterprint", () => recolour());
  root.dataset.state = "drawn";
  root.dataset.milliseconds = Math.round(performance.now());
})();
"""
"""Whatever comes from documents reaches it as JSON, and reaches plotly.js escaped."""
