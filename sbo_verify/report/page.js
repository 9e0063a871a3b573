"use strict";
// Filter and sort for the tables of a report. Without this script all of the page is there, unsorted.
(() => {
  const all = (where, what) => Array.from(where.querySelectorAll(what));
  const collator = new Intl.Collator("en", { numeric: true });

  function value(row, column) {
    const cell = row.cells[column];
    if (cell.dataset.value === undefined) return cell.textContent.trim();
    return cell.dataset.value === "" ? null : Number(cell.dataset.value);
  }

  function order(first, second, rising) {
    // What was not measured stands last either way.
    if (first === null || second === null) return (first === null) - (second === null);
    const sign = rising ? 1 : -1;
    const words = typeof first === "string";
    return sign * (words ? collator.compare(first, second) : first - second);
  }

  function sort(table, column, rising) {
    const body = table.tBodies[0];
    const rows = Array.from(body.rows);
    rows.sort((a, b) => order(value(a, column), value(b, column), rising));
    body.append(...rows);
    all(table.tHead, "th").forEach((head, place) => {
      const word = rising ? "ascending" : "descending";
      head.setAttribute("aria-sort", place === column ? word : "none");
    });
  }

  function makeSortable(table, chooser) {
    all(table.tHead, "th").forEach((head, column) => {
      const name = head.textContent;
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = name;
      head.replaceChildren(button);
      head.setAttribute("aria-sort", "none");
      // A figure is asked for its largest first, a word for its first letter.
      const figure = head.classList.contains("figure");
      button.addEventListener("click", () => {
        const now = head.getAttribute("aria-sort");
        const rising = now === "none" ? !figure : now === "descending";
        sort(table, column, rising);
      });
      for (const rising of [true, false]) {
        chooser.add(new Option(`${name}, ${rising ? "rising" : "falling"}`, `${column} ${rising}`));
      }
    });
    chooser.addEventListener("change", () => {
      const [column, rising] = chooser.value.split(" ");
      if (rising !== undefined) sort(table, Number(column), rising === "true");
    });
  }

  function makeFilter(form, table) {
    const rows = Array.from(table.tBodies[0].rows);
    const choices = all(form, "select[data-key]");
    const words = form.querySelector("input[type=search]");
    const status = form.querySelector("[role=status]");
    for (const choice of choices) {
      const found = new Set(rows.map((row) => row.dataset[choice.dataset.key]));
      for (const word of found) choice.add(new Option(word, word));
    }
    function apply() {
      const asked = words.value.toLowerCase().split(/\s+/).filter(Boolean);
      const hiddenPages = new Set();
      let shown = 0;
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        const chosen = choices.every((c) => !c.value || row.dataset[c.dataset.key] === c.value);
        row.hidden = !(chosen && asked.every((word) => text.includes(word)));
        if (row.hidden) hiddenPages.add(row.dataset.page);
        else shown += 1;
      }
      for (const part of all(document, "[data-of]")) part.hidden = hiddenPages.has(part.dataset.of);
      status.textContent = `${shown} of ${rows.length} shown`;
    }
    form.addEventListener("input", apply);
    form.addEventListener("reset", () => setTimeout(apply));
    form.addEventListener("submit", (event) => event.preventDefault());
    apply();
    form.hidden = false;
  }

  function openTarget() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target instanceof HTMLDetailsElement) {
      target.open = true;
      target.scrollIntoView();
    }
  }

  for (const form of all(document, "form[data-table]")) {
    const table = document.getElementById(form.dataset.table);
    makeSortable(table, form.querySelector("select.order"));
    makeFilter(form, table);
  }
  for (const button of all(document, "button[data-unfold]")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const open = button.dataset.unfold === "true";
      for (const page of all(document, "details.variant")) page.open = open;
    });
  }
  addEventListener("hashchange", openTarget);
  openTarget();
})();
