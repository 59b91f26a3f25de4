"""The part of the page's script that colours a heat map by the theme's scale."""

HEAT = r"""
  const parts = (shade) => [1, 3, 5].map((at) => parseInt(shade.slice(at, at + 2), 16));
  const hex = (amounts) => `#${amounts.map((one) => Math.round(one).toString(16).padStart(2, "0")).join("")}`;
  // Black letters where they have more contrast than white ones.
  const linear = (part) => part <= 10 ? part / 3295 : ((part / 255 + .055) / 1.055) ** 2.4;
  const legible = (shade) => {
    const [red, green, blue] = parts(shade).map(linear);
    return .2126 * red + .7152 * green + .0722 * blue > .179 ? "#111111" : "#ffffff";
  };
  // The scale's 256 shades, and the letters to write on each.
  const shadesOf = (colorscale, style) => {
    const ends = colorscale.map((name) => parts(colour(name, style)));
    const between = (share) => {
      const at = Math.min(Math.floor(share * (ends.length - 1)), ends.length - 2);
      const part = share * (ends.length - 1) - at;
      return hex(ends[at].map((low, i) => low + part * (ends[at + 1][i] - low)));
    };
    const cell = Array.from({length: 256}, (_, at) => between(at / 255));
    return {cell, letter: cell.map(legible)};
  };
  const mappersOf = ({cmin, cmax, colorscale}, style) => Object.fromEntries(
    Object.entries(shadesOf(colorscale, style)).map(([name, palette]) =>
      [name, M.LinearColorMapper({palette, low: cmin, high: cmax})]));

  const cellsOf = (hue, style, roomy) => M.Rect({x: at("x"), y: at("y"), width: 1, height: 1, fill_color: hue,
    line_color: roomy ? colour("@paper", style) : null, line_width: 1.5});
  const scaleOf = (color_mapper, style, narrow) => M.ColorBar({
    color_mapper, [narrow ? "height" : "width"]: 12, title: "% below", background_fill_color: null,
    ...under("title", {...letters(style), text_font_style: "normal"}), ...under("major_label", letters(style)),
  });
  // What no cell covers, where cells are large; many small ones would drown in it.
  const hatched = (style) => M.BoxAnnotation({
    hatch_pattern: "right_diagonal_line", hatch_scale: 8, hatch_color: colour("@muted", style), hatch_alpha: .4,
    fill_color: null, line_color: null, level: "underlay",
  });

  // Takes the colours that the style has now, at once.
  const recoloured = ({plot, traces}) => {
    const view = Bokeh.index[plot.id];
    for (const {trace, parts: drawn, mappers} of traces.filter((one) => one.mappers)) {
      const shades = shadesOf(trace.marker.colorscale, getComputedStyle(root));
      for (const [name, mapper] of Object.entries(mappers)) mapper.palette = shades[name];
      for (const part of drawn) view.views.find_one(part).set_visuals();
      view.invalidate_layout();
    }
  };
"""
"""Stands inside the page's own script, after drawing.py's."""
