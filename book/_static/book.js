/* Small things that every page needs; everything works without them. */
"use strict";

/* A figure or formula that is wider than the screen scrolls sideways: let the keyboard reach it too. */
function reachScrollers() {
  for (const box of document.querySelectorAll(".book-figure, div.math, .cell_output pre, .table-wrapper, .pst-scrollable-table-container")) {
    if (box.scrollWidth > box.clientWidth + 1) {
      box.tabIndex = 0;
    } else if (box.tabIndex === 0) {
      box.removeAttribute("tabindex");
    }
  }
}

addEventListener("DOMContentLoaded", reachScrollers);
addEventListener("resize", reachScrollers);
