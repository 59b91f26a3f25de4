"""The part of the page's script that turns a figure of ours into a plot of Bokeh's."""

DRAWING = r"""
  const M = new Proxy({}, {get: (_, name) => (attributes) => new Bokeh.Models[name](attributes)});
  const font = "system-ui, 'DejaVu Sans', sans-serif";
  // Of a frame's height, whatever the labels take, and around it beside them; in pixels.
  const [least, margin] = [200, 60];

  // A colour such as "@3" or "@ink" is the style's --c3 or --ink, so plots follow the page into dark and print.
  const colour = (name, style) => {
    if (!name.startsWith("@")) return name;
    return style.getPropertyValue(/^@\d$/.test(name) ? `--c${name.slice(1)}` : `--${name.slice(1)}`).trim();
  };
  const letters = (style) => ({text_color: colour("@ink", style), text_font: font, text_font_size: "12px"});
  const under = (prefix, attributes) =>
    Object.fromEntries(Object.entries(attributes).map(([name, value]) => [`${prefix}_${name}`, value]));
  // Nothing in a label is ever taken for a formula.
  const plain = (text) => M.PlainText({text: String(text)});

  // From the least to the most that is shown, with a little room; a logarithmic axis has it in logarithms.
  const ends = (values, log) => {
    const known = log ? values.filter((value) => value > 0).map(Math.log10) : values;
    if (!known.length) return log ? [1, 10] : [0, 1];
    const [low, high] = [Math.min(...known), Math.max(...known)];
    if (low === 0 && high === 0) return [-.05, 1];
    const room = (high - low) * .05 || (log ? .1 : Math.abs(high) * .05 || 1);
    return [low - room, high + room].map((end) => log ? 10 ** end : end);
  };
  const reach = (figure, axis, state) => {
    const {type, range} = figure.layout[`${axis}axis`];
    if (range) return range;
    const shown = figure.traces.filter((trace) => state.shows(trace));
    const values = shown.flatMap((trace) => trace[axis]);
    const bars = axis === "y" && state.bars ? shown.filter((trace) => trace.error_y) : [];
    const lines = axis === "y" ? (figure.layout.shapes ?? []).flatMap((shape) => [shape.y0, shape.y1]) : [];
    return ends([...values, ...lines, ...bars.flatMap(barEnds).flat()], type === "log" && (axis === "x" || state.log));
  };
  const barEnds = ({y, error_y: bars}) =>
    [y.map((at, i) => at - bars.arrayminus[i]), y.map((at, i) => at + bars.array[i])];

  const ticker = (wanted, log) => {
    if (wanted.tickvals) return M.FixedTicker({ticks: wanted.tickvals});
    if (log) return M.LogTicker({mantissas: wanted.dtick ? [1] : [1, 2, 5], num_minor_ticks: 0});
    return M.BasicTicker({desired_num_ticks: 6});
  };
  // How far an axis's labels reach away from it, in pixels.
  const ruler = document.createElement("canvas").getContext("2d");
  const slant = ({tickangle = 0}) => tickangle * -Math.PI / 180;
  const depth = (wanted, side) => {
    ruler.font = `12px ${font}`;
    const longest = Math.max(0, ...(wanted.ticktext ?? []).map((text) => ruler.measureText(text).width));
    return Math.max(16, longest * Math[side](slant(wanted)));
  };
  // Where there is little room, only some of the labels are written.
  const axisOf = (wanted, log, style, most) => {
    const step = Math.ceil((wanted.tickvals ?? []).length / most);
    const named = (wanted.tickvals ?? []).map((at, i) => [at, plain(i % step ? "" : wanted.ticktext?.[i] ?? at)]);
    return M[log ? "LogAxis" : "LinearAxis"]({
      ticker: ticker(wanted, log), major_label_overrides: new Map(named),
      formatter: M.PrintfTickFormatter({format: `%.6g${(wanted.ticksuffix ?? "").replaceAll("%", "%%")}`}),
      axis_label: wanted.title ? plain(wanted.title.text) : null,
      major_label_orientation: slant(wanted),
      ...under("axis_label", {...letters(style), text_font_style: "normal"}),
      ...under("major_label", letters(style)),
      axis_line_color: colour("@muted", style), major_tick_line_color: colour("@muted", style),
      minor_tick_line_color: null, major_tick_in: 0, axis_label_standoff: 6,
    });
  };

  const dashes = {solid: [], dash: [8, 5], dot: [2, 4], dashdot: [8, 4, 2, 4]};
  // Some of Bokeh's markers are smaller than others of the same size.
  const sizes = {diamond: 1.5, triangle: 1.2, inverted_triangle: 1.2, hex: 1.2, star: 1.3};
  const spread = (value, length) => Array.isArray(value) ? value : Array(length).fill(value);
  const at = (name) => ({field: name});
  const sourceOf = (trace) => {
    const {marker, x, y, text, error_y: bars} = trace;
    const symbols = spread(marker.symbol, x.length);
    const columns = {x, y,
      symbol: symbols.map((symbol) => symbol.replace("-open", "")),
      alpha: symbols.map((symbol) => symbol.endsWith("-open") ? 0 : 1)};
    if (text?.length) columns.text = text;
    if (bars) [columns.low, columns.high] = barEnds(trace);
    if (Array.isArray(marker.color)) columns.value = marker.color;
    return M.ColumnDataSource({data: new Map(Object.entries(columns))});
  };
  const lineOf = ({line}, hue) =>
    M.Line({x: at("x"), y: at("y"), line_color: hue, line_width: line.width, line_dash: dashes[line.dash]});
  const pointsOf = ({marker}, hue) => M.Scatter({
    x: at("x"), y: at("y"), marker: at("symbol"), size: marker.size * (sizes[spread(marker.symbol, 1)[0]] ?? 1),
    fill_color: hue, fill_alpha: at("alpha"), line_color: hue, line_width: Array.isArray(marker.color) ? 0 : 1.5,
  });
  const textOf = ({type}, hue, style) => M.Text({
    x: at("x"), y: at("y"), text: at("text"), text_baseline: "middle", ...letters(style),
    ...(type === "cells" ? {text_align: "center", text_color: hue} : {x_offset: 9}),
  });
  const barsOf = ({thickness, width}, source, hue) => {
    const head = width ? M.TeeHead({size: 2 * width, line_color: hue, line_width: thickness}) : null;
    return M.Whisker({source, base: at("x"), lower: at("low"), upper: at("high"), lower_head: head, upper_head: head,
      line_color: hue, line_width: thickness, level: "glyph"});
  };
  // Adds a trace to a plot and returns what of it can be shown and hidden.
  const added = (plot, trace, style, {narrow, roomy}) => {
    const mappers = Array.isArray(trace.marker.color) ? mappersOf(trace.marker, style) : null;
    const hue = mappers ? {field: "value", transform: mappers.cell} : colour(trace.marker.color, style);
    const ink = mappers ? {field: "value", transform: mappers.letter} : null;
    const source = sourceOf(trace);
    const bars = trace.error_y ? barsOf(trace.error_y, source, hue) : null;
    if (bars) plot.add_layout(bars);
    const glyphs = [
      trace.mode.includes("lines") ? lineOf(trace, hue) : null,
      trace.type === "cells" ? cellsOf(hue, style, roomy) : pointsOf(trace, hue),
      trace.mode.includes("text") ? textOf(trace, ink, style) : null,
    ];
    const parts = glyphs.filter(Boolean).map((glyph) =>
      M.GlyphRenderer({data_source: source, glyph, name: trace.name ?? null}));
    for (const part of parts) plot.add_renderers(part);
    if (mappers) plot.add_layout(scaleOf(mappers.cell, style, narrow), narrow ? "above" : "right");
    return {trace, parts, bars, mappers};
  };

  const shaped = (plot, shape, style) => {
    if (shape.type === "rect")
      plot.add_layout(M.BoxAnnotation({bottom: shape.y0, top: shape.y1, fill_color: colour(shape.fillcolor, style),
        fill_alpha: shape.opacity, line_color: null, level: "underlay"}));
    else
      plot.add_layout(M.Span({location: shape.y0, dimension: "width", line_color: colour(shape.line.color, style),
        line_width: shape.line.width, line_dash: dashes[shape.line.dash], level: "underlay"}));
  };

  const built = (figure, state) => {
    const style = getComputedStyle(root);
    const {xaxis, yaxis} = figure.layout;
    const logs = {x: xaxis.type === "log", y: yaxis.type === "log" && state.log};
    const scale = (log) => M[log ? "LogScale" : "LinearScale"]({});
    const range = (axis) => {
      const [start, end] = reach(figure, axis, state);
      return M.Range1d({start, end});
    };
    const place = byId(figure.key);
    const taken = depth(xaxis, "sin");
    const height = Math.max(Math.min(figure.height, 1.1 * place.clientWidth), taken + least);
    const most = {
      x: (place.clientWidth - depth(yaxis, "cos") - margin) / (slant(xaxis) ? 16 : 45),
      y: (height - taken - margin) / 16};
    place.style.minHeight = `${height}px`;
    const plot = M.Plot({
      name: figure.key, height, sizing_mode: "stretch_width", toolbar_location: null,
      x_scale: scale(logs.x), y_scale: scale(logs.y), x_range: range("x"), y_range: range("y"),
      background_fill_color: null, border_fill_color: null, outline_line_color: null, min_border_right: 16,
    });
    const axes = {x: axisOf(xaxis, logs.x, style, most.x), y: axisOf(yaxis, logs.y, style, most.y)};
    plot.add_layout(axes.x, "below");
    plot.add_layout(axes.y, "left");
    for (const [at, axis] of [xaxis, yaxis].entries())
      if (axis.showgrid !== false)
        plot.add_layout(M.Grid({dimension: at, axis: at ? axes.y : axes.x, grid_line_color: colour("@line", style)}));
    for (const shape of figure.layout.shapes ?? []) shaped(plot, shape, style);
    const room = {narrow: place.clientWidth < 480, roomy: most.x >= (xaxis.tickvals ?? []).length};
    if (room.roomy && figure.traces.some((trace) => trace.type === "cells")) plot.add_layout(hatched(style));
    const traces = figure.traces.map((trace) => added(plot, trace, style, room));
    // A finger scrolls the page; a mouse zooms, and a double click goes back.
    if (matchMedia("(pointer: fine)").matches) {
      const zoom = M.BoxZoomTool({});
      plot.add_tools(zoom);
      plot.toolbar.active_drag = zoom;
    }
    const kept = {figure, state, plot, traces};
    shown(kept);
    return kept;
  };

  // Shows what is wanted now, in the range that it needs.
  const shown = ({figure, state, plot, traces}) => {
    for (const {trace, parts, bars} of traces) {
      for (const part of parts) part.visible = state.shows(trace);
      if (bars) bars.visible = state.bars && state.shows(trace);
    }
    for (const axis of ["x", "y"]) {
      const [start, end] = reach(figure, axis, state);
      plot[`${axis}_range`].setv({start, end});
    }
  };

  // What is said of the value nearest to a place on the screen, if one is near.
  const nearest = ({state, plot, traces}, x, y) => {
    const {el, frame} = Bokeh.index[plot.id];
    const box = el.getBoundingClientRect();
    let [said, least] = [null, 20 ** 2];
    for (const {trace} of traces.filter((one) => state.shows(one.trace)))
      trace.x.forEach((place, i) => {
        const [left, top] = [frame.x_scale.compute(place), frame.y_scale.compute(trace.y[i])];
        const far = (box.x + left - x) ** 2 + (box.y + top - y) ** 2;
        if (far < least && frame.bbox.contains(left, top)) [said, least] = [trace.customdata[i], far];
      });
    return said;
  };
"""
"""Stands inside the page's own script, which has ``root``."""
