// Moves the book's interactive figures. Every frame was drawn when the book was built: a figure carries the pieces of
// its drawings once, and for each state of its controls the list of pieces to show. No dependency, no network.
(() => {
  "use strict";
  const PACE = 700; // milliseconds between the frames of a running figure
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)");

  function explore(root) {
    const data = JSON.parse(root.querySelector("script[type='application/json']").textContent);
    const frame = root.querySelector(".explore-frame");
    const bar = root.querySelector(".explore-controls");
    const fields = [...bar.querySelectorAll("input, select")];
    const note = root.querySelector(".explore-note");
    const spoken = note.querySelector(".explore-values");
    const text = note.querySelector(".explore-text");
    const sizes = data.texts.map((texts) => texts.length);
    const state = fields.map((field, i) => Number(root.dataset.state.split(",")[i]));
    const button = (name) => bar.querySelector(`[data-do='${name}']`);
    let shown = -1;
    let timer = 0;

    function show() {
      const at = state.reduce((sum, index, i) => sum * sizes[i] + index, 0);
      root.dataset.state = state.join(",");
      state.forEach((index, i) => {
        const field = fields[i];
        if (field.tagName === "SELECT") {
          field.selectedIndex = index;
          return;
        }
        field.value = index;
        field.setAttribute("aria-valuetext", data.texts[i][index]);
        field.style.setProperty("--at", `${(100 * index) / (sizes[i] - 1)}%`);
        field.nextElementSibling.textContent = data.texts[i][index];
      });
      if (data.show[at] !== shown) {
        if (shown >= 0) draw(data.frames[data.show[at]].map((piece) => data.pieces[piece]).join(""));
        shown = data.show[at];
      }
      const values = data.labels.map((label, i) => `${label} ${data.texts[i][state[i]]}`).join(", ");
      spoken.textContent = `${values}. `;
      text.textContent = data.notes[data.say[at]];
      if (data.play >= 0) {
        button("back").setAttribute("aria-disabled", state[data.play] === 0);
        button("on").setAttribute("aria-disabled", state[data.play] === sizes[data.play] - 1);
      }
    }

    function draw(markup) {
      const next = document.createElement("template");
      next.innerHTML = markup;
      const old = frame.firstElementChild;
      if (old.tagName === "IMG") old.src = next.content.firstElementChild.src; // keeps the old picture until the new is ready
      else frame.replaceChildren(next.content);
    }

    function move(step) {
      const next = state[data.play] + step;
      if (next < 0 || next >= sizes[data.play]) return false;
      state[data.play] = next;
      show();
      return true;
    }

    function run(on) {
      clearInterval(timer);
      timer = 0;
      if (on) {
        if (state[data.play] === sizes[data.play] - 1) {
          state[data.play] = 0;
          show();
        }
        timer = setInterval(() => move(1) || run(false), PACE);
      }
      root.classList.toggle("is-playing", on);
      note.setAttribute("aria-live", on ? "off" : "polite"); // a running figure would talk without end
      button("play").querySelector("span").textContent = on ? "Pause" : "Play";
    }

    const halt = () => timer && run(false);

    fields.forEach((field, i) => {
      field.addEventListener("input", () => {
        halt();
        state[i] = field.tagName === "SELECT" ? field.selectedIndex : Number(field.value);
        show();
      });
    });

    if (data.play >= 0) {
      bar.addEventListener("click", (event) => {
        const pressed = event.target.closest("[data-do]");
        if (!pressed) return;
        const running = timer;
        halt();
        if (pressed.dataset.do === "back") move(-1);
        else if (pressed.dataset.do === "on") move(1);
        else if (!running) run(true);
      });
      const still = () => {
        if (calm.matches) halt();
        button("play").hidden = calm.matches; // stepping remains
      };
      calm.addEventListener("change", still);
      document.addEventListener("visibilitychange", () => document.hidden && halt());
      still();
    }

    // A drawing that is wider than its place shows that it goes on, scrolls from the keyboard too, and can be made to fit.
    const fit = document.createElement("button");
    fit.type = "button";
    fit.className = "explore-fit";
    fit.textContent = "Whole figure";
    frame.after(fit);
    const measure = () => {
      const whole = root.classList.contains("is-whole");
      const rest = frame.scrollWidth - frame.clientWidth;
      frame.classList.toggle("has-more", rest - frame.scrollLeft > 1);
      if (rest > 0) frame.tabIndex = 0;
      else frame.removeAttribute("tabindex");
      if (!whole) fit.dataset.wide = frame.scrollWidth;
      fit.hidden = !whole ? rest <= 1 : frame.clientWidth >= Number(fit.dataset.wide);
      fit.setAttribute("aria-pressed", whole);
    };
    fit.addEventListener("click", () => {
      root.classList.toggle("is-whole");
      measure();
    });
    frame.addEventListener("scroll", measure);
    new ResizeObserver(measure).observe(frame);

    show();
    bar.hidden = false;
  }

  function start() {
    document.querySelectorAll("[data-explore]").forEach((root) => {
      if ("ready" in root.dataset) return;
      root.dataset.ready = "";
      explore(root);
    });
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
