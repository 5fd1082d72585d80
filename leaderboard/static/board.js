// Boards: sorting by any column, filters, search. The state is in the address after "#", so that a link holds it and
// the back button undoes it. Names from cards are only ever compared and read, never parsed as markup.
"use strict";
(() => {
  const bar = document.getElementById("filters");
  const tables = [...document.querySelectorAll("table.board")];
  const first = new Map(tables.map((table) => [table, [...table.tBodies[0].rows]]));
  const anchored = () => {
    const start = location.hash.slice(1).split("&")[0];
    return start.includes("=") ? "" : start;
  };

  // The address: "#anchor&q=text&kind=ranked&sort.BOARD=COLUMN:asc".
  function state() {
    const parts = location.hash.slice(1).split("&").filter((part) => part.includes("="));
    return new URLSearchParams(parts.join("&"));
  }
  function address(next, anchor) {
    const text = [anchor, next.toString()].filter(Boolean).join("&");
    return `#${text}`;
  }
  // Typing replaces the address, everything else adds to the history.
  function change(name, value, replace) {
    const next = state();
    if (value) next.set(name, value);
    else next.delete(name);
    const to = address(next, "");
    if (to === (location.hash || "#")) return;
    if (replace) location.replace(to);
    else location.hash = to;
  }

  const folded = (text) => text.normalize("NFKD").toLowerCase();
  const words = new Map();
  function haystack(row) {
    if (!words.has(row)) {
      const head = row.querySelector("th, dt");
      const family = row.dataset.family || "";
      words.set(row, folded(`${head ? head.textContent : ""} ${family} ${row.dataset.tags || ""}`));
    }
    return words.get(row);
  }
  function wanted(row, now) {
    const has = (name, value) => !now.get(name) || now.get(name) === value;
    const tag = now.get("tag");
    const terms = folded(now.get("q") || "").split(/\s+/).filter(Boolean);
    return has("family", row.dataset.family) && has("kind", row.dataset.kind) &&
      (!tag || (row.dataset.tags || "").split(" ").includes(tag)) &&
      terms.every((term) => haystack(row).includes(term));
  }

  function filter(now) {
    const seen = new Set();
    const found = new Set();
    for (const row of document.querySelectorAll("[data-model]")) {
      row.hidden = !wanted(row, now);
      seen.add(row.dataset.model);
      if (!row.hidden) found.add(row.dataset.model);
    }
    const status = now.get("status");
    for (const list of document.querySelectorAll(".unscored")) {
      list.hidden = (status && status !== list.dataset.status) || !list.querySelector("[data-model]:not([hidden])");
    }
    for (const table of tables) {
      const frame = table.closest(".scroll");
      const empty = !table.querySelector("tbody tr:not([hidden])");
      frame.hidden = empty || Boolean(status && status !== "ok" && !table.classList.contains("glance"));
      const notes = frame.parentElement.querySelectorAll(":scope > .notes, :scope > .whole");
      for (const note of notes) if (tables.filter((t) => t.closest(".scroll").parentElement === frame.parentElement).length === 1) note.hidden = frame.hidden;
      if (table.dataset.whole) lead(table, now);
    }
    for (const section of document.querySelectorAll("section[data-dataset]")) {
      const off = ["dataset", "benchmark", "suite"].some((name) =>
        name in section.dataset && now.get(name) && now.get(name) !== section.dataset[name]);
      section.hidden = off;
    }
    for (const head of document.querySelectorAll(".glance th[data-benchmark]")) {
      const off = ["benchmark", "suite"].some((name) => now.get(name) && now.get(name) !== head.dataset[name]);
      for (const row of head.closest("table").rows) row.cells[head.cellIndex].hidden = off;
    }
    return [found.size, seen.size];
  }

  // A board that is cut here is whole on its own page: its link takes search and filters there.
  function lead(table, now) {
    const next = new URLSearchParams();
    for (const name of ["q", "family", "tag", "kind", "status"]) if (now.get(name)) next.set(name, now.get(name));
    const note = table.closest(".scroll").nextElementSibling;
    const link = note && note.classList.contains("whole") ? note.querySelector("a") : null;
    if (link) link.setAttribute("href", table.dataset.whole + (next.toString() ? `#${next}` : ""));
  }

  function value(row, column, text) {
    const cell = row.cells[column];
    if (text) return folded(cell.textContent.trim());
    return cell.dataset.v === undefined ? NaN : Number(cell.dataset.v);
  }
  function order(table, column, way) {
    const head = column && [...table.tHead.rows[0].cells].find((cell) => cell.dataset.sort === column);
    const rows = first.get(table);
    let sorted = rows;
    if (head && (way === "asc" || way === "desc")) {
      const text = head.classList.contains("model");
      const sign = way === "asc" ? 1 : -1;
      const keyed = rows.map((row, place) => ({ row, place, key: value(row, head.cellIndex, text) }));
      keyed.sort((a, b) => {
        if (!text && (Number.isNaN(a.key) || Number.isNaN(b.key))) {
          return Number.isNaN(a.key) - Number.isNaN(b.key) || a.place - b.place;  // what was not measured comes last
        }
        return (a.key < b.key ? -sign : a.key > b.key ? sign : 0) || a.place - b.place;
      });
      sorted = keyed.map((one) => one.row);
    }
    if (sorted.some((row, place) => row !== table.tBodies[0].rows[place])) table.tBodies[0].append(...sorted);
    table.classList.toggle("resorted", sorted.some((row, place) => row !== rows[place]));
    for (const cell of table.tHead.rows[0].cells) {
      if (!cell.dataset.sort) continue;
      if (cell === head && sorted !== rows) cell.setAttribute("aria-sort", way === "asc" ? "ascending" : "descending");
      else cell.removeAttribute("aria-sort");
    }
  }

  let filtered = false;  // a page without a state needs no pass over its rows
  function show() {
    const now = state();
    for (const table of tables) {
      const [, column, way] = /^(.*):(asc|desc)$/.exec(now.get(`sort.${table.dataset.board}`) || now.get("sort") || "") || [];
      order(table, column, way);
    }
    if (!bar) return;
    if (!filtered && !now.toString()) return;
    filtered = true;
    const [found, seen] = filter(now);
    for (const field of bar.querySelectorAll("input, select")) {
      const to = now.get(field.name) || "";
      if (field.value !== to) field.value = to;
    }
    const any = [...bar.querySelectorAll("input, select")].some((field) => now.get(field.name));
    bar.querySelector("[role=status]").textContent = any ? `${found} of ${seen} models` : "";
    bar.querySelector("[name=clear]").hidden = !any;
  }

  // Headers become buttons only here: without a script there is nothing to press.
  function pressable(table, head) {
    const label = [...head.childNodes].find((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim()) ||
      head.querySelector("a");
    if (!label) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    if (table.classList.contains("glance") && label.nodeType !== Node.TEXT_NODE) {
      button.setAttribute("aria-label", `sort by ${label.textContent}`);
      label.after(button);
    } else {
      button.textContent = label.textContent.trim();
      label.replaceWith(button);
    }
    button.addEventListener("click", () => {
      const opposite = head.dataset.way === "asc" ? "desc" : "asc";
      const name = `sort.${table.dataset.board}`;
      const key = head.dataset.sort;
      const was = state().get(name);
      if (table.dataset.whole) {  // sorting the first lines of a board would hide the best of the others
        location.href = `${table.dataset.whole}#${new URLSearchParams({ sort: `${key}:${head.dataset.way}` })}`;
      } else if (was === `${key}:${head.dataset.way}`) change(name, `${key}:${opposite}`);
      else if (was === `${key}:${opposite}`) change(name, "");
      else change(name, `${key}:${head.dataset.way}`);
    });
  }

  for (const table of tables) {
    for (const head of table.tHead.rows[0].cells) if (head.dataset.sort) pressable(table, head);
  }
  if (bar && tables.length) {
    bar.hidden = false;
    bar.addEventListener("input", (event) => {
      if (event.target.name) change(event.target.name, event.target.value, event.target.type === "search");
    });
    bar.querySelector("[name=clear]").addEventListener("click", () => {
      const next = state();
      for (const field of bar.querySelectorAll("input, select")) next.delete(field.name);
      location.hash = address(next, "");
    });
  }
  addEventListener("hashchange", show);
  show();
  const target = anchored() && document.getElementById(decodeURIComponent(anchored()));
  if (target && location.hash.includes("&")) target.scrollIntoView();
})();
