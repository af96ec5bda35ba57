// Licensed under the Apache License, Version 2.0. See LICENSE.
(() => {
  const { about, dag, seen, byId, make, number, span, clock, bytes, name, fact, badge, ask, question,
    readInstances, goingOn, followTheme, writeProgress, writeAlerts, writeChart, writeErrors } = jimeng;

  // ---- unknowns
  const HEADERS = { "Content-Type": "application/json", [about.action_header]: "1" };
  let decided = () => {};
  function writeUnknowns() {
    const { unknowns, more, can_edit: canEdit } = seen.progress;
    byId("decide").hidden = !unknowns.length;
    if (!unknowns.length) return;
    const mine = unknowns.filter((each) => each.mine).length;
    const others = unknowns.length - mine;
    const where = [mine ? `${number(mine)} of this run` : "", others ? `${number(others)}${more ? " or more" : ""} of other runs of this DAG` : ""];
    byId("decide-title").textContent = `${mine + others === 1 ? "One submit needs" : `${number(mine + others)} submits need`} a decision: ${where.filter(Boolean).join(", ")}`;
    byId("unknowns").replaceChildren(...unknowns.map((each) => oneUnknown(each, canEdit)));
  }
  function oneUnknown(row, canEdit) {
    const node = make("article", "case"), words = make("div"), list = make("dl");
    node.dataset.row = row.id;
    words.append(make("h4", "", [row.image, row.video].filter(Boolean).map(name).join(" + ") || `row ${row.id}`));
    const said = make("p", "said");
    if (row.code !== null) said.append(make("span", "code", row.code), " ");
    said.append(make("span", "", [row.message, row.meaning].filter(Boolean).join(" · ")));
    words.append(said);
    if (row.never_sent) words.append(make("p", "soft", "No send ever began for it: releasing it costs nothing."));
    if (row.forgotten) words.append(make("p", "soft", "The send was more than 12 hours ago, and the vendor keeps a task that long: an adopted task is found expired."));
    fact(list, row.sent_at ? "sent" : "claimed", clock(row.sent_at || row.created_at));
    fact(list, "by", `${row.airflow_task}${row.map_index < 0 ? "" : `[${row.map_index}]`}`);
    if (!row.mine) fact(list, "run", row.run_id);
    fact(list, "account", row.account);
    fact(list, "request id", row.request_id);
    fact(list, "row of the ledger", row.id);
    words.append(list);
    for (const line of row.note.split("\n").filter(Boolean)) words.append(make("p", "soft", line));
    const buttons = make("div", "buttons");
    if (canEdit) {
      const adopt = make("button", "main", "It is there: adopt its task id");
      const release = make("button", "", "It is not there: release it");
      adopt.type = release.type = "button";
      adopt.dataset.action = "adopt";
      release.dataset.action = "release";
      adopt.addEventListener("click", () => decide(row, "adopt"));
      release.addEventListener("click", () => decide(row, "release"));
      buttons.append(adopt, release);
      if (row.wait_seconds > 0) {
        release.disabled = true;
        buttons.append(make("small", "", `release in ${span(Math.ceil(row.wait_seconds))}: the send may still be on its way`));
      }
    } else buttons.append(make("small", "", "To decide takes permission to edit this DAG."));
    node.append(words, buttons);
    return node;
  }
  const WORDS = {
    adopt: ["Adopt the vendor's task", "Look the task up in the vendor's console or bill, by the time of the send. The next run waits for this task, lands its result and pays nothing more. If it is another item's task, its result lands in the wrong place.", "Adopt"],
    release: ["Release for another attempt", "Look at the vendor's console or bill first. If the vendor did accept this submit, it is billed for that, and the next run pays a second time.", "Release"],
  };
  function decide(row, action) {
    const [title, words, yes] = WORDS[action];
    const dialog = byId("ask"), problem = byId("ask-problem"), reason = byId("ask-reason"), id = byId("ask-id");
    byId("ask-title").textContent = title;
    byId("ask-words").textContent = row.never_sent && action === "release" ? "No send ever began for it: this costs nothing. The next run submits it." : words;
    byId("ask-yes").textContent = yes;
    byId("ask-id-label").hidden = action !== "adopt";
    reason.value = id.value = problem.textContent = "";
    decided = async () => {
      if (action === "adopt" && !id.value.trim()) { problem.textContent = "Which task? Give its id."; return; }
      if (reason.value.trim().length < 3) { problem.textContent = "Say why, in a few words."; return; }
      byId("ask-yes").disabled = true;
      const body = { revision: row.revision, reason: reason.value, ...(action === "adopt" ? { task_id: id.value } : {}) };
      try {
        const told = await ask(`${dag}/unknowns/${row.id}/${action}`, { method: "POST", headers: HEADERS, body: JSON.stringify(body) });
        dialog.close();
        seen.problem = "";
        await look();
        byId("found").textContent = told.told;
      } catch (error) {
        problem.textContent = error.message;
      } finally {
        byId("ask-yes").disabled = false;
      }
    };
    dialog.showModal();
  }
  byId("ask-no").addEventListener("click", () => byId("ask").close());
  byId("ask").querySelector("form").addEventListener("submit", (event) => { event.preventDefault(); decided(); });

  // ---- items
  const TABS = { landed: "Landed", running: "At the vendor", trouble: "In trouble" };
  const EMPTY = { landed: "Nothing has landed yet.", running: "Nothing is at the vendor now.", trouble: "Nothing is in trouble." };
  let chosen = "landed", before = null, loading = false, known = new Set();
  const grid = byId("grid");
  const source = (item) => `${dag}/results/${item.id}?run_id=${encodeURIComponent(about.run_id)}`;
  // A browser gives a page a few dozen players only: what is out of sight hands its own back.
  const sight = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting && !target.src) target.src = target.dataset.src;
      else if (!isIntersecting && target.src) { target.removeAttribute("src"); target.load(); }
    }
  }, { rootMargin: "200px" });
  function stage(item, controls) {
    const box = make("div", "stage");
    const say = (text) => box.replaceChildren(make("p", "", text));
    if (!item.playable) {
      say(item.state === "landed" ? "no landing of it is known any more" : [item.code, item.message].filter((each) => each !== null && each !== "").join(" · ") || item.state);
      return box;
    }
    const picture = /\.(png|jpe?g|webp)$/i.test(item.name);
    const media = make(picture ? "img" : "video");
    if (picture) media.alt = "";
    else {
      media.muted = media.loop = media.playsInline = true;
      media.preload = "metadata";
      media.controls = controls;
    }
    media.dataset.src = source(item);
    media.addEventListener("error", async () => {
      if (!media.getAttribute("src")) return;
      say(await ask(media.dataset.src).then(() => "This browser can't play it.", (error) => error.message));
    });
    box.append(media);
    if (picture || controls) media.src = media.dataset.src;
    else sight.observe(media);
    return box;
  }
  function card(item) {
    const node = make("article", "item"), line = make("div", "line");
    node.setAttribute("role", "listitem");
    node.tabIndex = 0;
    node.dataset.row = item.id;
    const title = make("bdi", "name", item.name);
    title.title = title.textContent;
    line.append(title, badge(item.state));
    const since = item.submitted_at && seen.progress ? Math.max(0, seen.progress.now - item.submitted_at) : null;
    const told = item.playable ? [item.seconds ? `${span(item.seconds)} at the vendor` : "", bytes(item.size)] : [since !== null && chosen === "running" ? `for ${span(since)}` : "", item.image ? name(item.image) : ""];
    node.append(stage(item, false), line, make("div", "note", told.filter(Boolean).join(" · ")));
    const video = () => node.querySelector("video");
    const play = () => { if (video() && video().src) video().play().catch(() => {}); };
    const pause = () => { if (video()) video().pause(); };
    node.addEventListener("pointerenter", play);
    node.addEventListener("pointerleave", pause);
    node.addEventListener("focus", play);
    node.addEventListener("blur", pause);
    node.addEventListener("click", () => open(item));
    node.addEventListener("keydown", (event) => { if (event.key === "Enter") open(item); });
    return node;
  }
  function open(item) {
    const list = make("dl");
    const row = (title, value) => { if (value !== null && value !== undefined && value !== "") list.append(make("dt", "", title), make("dd", "", value)); };
    row("state", item.state);
    if (!item.playable) row("code", item.code);
    row("the vendor says", item.message);
    row("image", item.image);
    row("template", item.video);
    row("asked for by", `${item.airflow_task}${item.map_index < 0 ? "" : `[${item.map_index}]`}`);
    row("task at the vendor", item.task_id);
    row("request id", item.request_id);
    row("attempt", item.attempt);
    row("submitted", item.submitted_at && clock(item.submitted_at));
    row("landed", item.landed_at && clock(item.landed_at));
    row("at the vendor for", item.seconds && span(item.seconds));
    row("size", item.size && `${number(item.size)} bytes`);
    row("SHA-256", item.sha256);
    row("row of the ledger", item.id);
    byId("body").replaceChildren(make("h3", "", item.name), stage(item, true), list);
    byId("detail").showModal();
    const video = byId("body").querySelector("video");
    if (video) video.play().catch(() => {});
  }
  const closeDetail = () => { byId("body").replaceChildren(); };
  byId("detail").querySelector(".close").addEventListener("click", () => byId("detail").close());
  byId("detail").addEventListener("click", (event) => { if (event.target === byId("detail")) byId("detail").close(); });
  byId("detail").addEventListener("close", closeDetail);

  async function readItems(from) {
    const words = question();
    words.append("shown", chosen);
    if (from !== null) words.append("before", from);
    return ask(`${dag}/items?${words}`);
  }
  const forget = (node) => node.querySelectorAll("video").forEach((video) => { sight.unobserve(video); video.removeAttribute("src"); video.load(); });
  async function show(fresh) {
    if (loading) return;
    loading = true;
    try {
      const asked = chosen;
      const page = await readItems(fresh ? null : before);
      if (asked !== chosen) return;
      if (fresh && chosen !== "landed") { [...grid.children].forEach(forget); grid.replaceChildren(); known = new Set(); }
      // All of a full page are new: there may be more between it and what is shown, so begin anew.
      if (fresh && page.before !== null && page.items.every((item) => !known.has(item.id))) {
        [...grid.children].forEach(forget);
        grid.replaceChildren();
        known = new Set();
        before = null;
      }
      const cards = page.items.filter((item) => !known.has(item.id)).map((item) => { known.add(item.id); return card(item); });
      if (fresh && chosen === "landed" && before !== null) grid.prepend(...cards);
      else if (fresh) { grid.prepend(...cards); before = page.before; }
      else { grid.append(...cards); before = page.before; }
      byId("more").hidden = before === null;
      byId("nothing").hidden = grid.children.length > 0;
      byId("nothing").textContent = EMPTY[chosen];
    } finally {
      loading = false;
    }
  }
  function writeTabs() {
    byId("tabs").replaceChildren(...Object.entries(TABS).map(([key, title]) => {
      const button = make("button", "", title);
      button.type = "button";
      button.dataset.shown = key;
      button.setAttribute("aria-pressed", String(key === chosen));
      button.addEventListener("click", () => choose(key));
      return button;
    }));
  }
  function choose(key) {
    chosen = key;
    before = null;
    known = new Set();
    [...grid.children].forEach(forget);
    grid.replaceChildren();
    byId("found").textContent = "";
    writeTabs();
    show(true).catch(tell);
  }
  byId("more").addEventListener("click", () => show(false).catch(tell));

  // ---- again and again
  let timer = 0, landed = -1, instancesAt = 0;
  const SOON = 3000, LATE = 20000;
  function tell(error) {
    seen.problem = error.status === 401 ? "Your session has ended: reload Airflow and sign in again."
      : error.status === 403 ? "You may not see this: your role lacks permission for this DAG's task instances." : error.message;
    writeAlerts();
  }
  async function look() {
    clearTimeout(timer);
    try {
      if (seen.instances.length < 100 || Date.now() - instancesAt > 30000) {
        seen.instances = await readInstances();
        instancesAt = Date.now();
      }
      seen.progress = await ask(`${dag}/progress?${question()}`);
      seen.at = Date.now();
      seen.problem = "";
      byId("all").hidden = false;
      writeProgress();
      writeChart(seen.progress.timeline);
      writeErrors(seen.progress.errors);
      writeUnknowns();
      writeAlerts();
      const now = JSON.stringify(seen.progress.counts);
      if (now !== landed || chosen === "running") { landed = now; await show(true); }
      document.documentElement.dataset.ready = "yes";
    } catch (error) {
      tell(error);
      document.documentElement.dataset.ready = "no";
    }
    clearTimeout(timer);
    if (!document.hidden) timer = setTimeout(look, goingOn() ? SOON : LATE);
  }
  document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
  setInterval(() => {
    if (seen.at) byId("fresh").textContent = `updated ${span((Date.now() - seen.at) / 1000)} ago`;
  }, 1000);
  followTheme();
  writeTabs();
  look();
})();
