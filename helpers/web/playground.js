// The optimizer playground: walks down a surface in the reader's browser, at any rate and from any start. The rules and
// the surfaces are those of helpers/optim_rules.py and helpers/optim_surfaces.py; a test runs both and compares them.
// No dependency, no network. Numbers go in, markup comes out: everything but attach() works without a page.
const OptimizerPlayground = (() => {
  "use strict";

  const square = (v) => v * v;
  const SURFACES = {
    ravine: { f: (x, y) => 0.1 * x * x + 2 * y * y, g: (x, y) => [0.2 * x, 4 * y] },
    "turned ravine": {
      f: (x, y) => 1.05 * x * x - 1.9 * x * y + 1.05 * y * y,
      g: (x, y) => [2.1 * x - 1.9 * y, 2.1 * y - 1.9 * x],
    },
    saddle: { f: (x, y) => x * x - y * y + y ** 4 / 4, g: (x, y) => [2 * x, y ** 3 - 2 * y] },
    Rosenbrock: {
      f: (x, y) => square(1 - x) + 100 * square(y - x * x),
      g: (x, y) => [2 * (x - 1) - 400 * x * (y - x * x), 200 * (y - x * x)],
    },
    Beale: {
      f: (x, y) => square(1.5 - x + x * y) + square(2.25 - x + x * y * y) + square(2.625 - x + x * y ** 3),
      g: (x, y) => {
        const [a, b, c] = [1.5 - x + x * y, 2.25 - x + x * y * y, 2.625 - x + x * y ** 3];
        return [
          2 * (a * (y - 1) + b * (y * y - 1) + c * (y ** 3 - 1)),
          2 * (a * x + 2 * b * x * y + 3 * c * x * y * y),
        ];
      },
    },
  };

  // A rule gets gradient, memory and settings of one coordinate, returns its displacement, and says what to watch.
  const RULES = {
    "gradient descent": { uses: [], watch: "|gradient|", step: (g, m, { lr }) => (m.watch = Math.abs(g), -lr * g) },
    momentum: {
      uses: ["momentum"],
      watch: "|velocity|",
      step: (g, m, { lr, momentum }) => {
        m.v = momentum * (m.v ?? 0) + g;
        m.watch = Math.abs(m.v);
        return -lr * m.v;
      },
    },
    Nesterov: {
      uses: ["momentum"],
      watch: "|velocity|",
      step: (g, m, { lr, momentum }) => {
        m.v = momentum * (m.v ?? 0) + g;
        m.watch = Math.abs(m.v);
        return -lr * (g + momentum * m.v);
      },
    },
    AdaGrad: {
      uses: [],
      watch: "effective rate",
      step: (g, m, { lr }) => {
        m.s = (m.s ?? 0) + g * g;
        m.watch = lr / (Math.sqrt(m.s) + 1e-10);
        return -m.watch * g;
      },
    },
    RMSProp: {
      uses: ["memory"],
      watch: "effective rate",
      step: (g, m, { lr, memory }) => {
        m.s = memory * (m.s ?? 0) + (1 - memory) * g * g;
        m.watch = lr / (Math.sqrt(m.s) + 1e-8);
        return -m.watch * g;
      },
    },
    Adadelta: {
      uses: ["memory"],
      watch: "effective rate",
      step: (g, m, { lr, memory }) => {
        m.s = memory * (m.s ?? 0) + (1 - memory) * g * g;
        const scale = Math.sqrt((m.u ?? 0) + 1e-6) / Math.sqrt(m.s + 1e-6);
        m.u = memory * (m.u ?? 0) + (1 - memory) * square(scale * g);
        m.watch = lr * scale;
        return -m.watch * g;
      },
    },
    Adam: {
      uses: ["momentum", "memory"],
      watch: "effective rate",
      step: (g, m, { lr, momentum, memory }) => {
        m.t = (m.t ?? 0) + 1;
        m.m = momentum * (m.m ?? 0) + (1 - momentum) * g;
        m.v = memory * (m.v ?? 0) + (1 - memory) * g * g;
        m.watch = lr / ((1 - momentum ** m.t) * (Math.sqrt(m.v / (1 - memory ** m.t)) + 1e-8));
        return -m.watch * m.m;
      },
    },
  };

  // Points [x, y, f] before the first and after each step, and what the rule watches at each step; ends early where a
  // number leaves the range of floating point.
  function run(rule, surface, start, settings, steps) {
    const { f, g } = SURFACES[surface];
    const { step } = RULES[rule];
    const memory = [{}, {}];
    let [x, y] = start;
    const points = [[x, y, f(x, y)]];
    const watch = [];
    for (let t = 0; t < steps; t++) {
      const [gx, gy] = g(x, y);
      x += step(gx, memory[0], settings);
      y += step(gy, memory[1], settings);
      const value = f(x, y);
      if (!(Number.isFinite(x) && Number.isFinite(y) && Number.isFinite(value))) break;
      points.push([x, y, value]);
      watch.push([memory[0].watch, memory[1].watch]);
    }
    return { points, watch, diverged: points.length <= steps };
  }

  // Three significant digits: what the page shows is what it computes with.
  const rateAt = (index) => Number((10 ** (-4 + index / 40)).toPrecision(3)); // 0.0001 ... 10
  const RATES = 201;
  const momentumAt = (index) => index / 100; // 0 ... 0.99
  const memoryAt = (index) => Number((1 - 10 ** (-index / 20)).toFixed(index < 40 ? 3 : 4)); // 0 ... 0.9990
  // What the sliders are set to, for a rule; every rule that remembers squares has a memory of its own.
  const settingsOf = ({ index }, rule) => ({
    lr: rateAt(index.lr),
    momentum: momentumAt(index.momentum),
    memory: memoryAt(index.memory[rule] ?? 0),
  });

  // The rate of the slider that ends lowest: what a patient reader would find by trying all of them.
  function bestRate(rule, surface, start, settings, steps) {
    let best = 0;
    let lowest = Infinity;
    for (let index = 0; index < RATES; index++) {
      const { points, diverged } = run(rule, surface, start, { ...settings, lr: rateAt(index) }, steps);
      const end = diverged ? Infinity : points[steps][2];
      if (end < lowest) [best, lowest] = [index, end];
    }
    return best;
  }

  // ---- drawing -------------------------------------------------------------------------------------------------
  const COLORS = ["blue", "red", "green", "purple", "orange", "sky", "ink"];
  const DASHES = ["", "7 3", "2.5 2", "9 3 2 3", "5 2 1.5 2 1.5 2", "1.5 1.5", "12 3"];
  const INK = { ink: "#1f2328", muted: "#59636e", grid: "#d8dee4", paper: "#ffffff", blue: "#0072b2", orange: "#e69f00" };
  Object.assign(INK, { green: "#009e73", red: "#d55e00", sky: "#56b4e9", purple: "#cc79a7" });
  const paint = (name) => `var(--fig-${name},${INK[name]})`;
  const short = (v) => String(Math.round(v * 10) / 10);
  const minus = (text) => text.replace("-", "−");
  const fixed = (v, digits) => minus((Number(v.toFixed(digits)) || 0).toFixed(digits)); // no minus before zero
  const scientific = (v) => {
    if (v === 0) return "0";
    if (v >= 1e-3 && v < 1e4) return String(Number(v.toPrecision(3)));
    const [digits, power] = v.toExponential(1).split("e");
    return `${digits}·10${[...String(Number(power))].map((c) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[c] ?? "⁻").join("")}`;
  };
  const text = (x, y, words, more = "") => `<text x="${short(x)}" y="${short(y)}" ${more}>${words}</text>`;
  const polyline = (points, slot, width) =>
    `<polyline points="${points.map(([a, b]) => `${short(a)},${short(b)}`).join(" ")}" fill="none" ` +
    `style="stroke:${paint(COLORS[slot])}" stroke-width="${width}" stroke-dasharray="${DASHES[slot]}" stroke-linejoin="round"/>`;

  const MAP = 330; // side of the map in px; its window on the plane is a square, so that angles are true
  const EDGE = { left: 38, top: 8, bottom: 34, right: 10 };
  const FAR = 4e3; // px; a path that leaves further is drawn to there

  function scaleOf(window) {
    const [x0, y0, side] = window;
    return {
      to: ([x, y]) => [EDGE.left + ((x - x0) / side) * MAP, EDGE.top + (1 - (y - y0) / side) * MAP],
      from: ([a, b]) => [x0 + ((a - EDGE.left) / MAP) * side, y0 + (1 - (b - EDGE.top) / MAP) * side],
    };
  }

  function drawMap(surface, runs, start, shown, key) {
    const { window, contours, minima, ticks } = surface;
    const scale = scaleOf(window);
    const clamp = ([a, b]) => [Math.max(-FAR, Math.min(FAR, a)), Math.max(-FAR, Math.min(FAR, b))];
    const inside = ([a, b]) => a > EDGE.left - 4 && a < EDGE.left + MAP + 4 && b > EDGE.top - 4 && b < EDGE.top + MAP + 4;
    let out = `<clipPath id="${key}-clip"><rect x="${EDGE.left}" y="${EDGE.top}" width="${MAP}" height="${MAP}"/></clipPath>`;
    out += `<rect x="${EDGE.left}" y="${EDGE.top}" width="${MAP}" height="${MAP}" fill="none" style="stroke:${paint("grid")}"/>`;
    out += `<g clip-path="url(#${key}-clip)"><path d="${contours}" transform="scale(0.1)" fill="none" style="stroke:${paint("muted")}" stroke-width="8" opacity="0.6"/>`;
    runs.forEach(({ path, slot }) => {
      const points = path.points.slice(0, shown + 1).map((p) => clamp(scale.to(p)));
      out += polyline(points, slot, slot ? 1.6 : 2.2);
      if (slot === 0) {
        out += points.filter(inside).map(([a, b]) => `<circle cx="${short(a)}" cy="${short(b)}" r="2" style="fill:${paint("blue")}"/>`).join("");
      }
      const [a, b] = points[points.length - 1];
      out += `<circle cx="${short(a)}" cy="${short(b)}" r="4.5" style="fill:${paint(COLORS[slot])};stroke:${paint("paper")}"/>`;
    });
    minima.forEach((p) => {
      const [a, b] = scale.to(p);
      out += `<path d="M${short(a - 6)} ${short(b)}h12m-6-6v12" style="stroke:${paint("ink")}" stroke-width="1.8"/>`;
    });
    out += "</g>";
    const [a, b] = scale.to(start);
    out += `<circle class="playground-start" cx="${short(a)}" cy="${short(b)}" r="7" style="fill:${paint("paper")};stroke:${paint("ink")}" stroke-width="2"/>`;
    ticks[0].forEach((v) => (out += text(scale.to([v, 0])[0], EDGE.top + MAP + 14, minus(String(v)), 'text-anchor="middle" class="tick"')));
    ticks[1].forEach((v) => (out += text(EDGE.left - 5, scale.to([0, v])[1] + 3.5, minus(String(v)), 'text-anchor="end" class="tick"')));
    out += text(EDGE.left + MAP / 2, EDGE.top + MAP + 30, "x₁", 'text-anchor="middle"');
    out += text(10, EDGE.top + MAP / 2, "x₂", 'text-anchor="middle"');
    return out;
  }

  const CHART = { width: 330, height: 186, left: 46, right: 12, top: 22, bottom: 34 };

  // Lines over the step on a logarithmic scale from 10^low to 10^high; values beyond are drawn at the edge.
  function drawChart(title, lines, steps, [low, high], every) {
    const { width, height, left, right, top, bottom } = CHART;
    const X = (t) => left + (t / steps) * (width - left - right);
    const Y = (v) => {
      const power = v > 0 ? Math.max(low, Math.min(high, Math.log10(v))) : low;
      return top + (1 - (power - low) / (high - low)) * (height - top - bottom);
    };
    let out = text(left, 13, title, 'class="title"');
    for (let power = low; power <= high; power += every) {
      const y = short(Y(10 ** power));
      out += `<path d="M${left} ${y}H${width - right}" style="stroke:${paint("grid")}"/>`;
      out += text(left - 5, Number(y) + 3.5, power === 0 ? "1" : `10${[...String(power)].map((c) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[c] ?? "⁻").join("")}`, 'text-anchor="end" class="tick"');
    }
    for (let t = 0; t <= steps; t += 50) out += text(X(t), height - bottom + 15, t, 'text-anchor="middle" class="tick"');
    out += text((left + width - right) / 2, height - 3, "step", 'text-anchor="middle"');
    lines.forEach(({ values, slot, from, dash, label, above }) => {
      const points = values.map((v, t) => [X(t + from), Y(v)]);
      const drawn = polyline(points, slot, 1.8);
      out += dash === undefined ? drawn : drawn.replace(/stroke-dasharray="[^"]*"/, `stroke-dasharray="${dash}"`);
      if (label && points.length) {
        const [a, b] = points[points.length - 1];
        out += text(Math.min(a + 3, width - right), b + (above ? -6 : 14), label, 'text-anchor="end" class="tick"');
      }
    });
    return out;
  }

  const svg = (name, width, height, inside, label, more = "") =>
    `<svg class="playground-${name}" viewBox="0 0 ${width} ${height}" ${more || 'role="img"'} aria-label="${label}">${inside}</svg>`;

  // Everything the page shows of one state: markup of the three drawings, rows of the table, one sentence.
  function picture(state, data, key) {
    const surface = data.surfaces[state.surface];
    const all = [{ rule: state.rule, settings: settingsOf(state, state.rule), slot: 0 }, ...state.kept];
    const runs = all.map((one) => ({ ...one, path: run(one.rule, state.surface, state.start, one.settings, data.steps) }));
    const above = (point) => Math.max(0, point[2] - surface.lowest);
    const shown = state.shown;
    const [own] = runs;
    const end = own.path.points[Math.min(shown, own.path.points.length - 1)];
    const where = `x₁ ${fixed(state.start[0], 2)}, x₂ ${fixed(state.start[1], 2)}`;
    const map = svg(
      "map",
      EDGE.left + MAP + EDGE.right,
      EDGE.top + MAP + EDGE.bottom,
      drawMap(surface, runs, state.start, shown, key),
      `Map of the surface with the paths. Start at ${where}. The arrow keys move it.`,
      'role="application" tabindex="0"',
    );
    const loss = drawChart(
      "f above its minimum",
      runs.map(({ path, slot }) => ({ values: path.points.slice(0, shown + 1).map(above), slot, from: 0 })).reverse(),
      data.steps, [-12, 4], 4,
    );
    const watched = RULES[own.rule].watch;
    const coordinate = (i) => own.path.watch.slice(0, shown).map((pair) => pair[i]);
    const last = own.path.watch[Math.min(shown, own.path.watch.length) - 1] ?? [0, 0];
    const inner = drawChart(
      `${own.rule}: ${watched} of x₁ and x₂`,
      [
        { values: coordinate(0), slot: 0, from: 1, dash: "", label: "x₁", above: last[0] >= last[1] },
        { values: coordinate(1), slot: 0, from: 1, dash: "4 3", label: "x₂", above: last[0] < last[1] },
      ],
      data.steps, [-6, 4], 2,
    );
    const left = own.path.diverged && shown >= own.path.points.length;
    const outcome = left
      ? `leaves the range of floating-point numbers at step ${own.path.points.length}`
      : `is at (${fixed(end[0], 3)}, ${fixed(end[1], 3)}) after ${shown} steps, f ${scientific(above(end))} above its minimum`;
    const charts =
      svg("chart", CHART.width, CHART.height, loss, `Line chart of f above its minimum over ${shown} steps, for every path shown.`) +
      svg("chart", CHART.width, CHART.height, inner, `Line chart of the ${watched} of both coordinates over ${shown} steps.`);
    const rows = runs.map(({ rule, settings, slot, path }) => {
      const at = path.points[Math.min(shown, path.points.length - 1)];
      const gone = path.diverged && shown >= path.points.length;
      return { slot, rule, settings: describe(rule, settings), result: gone ? "diverged" : scientific(above(at)) };
    });
    return { map, charts, rows, note: `${own.rule[0].toUpperCase()}${own.rule.slice(1)} from (${fixed(state.start[0], 2)}, ${fixed(state.start[1], 2)}) ${outcome}.`, runs };
  }

  function describe(rule, { lr, momentum, memory }) {
    const { uses } = RULES[rule];
    const parts = [`η ${lr}`];
    if (uses.includes("momentum")) parts.push(`${rule === "Adam" ? "β₁" : "μ"} ${momentum.toFixed(2)}`);
    if (uses.includes("memory")) parts.push(`${rule === "Adam" ? "β₂" : "ρ"} ${memory}`);
    return parts.join(", ");
  }

  const swatch = (slot) =>
    `<svg class="playground-swatch" viewBox="0 0 28 8" aria-hidden="true"><path d="M1 4h26" style="stroke:${paint(COLORS[slot])}" stroke-width="2.4" stroke-dasharray="${DASHES[slot]}"/></svg>`;

  const table = (rows) =>
    `<table class="playground-table"><thead><tr><th scope="col">path</th><th scope="col">settings</th><th scope="col">f − min f</th><td></td></tr></thead><tbody>` +
    rows
      .map(({ slot, rule, settings, result }, i) => {
        const drop = i ? `<button type="button" data-drop="${i - 1}" aria-label="Remove ${rule}, ${settings}">×</button>` : "";
        return `<tr><th scope="row">${swatch(slot)}${rule}</th><td>${settings}</td><td>${result}</td><td>${drop}</td></tr>`;
      })
      .join("") +
    "</tbody></table>";

  // ---- the page ------------------------------------------------------------------------------------------------
  function attach(root) {
    if ("ready" in root.dataset) return;
    root.dataset.ready = "";
    const data = JSON.parse(root.querySelector("script[type='application/json']").textContent);
    const find = (name) => root.querySelector(`[data-part='${name}']`);
    const field = (name) => root.querySelector(`[data-field='${name}']`);
    const bar = root.querySelector(".explore-controls");
    const note = root.querySelector(".explore-note");
    const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
    const state = structuredClone(data.state);
    let timer = 0;

    const slider = (name, index, words, used = true) => {
      const input = field(name);
      input.value = index;
      input.disabled = !used;
      input.setAttribute("aria-valuetext", words);
      input.style.setProperty("--at", `${(100 * (index - input.min)) / (input.max - input.min)}%`);
      input.nextElementSibling.textContent = words;
    };

    function show() {
      const { uses } = RULES[state.rule];
      const settings = settingsOf(state, state.rule);
      const made = picture(state, data, root.id);
      field("surface").value = state.surface;
      field("rule").value = state.rule;
      slider("lr", state.index.lr, String(settings.lr));
      slider("momentum", state.index.momentum, uses.includes("momentum") ? settings.momentum.toFixed(2) : "not used", uses.includes("momentum"));
      slider("memory", state.index.memory[state.rule] ?? 0, uses.includes("memory") ? String(settings.memory) : "not used", uses.includes("memory"));
      slider("shown", state.shown, String(state.shown));
      const held = document.activeElement?.closest?.(".playground-map") && root.contains(document.activeElement);
      find("map").innerHTML = made.map;
      find("charts").innerHTML = made.charts;
      find("table").innerHTML = table(made.rows);
      if (held) find("map").firstElementChild.focus();
      note.querySelector(".explore-text").textContent = made.note;
      bar.querySelector("[data-do='keep']").disabled = state.kept.length >= COLORS.length - 1;
      bar.querySelector("[data-do='clear']").disabled = !state.kept.length;
    }

    const freeSlot = () => COLORS.findIndex((_, slot) => slot && !state.kept.some((one) => one.slot === slot));
    const keep = (rule, settings) => state.kept.push({ rule, settings, slot: freeSlot() });

    function race() {
      const best = (rule) => bestRate(rule, state.surface, state.start, settingsOf(state, rule), data.steps);
      state.kept = [];
      Object.keys(RULES)
        .filter((rule) => rule !== state.rule)
        .forEach((rule) => keep(rule, { ...settingsOf(state, rule), lr: rateAt(best(rule)) }));
      state.index.lr = best(state.rule);
      state.shown = data.steps;
    }

    function play(on) {
      clearInterval(timer);
      timer = 0;
      if (on) {
        if (state.shown >= data.steps) state.shown = 0;
        timer = setInterval(() => {
          state.shown = Math.min(data.steps, state.shown + (state.shown < 20 ? 1 : 2));
          show();
          if (state.shown >= data.steps) play(false);
        }, 60);
      }
      root.classList.toggle("is-playing", on);
      note.setAttribute("aria-live", on ? "off" : "polite");
      bar.querySelector("[data-do='play'] span").textContent = on ? "Pause" : "Play";
    }

    const inputs = {
      surface: (value) => Object.assign(state, { surface: value, start: [...data.surfaces[value].start] }),
      rule: (value) => (state.rule = value),
      lr: (value) => (state.index.lr = Number(value)),
      momentum: (value) => (state.index.momentum = Number(value)),
      memory: (value) => (state.index.memory[state.rule] = Number(value)),
      shown: (value) => (state.shown = Number(value)),
    };
    Object.entries(inputs).forEach(([name, set]) =>
      field(name).addEventListener("input", (event) => {
        if (name === "shown") play(false);
        set(event.target.value);
        show();
      }),
    );

    const buttons = {
      play: () => play(!timer),
      keep: () => keep(state.rule, settingsOf(state, state.rule)),
      race,
      clear: () => (state.kept = []),
    };
    bar.addEventListener("click", (event) => {
      const pressed = event.target.closest("[data-do]");
      if (!pressed) return;
      buttons[pressed.dataset.do]();
      show();
    });
    find("table").addEventListener("click", (event) => {
      const pressed = event.target.closest("[data-drop]");
      if (!pressed) return;
      state.kept.splice(Number(pressed.dataset.drop), 1);
      show();
    });

    const clampStart = (point) => {
      const [x0, y0, side] = data.surfaces[state.surface].window;
      const grid = side / 180;
      state.start = point.map((v, i) => {
        const low = [x0, y0][i];
        return Number((low + Math.round(Math.max(0, Math.min(side, v - low)) / grid) * grid).toFixed(2));
      });
      show();
    };
    const point = (event) => {
      const drawn = find("map").firstElementChild;
      const box = drawn.getBoundingClientRect();
      const unit = (EDGE.left + MAP + EDGE.right) / box.width;
      clampStart(scaleOf(data.surfaces[state.surface].window).from([(event.clientX - box.left) * unit, (event.clientY - box.top) * unit]));
    };
    let dragging = false;
    find("map").addEventListener("pointerdown", (event) => {
      dragging = true;
      find("map").setPointerCapture(event.pointerId);
      point(event);
      find("map").firstElementChild.focus();
      event.preventDefault();
    });
    find("map").addEventListener("pointermove", (event) => dragging && point(event));
    ["pointerup", "pointercancel"].forEach((name) => find("map").addEventListener(name, () => (dragging = false)));
    const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    find("map").addEventListener("keydown", (event) => {
      const arrow = ARROWS[event.key];
      if (!arrow) return;
      event.preventDefault();
      const step = (data.surfaces[state.surface].window[2] / 180) * (event.shiftKey ? 15 : 3);
      clampStart(state.start.map((v, i) => v + arrow[i] * step));
    });

    const still = () => {
      if (calm.matches) play(false);
      bar.querySelector("[data-do='play']").hidden = calm.matches; // the step slider remains
    };
    calm.addEventListener("change", still);
    document.addEventListener("visibilitychange", () => document.hidden && play(false));
    still();
    show();
    bar.hidden = false;
  }

  return { RULES, SURFACES, run, bestRate, rateAt, picture, table, attach };
})();

if (typeof document !== "undefined") {
  const start = () => document.querySelectorAll("[data-playground]").forEach(OptimizerPlayground.attach);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
}
