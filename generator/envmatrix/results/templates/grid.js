// What the page is better with: a filter, and arrow keys in the grid. It reads without either.
"use strict";

const form = document.querySelector(".filter");
const table = document.querySelector(".grid");

if (form && table) {
  const rows = [...table.tBodies[0].rows];

  const filter = () => {
    const words = form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const onlyBad = form.elements.bad.checked;
    for (const row of rows) {
      const named = words.every((word) => row.dataset.cell.includes(word));
      const bad = row.querySelector("td.failed, td.errored, td.killed") !== null;
      row.hidden = !named || (onlyBad && !bad);
    }
  };

  form.hidden = false;
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());

  table.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    const step = steps[event.key];
    const cell = event.target.closest("td");
    if (!step || !cell) return;
    const shown = rows.filter((row) => !row.hidden);
    let row = shown.indexOf(cell.parentElement);
    let column = cell.cellIndex;
    for (;;) {
      row += step[0];
      column += step[1];
      const next = shown[row]?.cells[column];
      if (!next || column === 0) return;
      const link = next.querySelector("a");
      if (link) {
        link.focus();
        event.preventDefault();
        return;
      }
    }
  });
}
