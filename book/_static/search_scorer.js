/* How search results are ranked: Sphinx's own numbers, but a heading that holds the whole question comes first. */
var Scorer = {
  score: ([docname, title, anchor, descr, score]) => (anchor && title.includes(" > ") ? score + 100 : score),
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
