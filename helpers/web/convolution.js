// The convolution explorer: slides a kernel over an image in the reader's browser, with the arithmetic of every step.
// tests/test_convolution_explorer.py runs it beside PyTorch's conv2d. No dependency, no network. Numbers go in, markup
// comes out: everything but attach() works without a page.
const ConvolutionExplorer = (() => {
  "use strict";

  const SIDE = 336; // of both drawings, in their own units; a cell is SIDE over the number of cells
  const LIMITS = { padding: [0, 2], stride: [1, 3], dilation: [1, 3] };
  const range = (n) => Array.from({ length: n }, (_, i) => i);

  // ---- the arithmetic ------------------------------------------------------------------------------------------
  const span = (k, { dilation }) => dilation * (k - 1) + 1;
  const outputSize = (size, k, settings) => {
    const room = size + 2 * settings.padding - span(k, settings);
    return room < 0 ? 0 : Math.floor(room / settings.stride) + 1;
  };

  // The products of one output number, row by row of the kernel: weight, pixel, and where the pixel is (counted in the
  // image, so that the padding has negative indices or ones beyond the last).
  function products(image, kernel, settings, [i, j]) {
    const { padding, stride, dilation } = settings;
    return kernel.map((weights, u) =>
      weights.map((w, v) => {
        const [row, column] = [i * stride + u * dilation - padding, j * stride + v * dilation - padding];
        const x = image[row]?.[column];
        return { w, x: x ?? 0, row, column, padded: x === undefined };
      }),
    );
  }

  const total = (rows, bias) => rows.flat().reduce((sum, { w, x }) => sum + w * x, bias);

  // The whole output map; no rows where the kernel does not fit.
  function convolve(image, kernel, bias, settings) {
    const [height, width] = [image.length, image[0].length].map((size) => outputSize(size, kernel.length, settings));
    if (!height || !width) return [];
    return range(height).map((i) => range(width).map((j) => total(products(image, kernel, settings, [i, j]), bias)));
  }

  // Which pixels of the image no window ever reads.
  function unread(image, kernel, settings) {
    const [height, width] = [image.length, image[0].length].map((size) => outputSize(size, kernel.length, settings));
    const read = image.map((row) => row.map(() => false));
    range(height).forEach((i) =>
      range(width).forEach((j) =>
        products(image, kernel, settings, [i, j]).flat().forEach(({ row, column, padded }) => {
          if (!padded) read[row][column] = true;
        }),
      ),
    );
    return read.map((row) => row.map((seen) => !seen));
  }

  // ---- words ---------------------------------------------------------------------------------------------------
  const num = (v) => String(Number(v.toFixed(2)) || 0).replace("-", "−"); // no minus before zero
  const factor = (v) => (v < 0 ? `(${num(v)})` : num(v));
  const many = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;
  // 3, −4 and 1 become "3 − 4 + 1"
  const added = (values) =>
    values.map((v, i) => (i === 0 ? num(v) : `${num(v)[0] === "−" ? "−" : "+"} ${num(v).replace("−", "")}`)).join(" ");

  function sizeWords(image, kernel, settings, lost) {
    const { padding, stride, dilation } = settings;
    const k = kernel.length;
    const [height, width] = [image.length, image[0].length].map((size) => outputSize(size, k, settings));
    const inside = (size) => `${size} + 2·${padding} − ${dilation}·(${k} − 1) − 1`;
    if (!height || !width) {
      return `The kernel spans ${span(k, settings)} pixels and the padded image has ${Math.min(image.length, image[0].length) + 2 * padding}: it does not fit, and there is no output.`;
    }
    const line = (size, n) => `⌊(${inside(size)}) / ${stride}⌋ + 1 = ${n}`;
    const both = height === width && image.length === image[0].length;
    const sizes = both
      ? `Rows and columns of the output: ${line(image.length, height)}.`
      : `Rows of the output: ${line(image.length, height)}; columns: ${line(image[0].length, width)}.`;
    return `${sizes} ${lost ? `${many(lost, "pixel")} (crossed out) ${lost === 1 ? "is" : "are"} never read.` : "Every pixel is read."}`;
  }

  // ---- drawing -------------------------------------------------------------------------------------------------
  const short = (v) => String(Math.round(v * 10) / 10);
  const cell = (x, y, width, name, more = "", height = width) =>
    `<rect x="${short(x)}" y="${short(y)}" width="${short(width)}" height="${short(height)}" class="${name}"${more}/>`;

  // Text as large as the cell allows for the longest number in the grid.
  const sized = (side, longest) => Math.min(19, side * 0.46, (side * 1.55) / longest);
  const label = (x, y, side, size, words, name = "") =>
    `<text x="${short(x + side / 2)}" y="${short(y + side / 2 + size * 0.36)}" font-size="${short(size)}"${name}>${words}</text>`;

  function drawInput(image, kernel, settings, position) {
    const { padding } = settings;
    const [height, width] = [image.length + 2 * padding, image[0].length + 2 * padding];
    const side = SIDE / Math.max(height, width);
    const peak = Math.max(1, ...image.flat().map(Math.abs));
    const size = sized(side, Math.max(2, ...image.flat().map((x) => num(x).length)));
    const lost = unread(image, kernel, settings);
    let grid = "";
    let numbers = "";
    let crosses = "";
    range(height).forEach((r) =>
      range(width).forEach((c) => {
        const [x, y] = [c * side, r * side];
        const value = image[r - padding]?.[c - padding];
        if (value === undefined) {
          grid += cell(x, y, side, "padding");
          numbers += label(x, y, side, size, "0", ' class="pale"');
          return;
        }
        grid += cell(x, y, side, "pixel", ` fill-opacity="${short((4 * Math.abs(value)) / peak) / 10}"`);
        numbers += label(x, y, side, size, num(value));
        if (lost[r - padding][c - padding]) crosses += `M${short(x)} ${short(y)}l${short(side)} ${short(side)}`;
      }),
    );
    let windows = "";
    if (position) {
      products(image, kernel, settings, position).flat().forEach(({ w, row, column }) => {
        const [x, y] = [(column + padding) * side, (row + padding) * side];
        windows += cell(x + 1.5, y + 1.5, side - 3, "window");
        if (side >= 40) windows += `<text x="${short(x + 5)}" y="${short(y + 12)}" font-size="9.5" class="weight">${num(w)}</text>`;
      });
    }
    const crossed = crosses && `<path d="${crosses}" class="cross"/>`;
    const frame = padding ? cell(padding * side, padding * side, image[0].length * side, "image", "", image.length * side) : "";
    return { markup: grid + numbers + crossed + frame + windows, lost: lost.flat().filter(Boolean).length };
  }

  function drawOutput(values, position, shownUpTo) {
    const [height, width] = [values.length, values[0].length];
    const side = SIDE / Math.max(height, width, 3);
    const size = sized(side, Math.max(2, ...values.flat().map((v) => num(v).length)));
    const peak = Math.max(1e-9, ...values.flat().map(Math.abs));
    let out = "";
    values.forEach((row, i) =>
      row.forEach((v, j) => {
        const [x, y] = [j * side, i * side];
        if (i * width + j > shownUpTo) {
          out += cell(x, y, side, "later");
          return;
        }
        out += cell(x, y, side, v < 0 ? "negative" : "positive", ` fill-opacity="${short((4.5 * Math.abs(v)) / peak) / 10}"`);
        out += label(x, y, side, size, num(v));
      }),
    );
    const [i, j] = position;
    return out + cell(j * side + 1.5, i * side + 1.5, side - 3, "window");
  }

  function sumTable(rows, bias, [i, j]) {
    const sums = rows.map((row) => total([row], 0));
    const lines = rows.map((row, u) => {
      const terms = row.map(({ w, x, padded }, v) => {
        const pixel = padded ? `<span class="pale">${num(x)}</span>` : num(x);
        const name = w * x === 0 ? ' class="pale"' : "";
        return `<td${name}>${v ? "+ " : ""}${v ? factor(w) : num(w)} × ${pixel}</td>`;
      });
      return `<tr>${terms.join("")}<td>= ${num(sums[u])}</td></tr>`;
    });
    const y = total(rows, bias);
    return (
      `<table class="convolution-sum"><caption>output row ${i + 1}, column ${j + 1}: weight × pixel</caption>` +
      `<tbody>${lines.join("")}<tr><td colspan="${rows[0].length}">${added(sums)}, plus bias ${num(bias)}</td><td><strong>= ${num(y)}</strong></td></tr></tbody></table>`
    );
  }

  const svg = (name, inside, words, more) =>
    `<svg class="convolution-${name}" viewBox="0 0 ${SIDE} ${SIDE}" ${more} aria-label="${words}">${inside}</svg>`;

  const clamped = (position, values) =>
    values.length ? position.map((v, axis) => Math.max(0, Math.min(v, [values.length, values[0].length][axis] - 1))) : null;

  // Everything the page shows of one state: markup of the drawings and of the sum, and two sentences.
  function picture(state, data) {
    const { image, kernel, bias, settings } = { ...state, image: data.images[state.image] };
    const values = convolve(image, kernel, bias, settings);
    const position = clamped(state.position, values);
    const { markup, lost } = drawInput(image, kernel, settings, position);
    const size = sizeWords(image, kernel, settings, lost);
    const grown = settings.padding ? `, with ${settings.padding} of padding on every side` : "";
    const input = svg("input", markup, `Input of ${image.length} by ${image[0].length} pixels${grown}, with the window on it.`, 'role="img"');
    if (!position) {
      return { input, output: svg("output", "", "No output.", 'role="img"'), sum: "", size, note: "No output: the kernel does not fit.", values, position };
    }
    const [i, j] = position;
    const rows = products(image, kernel, settings, position);
    const last = state.playing ? i * values[0].length + j : Infinity;
    const sums = [...rows.map((row) => total([row], 0)), ...(bias ? [bias] : [])];
    const note = `Row ${i + 1}, column ${j + 1} of the output: ${sums.length > 1 ? `${added(sums)} = ` : ""}${num(values[i][j])}.`;
    const words = `Output map of ${values.length} by ${values[0].length} numbers, at row ${i + 1}, column ${j + 1}: ${num(values[i][j])}. The arrow keys move the window.`;
    const output = svg("output", drawOutput(values, position, last), words, 'role="application" tabindex="0"');
    return { input, output, sum: sumTable(rows, bias, position), size, note, values, position };
  }

  // ---- the page ------------------------------------------------------------------------------------------------
  function attach(root) {
    if ("ready" in root.dataset) return;
    root.dataset.ready = "";
    const data = JSON.parse(root.querySelector("script[type='application/json']").textContent);
    const find = (name) => root.querySelector(`[data-part='${name}']`);
    const field = (name) => root.querySelector(`[data-field='${name}']`);
    const weights = [...root.querySelectorAll("[data-weight]")];
    const bar = root.querySelector(".explore-controls");
    const note = root.querySelector(".explore-note");
    const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
    const state = { ...structuredClone(data.state), playing: false };
    let made = null;
    let timer = 0;

    const say = (part, words) => {
      const place = root.querySelector(part);
      if (place.textContent !== words) place.textContent = words; // so that only what has changed is read out
    };

    function show() {
      made = picture(state, data);
      if (made.position) state.position = made.position;
      Object.entries(LIMITS).forEach(([name, [low, high]]) => {
        const [input, value] = [field(name), state.settings[name]];
        input.value = value;
        input.style.setProperty("--at", `${(100 * (value - low)) / (high - low)}%`);
        input.nextElementSibling.textContent = value;
      });
      field("image").value = state.image;
      field("kernel").value = state.preset;
      weights.forEach((input) => {
        const [u, v] = input.dataset.weight.split(",").map(Number);
        input.hidden = u >= state.kernel.length || v >= state.kernel.length;
        if (!input.hidden && input !== document.activeElement) input.value = state.kernel[u][v];
      });
      if (field("bias") !== document.activeElement) field("bias").value = state.bias;
      const held = find("output").contains(document.activeElement);
      ["input", "output", "sum"].forEach((part) => (find(part).innerHTML = made[part]));
      if (held) find("output").firstElementChild.focus();
      say(".explore-text", made.note);
      say("[data-part='size']", made.size);
      const [first, last] = [at(0), at(-1)];
      [["back", first], ["on", last]].forEach(([name, off]) =>
        bar.querySelector(`[data-do='${name}']`).setAttribute("aria-disabled", String(off || !made.position)),
      );
    }

    const columns = () => made.values[0].length;
    const place = () => state.position[0] * columns() + state.position[1];
    const at = (end) => made.position && place() === (end ? made.values.length * columns() - 1 : 0);
    function step(by) {
      if (!made.position) return;
      const to = Math.max(0, Math.min(made.values.length * columns() - 1, place() + by));
      state.position = [Math.floor(to / columns()), to % columns()];
    }

    function play(on) {
      clearInterval(timer);
      timer = 0;
      state.playing = on && Boolean(made.position);
      if (state.playing) {
        if (at(-1)) state.position = [0, 0];
        timer = setInterval(() => {
          if (at(-1)) play(false);
          else step(1);
          show();
        }, 600);
      }
      root.classList.toggle("is-playing", state.playing);
      note.setAttribute("aria-live", state.playing ? "off" : "polite");
      bar.querySelector("[data-do='play'] span").textContent = state.playing ? "Pause" : "Play";
    }

    const typed = (input) => {
      const value = Number.parseFloat(input.value); // an empty field, or a lone minus, counts as 0 until there is more
      return Number.isFinite(value) ? Math.max(-99, Math.min(99, value)) : 0;
    };
    weights.forEach((input) => {
      input.addEventListener("input", () => {
        const [u, v] = input.dataset.weight.split(",").map(Number);
        state.kernel[u][v] = typed(input);
        state.preset = data.own;
        show();
      });
    });
    field("bias").addEventListener("input", () => {
      state.bias = typed(field("bias"));
      show();
    });
    [...weights, field("bias")].forEach((input) => input.addEventListener("blur", () => setTimeout(show)));
    field("image").addEventListener("input", () => {
      state.image = field("image").value;
      show();
    });
    field("kernel").addEventListener("input", () => {
      state.preset = field("kernel").value;
      if (state.preset in data.kernels) state.kernel = structuredClone(data.kernels[state.preset]);
      show();
    });
    Object.keys(LIMITS).forEach((name) =>
      field(name).addEventListener("input", () => {
        play(false);
        state.settings[name] = Number(field(name).value);
        show();
      }),
    );

    const buttons = { back: () => step(-1), on: () => step(1), play: () => play(!timer) };
    bar.addEventListener("click", (event) => {
      const pressed = event.target.closest("[data-do]");
      if (!pressed) return;
      if (pressed.dataset.do !== "play") play(false);
      buttons[pressed.dataset.do]();
      show();
    });
    const go = (position) => {
      play(false);
      state.position = position;
      show();
    };
    find("output").addEventListener("click", (event) => {
      if (!made.position) return;
      const box = find("output").firstElementChild.getBoundingClientRect();
      const cells = Math.max(made.values.length, columns(), 3);
      const position = [event.clientY - box.top, event.clientX - box.left].map((v) => Math.floor((v / box.width) * cells));
      go(position);
      find("output").firstElementChild.focus();
    });
    const ARROWS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    find("output").addEventListener("keydown", (event) => {
      const arrow = ARROWS[event.key];
      if (!arrow || !made.position) return;
      event.preventDefault();
      go(state.position.map((v, axis) => v + arrow[axis]));
    });

    const still = () => {
      if (calm.matches) play(false);
      bar.querySelector("[data-do='play']").hidden = calm.matches; // the other two buttons remain
    };
    calm.addEventListener("change", still);
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) play(false);
      show();
    });
    made = picture(state, data);
    still();
    show();
    bar.hidden = false;
    find("kernel").hidden = false;
  }

  return { outputSize, products, convolve, unread, picture, attach };
})();

if (typeof document !== "undefined") {
  const start = () => document.querySelectorAll("[data-convolution]").forEach(ConvolutionExplorer.attach);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
}
