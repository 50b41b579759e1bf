"use strict";
// Keys, dialogs, deciding and searching. Everything that is read works without it.
(() => {
  const $ = (query, from = document) => from.querySelector(query);
  const $$ = (query, from = document) => [...from.querySelectorAll(query)];
  const body = document.body;
  const { snapshot, cluster } = body.dataset;
  const go = (address) => { if (address) location.assign(address); };
  const link = (query) => { const found = $(query); return found && found.href; };

  // ---- deciding

  const decide = async (proposal) => {
    const about = snapshot && proposal.deed !== "undo" && proposal.deed !== "allow";
    const answer = await fetch(`/v1/decisions${about ? `?snapshot=${encodeURIComponent(snapshot)}` : ""}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(proposal),
    });
    const said = await answer.json();
    if (!answer.ok) throw new Error(said.error ? said.error.message : `the service answered ${answer.status}`);
    return said;
  };

  const words = { confirm: "Confirmed", dismiss: "Dismissed", split: "Split", merge: "Merged", allow: "Allowed", undo: "Undone:" };
  const told = (said) => `${words[said.deed]} ${said.undoes ? `decision ${said.undoes}` : said.cluster_ids.join(", ") || said.subject_kind}`;
  // What was decided is told on the next page too, with a way back.
  const remember = (said) => sessionStorage.setItem("told", JSON.stringify({ text: told(said), id: said.id }));
  const toast = (text, id) => {
    const box = $("#toast");
    $("span", box).textContent = text;
    box.dataset.id = id ?? "";
    $("button", box).hidden = id === undefined;
    box.hidden = false;
  };
  const fail = (error) => toast(error.message);
  const last = sessionStorage.getItem("told");
  if (last) {
    const { text, id } = JSON.parse(last);
    toast(text, id);
    sessionStorage.removeItem("told");
    setTimeout(() => { $("#toast").hidden = true; }, 12000);
  }

  const undo = (id) => decide({ deed: "undo", decision: Number(id) })
    .then((said) => { remember(said); location.reload(); }).catch(fail);

  // After a verdict the next cluster of the list follows, as after sorting a letter away.
  const after = (said) => {
    remember(said);
    const verdict = said.deed === "confirm" || said.deed === "dismiss";
    if (cluster && verdict && $("a[rel=next]")) go(link("a[rel=next]"));
    else if (cluster && verdict) go(body.dataset.back);
    else location.reload();
  };

  let chosen = null;
  const subject = () => cluster || (chosen && chosen.dataset.id);
  const open = (id) => {
    const dialog = $(`#${id}`);
    if (!dialog || $("dialog[open]") || (id !== "keys" && !subject())) return;
    const which = $(".which", dialog);
    if (which) which.textContent = subject();
    $$(".error", dialog).forEach((box) => { box.hidden = true; });
    dialog.showModal();
  };

  const proposals = {
    dismiss: (form) => ({ cluster_id: subject(), reason: form.reason.value }),
    merge: (form) => ({ cluster_ids: [cluster, ...form.clusters.value.split(/[\s,]+/).filter(Boolean)], reason: form.reason.value }),
    allow: (form) => {
      const [kind, ...id] = form.subject.value.split(":");
      const until = form.until.value ? `${form.until.value}T00:00:00Z` : null;
      return { subject: { [kind]: id.join(":") }, until, reason: form.reason.value };
    },
    split: (form) => {
      const parts = new Map();
      $$("input[type=radio]:checked", form).filter((box) => box.value !== "open").forEach((box) => {
        parts.set(box.value, [...(parts.get(box.value) || []), box.dataset.account]);
      });
      return { cluster_id: cluster, parts: [...parts.values()], reason: form.reason.value };
    },
  };
  $$("form[data-deed]").forEach((form) => form.addEventListener("submit", (event) => {
    event.preventDefault();
    const { deed } = form.dataset;
    const button = $("button.main", form);
    button.disabled = true;
    decide({ deed, ...proposals[deed](form) }).then(after).catch((error) => {
      button.disabled = false;
      const box = $(".error", form);
      box.textContent = error.message;
      box.hidden = false;
    });
  }));

  // ---- what buttons and keys do

  const rows = $$(".queue #clusters tbody tr");
  const choose = (row) => {
    if (chosen) chosen.classList.remove("chosen");
    chosen = row;
    if (!row) return;
    row.classList.add("chosen");
    $("a.open", row).focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  };
  const step = (way) => {
    if (!rows.length) return go(link(way > 0 ? "a[rel=next]" : "a[rel=prev]"));
    const at = rows.indexOf(chosen);
    return choose(rows[Math.min(Math.max(at + way, 0), rows.length - 1)]);
  };
  rows.forEach((row) => row.addEventListener("focusin", () => { if (row !== chosen) choose(row); }));

  const blur = () => {
    const shown = body.classList.toggle("unblurred");
    $$("[data-do=blur]").forEach((button) => {
      button.setAttribute("aria-pressed", String(shown));
      button.firstChild.textContent = shown ? "Blur all pictures " : "Show all pictures ";
    });
  };
  const deeds = {
    keys: () => open("keys"),
    close: (button) => button.closest("dialog").close(),
    confirm: () => { if (subject()) decide({ deed: "confirm", cluster_id: subject() }).then(after).catch(fail); },
    dismiss: () => open("dismiss"),
    split: () => open("split"),
    merge: () => open("merge"),
    allow: () => open("allow"),
    blur,
    "undo-last": () => { const { id } = $("#toast").dataset; if (id && !$("#toast").hidden) undo(id); },
  };
  const may = Boolean($("#dismiss"));
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-do], [data-undo]");
    if (!button) return;
    if (button.dataset.undo) undo(button.dataset.undo);
    else deeds[button.dataset.do](button);
  });
  const keys = {
    j: () => step(1), k: () => step(-1),
    n: () => { if (rows.length || !cluster) go(link("a[rel=next]")); },
    p: () => { if (rows.length || !cluster) go(link("a[rel=prev]")); },
    q: () => go(body.dataset.back || "/"),
    "/": () => { const find = $("#find"); if (find) { find.focus(); find.select(); } else go("/"); },
    "?": deeds.keys, b: blur, u: deeds["undo-last"],
    c: () => may && deeds.confirm(), d: () => may && deeds.dismiss(),
    s: () => may && deeds.split(), m: () => may && deeds.merge(), a: () => may && deeds.allow(),
  };
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input:not([type=checkbox]), select, textarea, dialog");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });

  const filter = $("#filter");
  if (filter) filter.addEventListener("change", (event) => { if (event.target.type !== "search") filter.requestSubmit(); });

  // ---- searching

  const element = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
    made.append(...children);
    return made;
  };
  const match = (found) => {
    const image = element("img", { src: `/v1/pictures/${found.picture}`, alt: "", loading: "lazy" });
    const reveal = element("input", { type: "checkbox", class: "reveal", "aria-label": `Show picture ${found.picture.slice(0, 12)}` });
    const face = element("label", { class: "face" }, reveal, image, element("span", { class: "veil", "aria-hidden": "true" }, "show"));
    image.addEventListener("error", () => face.replaceWith(
      element("div", { class: "face empty" }, element("span", {}, "no thumbnail stored"), element("code", {}, `${found.picture.slice(0, 12)}…`))));
    const name = element("a", { href: `/accounts/${encodeURIComponent(found.account_id)}` }, found.account_id);
    const caption = element("figcaption", {}, element("b", {}, found.cosine.toFixed(3)),
      element("span", { class: "detail" }, name, ` · ${found.photo_id}`));
    return element("figure", { class: "pair" }, face, caption);
  };
  const show = (results) => {
    const groups = results.flatMap((result) => result.faces);
    const sections = groups.map((face, at) => element("section", {},
      element("h2", {}, groups.length > 1 ? `Face ${at + 1}` : "Most alike"),
      face.matches.length ? element("div", { class: "pairs" }, ...face.matches.map(match)) : element("p", { class: "nothing" }, "Nothing so alike.")));
    $("#found").replaceChildren(...sections);
  };
  const base64 = async (file) => {
    const bytes = new Uint8Array(await file.arrayBuffer());
    let text = "";
    for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
    return btoa(text);
  };
  const search = $("#search");
  if (search) {
    const asked = new URLSearchParams(location.search);
    ["account", "face"].forEach((name) => { if (asked.get(name)) search[name].value = asked.get(name); });
    search.addEventListener("submit", async (event) => {
      event.preventDefault();
      const error = $(".error", search);
      error.hidden = true;
      try {
        const file = search.picture.files[0];
        const query = file ? { picture: await base64(file) } : {};
        ["account", "face"].forEach((name) => { if (search[name].value.trim()) query[name] = search[name].value.trim(); });
        const answer = await fetch("/v1/search", {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ ...query, purpose: search.purpose.value, limit: Number(search.limit.value), min_cosine: Number(search.min_cosine.value) }),
        });
        const said = await answer.json();
        if (!answer.ok) throw new Error(said.error.message);
        show(said.results);
      } catch (problem) {
        error.textContent = problem.message;
        error.hidden = false;
      }
    });
  }

  // ---- forgetting

  $$("form[data-erase]").forEach((form) => form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const error = $(".error", form);
    const stop = (text) => { error.textContent = text; error.hidden = false; };
    if (form.again.value !== form.dataset.erase) return stop("The id does not match.");
    const button = $("button.main", form);
    button.disabled = true;
    const answer = await fetch(`/v1/accounts/${encodeURIComponent(form.dataset.erase)}`, {
      method: "DELETE", headers: { "facering-purpose": form.purpose.value },
    });
    const said = await answer.json();
    if (!answer.ok) { button.disabled = false; return stop(said.error.message); }
    const receipt = $(".receipt", form);
    receipt.textContent = JSON.stringify(said, null, 2);
    receipt.hidden = false;
    return undefined;
  }));
})();
