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

/* The answers that the reader chose, in this browser only: for each question how many it took, and whether it is right. */
const answers = {
  key: "worked-out-quiz",
  all() {
    try {
      return JSON.parse(localStorage.getItem(this.key)) ?? {};
    } catch {
      return {};
    }
  },
  keep(all) {
    try {
      localStorage.setItem(this.key, JSON.stringify(all));
    } catch {
      /* a private window, or no room: the quiz works all the same */
    }
  },
};

function said(entry) {
  if (!entry) return "";
  if (!entry.right) return "not right yet";
  return entry.tries === 1 ? "right at the first try" : `right after ${entry.tries} tries`;
}

function keepAnswers() {
  for (const question of document.querySelectorAll("section.quiz")) {
    const note = document.createElement("span");
    note.className = "quiz-note";
    question.querySelector(".quiz-title").append(note);
    const show = () => {
      const words = said(answers.all()[question.id]);
      note.textContent = words && `: ${words}`;
    };
    for (const answer of question.querySelectorAll(":scope > details.quiz-answer")) {
      answer.addEventListener("toggle", () => {
        const all = answers.all();
        const entry = all[question.id] ?? { tries: 0, right: false };
        if (!answer.open || entry.right) return;
        entry.tries += 1;
        entry.right = answer.classList.contains("quiz-right");
        all[question.id] = entry;
        answers.keep(all);
        show();
      });
    }
    show();
  }
}

function showProgress() {
  const table = document.querySelector(".quiz-progress");
  if (!table) return;
  const all = answers.all();
  for (const row of table.querySelectorAll("tr[data-quiz]")) {
    const found = row.dataset.quiz.split(" ").map((id) => all[id]);
    const right = found.filter((entry) => entry?.right);
    const first = right.filter((entry) => entry.tries === 1);
    row.lastElementChild.textContent = found.some(Boolean)
      ? `${right.length} of ${found.length} right, ${first.length} at the first try`
      : `${found.length} questions`;
  }
  const forget = document.querySelector(".quiz-forget");
  forget.hidden = Object.keys(all).length === 0;
  forget.onclick = () => {
    answers.keep({});
    showProgress();
  };
}

addEventListener("DOMContentLoaded", () => {
  reachScrollers();
  keepAnswers();
  showProgress();
});
addEventListener("pageshow", (event) => event.persisted && showProgress());
addEventListener("resize", reachScrollers);
