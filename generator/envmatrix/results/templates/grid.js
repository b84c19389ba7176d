// What pages are better with: arrow keys in maps, and a search for cells. They read without either.
"use strict";

for (const map of document.querySelectorAll(".map")) {
  // The tiles of each place of the map, by row; Tab stops once at each map.
  const rows = [...map.tBodies[0].rows].map((row) =>
    [...row.cells].slice(1).map((place) => [...place.querySelectorAll("a")]));
  const tiles = rows.flat(2);
  tiles.forEach((tile, index) => { tile.tabIndex = index ? -1 : 0; });

  const focus = (tile) => {
    if (!tile) return false;
    for (const other of tiles) other.tabIndex = -1;
    tile.tabIndex = 0;
    tile.focus();
    return true;
  };

  map.addEventListener("keydown", (event) => {
    const tile = event.target.closest("a");
    const row = rows.findIndex((places) => places.some((place) => place.includes(tile)));
    if (row < 0) return;
    const column = rows[row].findIndex((place) => place.includes(tile));
    const inRow = rows[row].flat();
    const above = (step) => {
      for (let next = row + step; rows[next]; next += step) {
        if (rows[next][column]?.length) return rows[next][column][0];
      }
      return null;
    };
    const targets = {
      ArrowLeft: () => inRow[inRow.indexOf(tile) - 1],
      ArrowRight: () => inRow[inRow.indexOf(tile) + 1],
      ArrowUp: () => above(-1),
      ArrowDown: () => above(1),
      Home: () => inRow[0],
      End: () => inRow.at(-1),
    };
    if (targets[event.key] && focus(targets[event.key]())) event.preventDefault();
  });
}

const form = document.querySelector(".filter");
if (form) {
  const tiles = [...document.querySelectorAll(".map a")];
  const search = () => {
    const words = form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const tile of tiles) {
      const matches = words.every((word) => tile.title.toLowerCase().includes(word));
      tile.classList.toggle("faded", !matches);
      count += matches;
    }
    form.querySelector("output").textContent = words.length ? `${count} match` : "";
  };
  form.hidden = false;
  form.addEventListener("input", search);
  form.addEventListener("submit", (event) => event.preventDefault());
}
