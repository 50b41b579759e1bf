"use strict";
// The page reads well without this script; it adds sorting, filtering and opening of linked clusters.
(() => {
  const $ = (id) => document.getElementById(id);
  const table = $("clusters");

  const openTarget = () => {
    const target = location.hash.length > 1 && $(location.hash.slice(1));
    const box = target && target.closest("details.cluster");
    if (!box) return;
    box.open = true;
    box.scrollIntoView({ block: "start" });
    box.querySelector("summary").focus({ preventScroll: true });
  };
  addEventListener("hashchange", openTarget);
  openTarget();
  // A second click on the same link changes no hash, but should open its cluster again.
  document.addEventListener("click", (event) => {
    const link = event.target.closest && event.target.closest("a[href^='#c']");
    if (link && link.hash === location.hash) openTarget();
  });

  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details.cluster:not([open])")];
    closed.forEach((box) => { box.open = true; });
  });
  addEventListener("afterprint", () => closed.forEach((box) => { box.open = false; }));

  if (!table) return;
  const body = table.tBodies[0];
  const rows = [...body.rows];

  const heads = [...table.tHead.rows[0].cells].filter((cell) => cell.dataset.key);
  heads.forEach((cell) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = cell.textContent;
    cell.replaceChildren(button);
    button.addEventListener("click", () => {
      const { key } = cell.dataset;
      const text = "text" in cell.dataset;
      const first = text || key === "change" ? "ascending" : "descending";
      const other = first === "ascending" ? "descending" : "ascending";
      const way = cell.getAttribute("aria-sort") === first ? other : first;
      heads.forEach((head) => head.removeAttribute("aria-sort"));
      cell.setAttribute("aria-sort", way);
      const sign = way === "ascending" ? 1 : -1;
      const compare = text
        ? (a, b) => a.dataset[key].localeCompare(b.dataset[key], undefined, { numeric: true })
        : (a, b) => Number(a.dataset[key]) - Number(b.dataset[key]);
      rows.sort((a, b) => sign * compare(a, b));
      body.append(...rows);
    });
  });

  const [find, change, kind, least, size] = ["find", "change", "kind", "least", "size"].map($);
  const filter = () => {
    const words = find.value.trim().toLowerCase();
    let shown = 0;
    rows.forEach((row) => {
      const data = row.dataset;
      const fits = (!words || data.id.toLowerCase().includes(words) || data.kinds.includes(words))
        && (!change.value || data.word === change.value)
        && (!kind.value || data.kinds.split("|").includes(kind.value))
        && Number(data.score) >= Number(least.value)
        && Number(data.accounts) >= Number(size.value);
      row.hidden = !fits;
      shown += fits ? 1 : 0;
    });
    $("shown").textContent = shown === rows.length ? `${rows.length} shown` : `${shown} of ${rows.length} shown`;
  };
  $("tools").hidden = false;
  $("tools").addEventListener("input", filter);
  $("tools").addEventListener("submit", (event) => event.preventDefault());
  filter();
})();
