"use strict";

/* Sort tables by a click on a heading, and let switches show one of several panels. Without scripts everything is shown. */

for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    if (heading.tagName !== "TH") return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const before = heading.getAttribute("aria-sort");
      const first = heading.textContent.includes("\u2191") ? "descending" : "ascending";
      const other = first === "ascending" ? "descending" : "ascending";
      const direction = before === first ? other : first;
      headings.forEach((each) => each.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", direction);
      sort(table.tBodies[0], column, direction === "ascending" ? 1 : -1);
    });
  });
}

function sort(body, column, sign) {
  const rows = [...body.rows].map((row) => ({ row, key: key(row.cells[column]) }));
  rows.sort((a, b) => {
    // What has no number stays last, whichever way is up.
    if (a.key.missing || b.key.missing) return a.key.missing - b.key.missing;
    return sign * (a.key.text === null ? a.key.number - b.key.number : a.key.text.localeCompare(b.key.text));
  });
  body.append(...rows.map((each) => each.row));
}

function key(cell) {
  const text = cell === undefined ? "" : (cell.dataset.value ?? cell.textContent.trim());
  const number = Number(text);
  if (cell !== undefined && cell.classList.contains("number")) {
    return { number, text: null, missing: Number(text === "" || Number.isNaN(number)) };
  }
  return { number, text: text === "" || Number.isNaN(number) ? text : null, missing: 0 };
}

for (const group of document.querySelectorAll("[data-switch]")) {
  const panels = document.querySelectorAll(`[data-panel="${group.dataset.switch}"]`);
  const show = (value) => {
    for (const panel of panels) panel.hidden = panel.dataset.value !== value;
    for (const button of group.children) button.setAttribute("aria-pressed", String(button.dataset.value === value));
  };
  group.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) show(button.dataset.value);
  });
  if (group.children.length) {
    group.hidden = false;
    show(group.children[0].dataset.value);
  }
}
