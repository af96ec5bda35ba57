// Licensed under the Apache License, Version 2.0. See LICENSE.
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const about = JSON.parse(byId("about").textContent);
  const { summary, outcomes, places, timeline } = about;
  const place = ([folder, name]) => places[folder] + name;
  const items = JSON.parse(byId("rows").textContent).map((row) => ({
    id: row[0], line: row[1], outcome: outcomes[row[2]], code: row[3], message: row[4], error: row[5],
    image: place(row[6]), video: place(row[7]), result: row[8], attempts: row[9], elapsed: row[10],
    task: row[11], submitted: row[12], folded: row[0].normalize("NFC").toLowerCase(),
  }));

  // Text only, never markup; characters that nobody sees are spelled out, so that no id poses as another.
  const plain = (text) => String(text).replace(/[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}]/gu,
    (char) => `⟨U+${char.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);
  function make(tag, className, text) {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = plain(text);
    return node;
  }
  const number = (value) => value.toLocaleString("en-US");
  function span(seconds) {
    if (seconds < 60) return `${seconds.toFixed(1)} s`;
    if (seconds < 600) return `${Math.floor(seconds / 60)} min ${String(Math.floor(seconds % 60)).padStart(2, "0")} s`;
    const minutes = Math.round(seconds / 60);
    return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
  }
  const clock = (iso) => iso.slice(0, 19).replace("T", " ") + " UTC";
  const webUrl = (url) => /^(https:\/\/|http:\/\/(localhost|127\.0\.0\.1)[:/])/i.test(url);

  // ---- head
  const chosen = { outcome: null, code: "", text: "" };
  function writeHead() {
    byId("state").textContent = summary.complete ? "complete" : summary.finished_at ? "does not add up" : "running · reload for news";
    byId("state").classList.toggle("running", !summary.complete);
    byId("folder").textContent = plain(about.folder);
    byId("when").textContent = `· ${clock(summary.started_at)}` + (summary.finished_at ? ` to ${clock(summary.finished_at)}` : "");
    const totals = byId("totals");
    const tile = (outcome, count) => {
      const button = make("button");
      button.type = "button";
      button.append(make("b", "", number(count)));
      if (outcome) button.append(make("span", `dot ${outcome}`));
      button.append(outcome || "all items");
      button.dataset.outcome = outcome || "";
      button.disabled = count === 0;
      button.addEventListener("click", () => {
        chosen.outcome = chosen.outcome === outcome ? null : outcome;
        apply();
      });
      totals.append(button);
    };
    tile(null, summary.total);
    for (const outcome of outcomes) tile(outcome, summary[outcome]);
    const fact = (name, value) => {
      const row = make("div");
      row.append(make("dt", "", name), make("dd", "", value));
      byId("facts").append(row);
    };
    if (summary.pending) fact("pending", number(summary.pending));
    fact("submits accepted", number(summary.submits));
    fact("possibly billed without a result", number(summary.possibly_billed));
    if (summary.slot_utilisation !== null) fact("slot utilisation", `${(100 * summary.slot_utilisation).toFixed(1)} %`);
    if (summary.finished_at) fact("run took", span((Date.parse(summary.finished_at) - Date.parse(summary.started_at)) / 1000));
    const times = items.map((item) => item.elapsed).filter((value) => value !== null).sort((a, b) => a - b);
    if (times.length) fact("median processing", span(times[times.length >> 1]));
    if (about.shown < summary.total - (summary.pending || 0))
      fact("in this gallery", `${number(about.shown)} items, those in trouble first; report.jsonl has all`);
  }

  // ---- chart
  function readChart() {
    const svg = document.querySelector("#chart svg");
    if (!svg || !timeline) return;
    byId("timeline").hidden = false;
    byId("top").textContent = timeline.top;
    byId("half").textContent = timeline.top % 2 ? "" : timeline.top / 2;
    const length = timeline.end - timeline.start;
    for (let part = 0; part <= 4; part++) byId("ticks").append(make("span", "", part ? `+${span((length * part) / 4)}` : "start"));
    const reading = byId("reading");
    const rest = timeline.slots ? `of ${timeline.slots}, dashed` : "";
    reading.textContent = rest;
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const share = Math.min(0.9999, Math.max(0, (event.clientX - box.left) / box.width));
      const value = timeline.values[Math.floor(share * timeline.values.length)];
      const cursor = svg.querySelector(".cursor");
      cursor.setAttribute("x1", share * 600);
      cursor.setAttribute("x2", share * 600);
      reading.textContent = `${value.toFixed(1)} busy at +${span(length * share)} (${clock(new Date(1000 * (timeline.start + length * share)).toISOString())})`;
    });
    svg.addEventListener("pointerleave", () => { reading.textContent = rest; });
  }

  // ---- cards: only those in sight exist
  const isPicture = (url) => /\.(png|jpe?g|webp|gif)$/i.test(url);
  function stage(kind, url, playable, why) {
    const figure = make("figure");
    const box = make("div", "stage");
    const say = (text) => box.replaceChildren(make("p", "", text));
    if (!url || !playable) say(why);
    else {
      const still = kind === "image" || (kind === "result" && isPicture(url));
      const media = make(still ? "img" : "video");
      if (still) {
        media.alt = "";
        media.decoding = "async";
      } else {
        media.muted = media.loop = media.playsInline = true;
        media.preload = "metadata";
      }
      media.addEventListener("error", () => { if (media.getAttribute("src")) say(`${name(url)} can't be loaded from here`); });
      media.dataset.src = url;
      box.append(media);
    }
    figure.append(box, make("figcaption", "", kind));
    return figure;
  }
  const name = (url) => url.slice(url.lastIndexOf("/") + 1);
  const input = (kind, url) => stage(kind === "image" ? "image" : "template", url, webUrl(url), url || "no URL in good form");
  const reason = (item) => [item.code, item.message, item.error].filter((part) => part !== null && part !== "").join(" · ");
  const effort = (item) => [item.elapsed !== null ? span(item.elapsed) : "",
    item.attempts > 1 ? `${item.attempts} attempts` : ""].filter(Boolean).join(" · ");
  function trio(item) {
    const node = make("div", "trio");
    node.append(input("image", item.image), input("template", item.video),
      stage("result", item.result, true, item.result ? "" : `no result here: ${item.outcome}`));
    return node;
  }
  const load = (node) => node.querySelectorAll("[data-src]").forEach((media) => {
    media.src = media.dataset.src;
    delete media.dataset.src;
  });
  const play = (node) => node.querySelectorAll("video").forEach((video) => { if (video.src) video.play().catch(() => {}); });
  const pause = (node) => node.querySelectorAll("video").forEach((video) => video.pause());
  // A browser gives a page a few dozen players only: what is out of sight hands its own back.
  const unload = (node) => node.querySelectorAll("video").forEach((video) => { video.removeAttribute("src"); video.load(); });

  function card(item, position) {
    const node = make("article", "card");
    node.setAttribute("role", "listitem");
    node.setAttribute("aria-setsize", shown.length);
    node.setAttribute("aria-posinset", position + 1);
    node.tabIndex = 0;
    const line = make("div", "line");
    const title = make("bdi", "name", item.id);
    title.title = plain(item.id);
    const badge = make("span", `badge ${item.outcome}`);
    badge.append(make("span", "dot"), item.outcome);
    line.append(title, badge);
    const note = make("div", "note", item.result ? effort(item) : reason(item));
    note.title = note.textContent;
    node.append(trio(item), line, note);
    node.addEventListener("pointerenter", () => play(node));
    node.addEventListener("pointerleave", () => pause(node));
    node.addEventListener("focus", () => play(node));
    node.addEventListener("blur", () => pause(node));
    node.addEventListener("click", () => open(item));
    node.addEventListener("keydown", (event) => { if (event.key === "Enter") open(item); });
    return node;
  }

  // ---- grid
  const grid = byId("grid");
  const GAP = 12, EXTRA = 80;
  let shown = items, columns = 1, width = 0, height = 0, settled = 0;
  const cards = new Map();
  function clear() {
    cards.forEach((node) => { unload(node); node.remove(); });
    cards.clear();
  }
  function measure() {
    const room = grid.clientWidth;
    columns = Math.max(1, Math.min(4, Math.floor((room + GAP) / (380 + GAP))));
    width = (room - GAP * (columns - 1)) / columns;
    height = Math.round(((width - 34) / 3) * (4 / 3)) + EXTRA;
    grid.style.height = `${Math.ceil(shown.length / columns) * (height + GAP)}px`;
  }
  function draw() {
    const top = grid.getBoundingClientRect().top;
    const row = height + GAP;
    const first = Math.max(0, Math.floor(-top / row)) * columns;
    const last = Math.min(shown.length, Math.ceil((innerHeight - top) / row) * columns);
    cards.forEach((node, at) => {
      if (at >= first && at < last) return;
      unload(node);
      node.remove();
      cards.delete(at);
    });
    for (let at = first; at < last; at++) {
      if (cards.has(at)) continue;
      const node = card(shown[at], at);
      node.style.width = `${width}px`;
      node.style.height = `${height}px`;
      node.style.transform = `translate(${(at % columns) * (width + GAP)}px, ${Math.floor(at / columns) * row}px)`;
      cards.set(at, node);
      grid.append(node);
    }
    // What flies by is not worth a request.
    clearTimeout(settled);
    settled = setTimeout(() => load(grid), 120);
  }
  function apply() {
    const text = chosen.text.normalize("NFC").toLowerCase();
    shown = items.filter((item) => (!chosen.outcome || item.outcome === chosen.outcome)
      && (chosen.code === "" || String(item.code) === chosen.code) && (!text || item.folded.includes(text)));
    document.querySelectorAll("#totals button").forEach((button) =>
      button.setAttribute("aria-pressed", String((button.dataset.outcome || null) === chosen.outcome)));
    byId("found").textContent = `${number(shown.length)} of ${number(items.length)} items`;
    clear();
    measure();
    draw();
  }
  function writeFilters() {
    const codes = new Map();
    for (const item of items) if (item.code !== null) codes.set(item.code, (codes.get(item.code) || 0) + 1);
    const select = byId("code");
    const option = (value, text) => { const node = make("option", "", text); node.value = value; select.append(node); };
    option("", "every code");
    [...codes].sort((a, b) => a[0] - b[0]).forEach(([code, count]) => option(code, `${code} (${number(count)})`));
    select.addEventListener("change", () => { chosen.code = select.value; apply(); });
    byId("search").addEventListener("input", (event) => { chosen.text = event.target.value; apply(); });
    byId("reset").addEventListener("click", () => {
      Object.assign(chosen, { outcome: null, code: "", text: "" });
      select.value = byId("search").value = "";
      apply();
    });
  }

  // ---- one item
  const dialog = byId("detail");
  function open(item) {
    const list = make("dl");
    const fact = (name, value) => { if (value !== null && value !== "") list.append(make("dt", "", name), make("dd", "", value)); };
    fact("outcome", item.outcome);
    fact("line of the manifest", item.line);
    fact("code", item.code);
    fact("the vendor says", item.message);
    fact("error", item.error);
    fact("task", item.task);
    fact("attempts", item.attempts);
    fact("submitted", item.submitted && clock(item.submitted));
    fact("processing", item.elapsed === null ? null : span(item.elapsed));
    fact("image", item.image);
    fact("template", item.video);
    fact("result", item.result);
    unload(dialog);
    byId("body").replaceChildren(make("h3", "", item.id), trio(item), list);
    dialog.showModal();
    load(dialog);
    play(dialog);
  }
  byId("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => {
    // The event comes late: the next item may be open by now.
    if (dialog.open) return;
    unload(dialog);
    byId("body").replaceChildren();
  });

  let frame = 0;
  const later = (work) => { cancelAnimationFrame(frame); frame = requestAnimationFrame(work); };
  addEventListener("scroll", () => later(draw), { passive: true });
  addEventListener("resize", () => later(() => { clear(); measure(); draw(); }));
  writeHead();
  readChart();
  writeFilters();
  apply();
  document.documentElement.dataset.ready = "yes";
})();
