// Licensed under the Apache License, Version 2.0. See LICENSE.
"use strict";
const jimeng = (() => {
  const byId = (id) => document.getElementById(id);
  const about = JSON.parse(byId("about").textContent);
  const airflow = location.pathname.slice(0, location.pathname.indexOf("/jimeng/view/"));
  const dag = `${airflow}/jimeng/api/dags/${encodeURIComponent(about.dag_id)}`;
  const seen = { instances: [], progress: null, at: 0, problem: "" };

  // ---- words. Text only, never markup; characters that nobody sees are spelled out, so that no id poses as another.
  const plain = (text) => String(text).replace(/[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}]/gu,
    (char) => `⟨U+${char.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);
  function make(tag, className, text) {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined && text !== null) node.textContent = plain(text);
    return node;
  }
  const number = (value) => Number(value).toLocaleString("en-US");
  const plural = (value, word) => `${number(value)} ${word}${value === 1 ? "" : "s"}`;
  function span(seconds) {
    if (seconds < 60) return `${Math.round(seconds)} s`;
    if (seconds < 600) return `${Math.floor(seconds / 60)} min ${String(Math.floor(seconds % 60)).padStart(2, "0")} s`;
    const minutes = Math.round(seconds / 60);
    return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
  }
  const clock = (seconds) => new Date(1000 * seconds).toISOString().slice(0, 19).replace("T", " ") + " UTC";
  const bytes = (size) => size < 1e6 ? `${(size / 1e3).toFixed(0)} kB` : `${(size / 1e6).toFixed(1)} MB`;
  const name = (url) => url.slice(url.lastIndexOf("/") + 1);
  function fact(list, title, value) {
    if (value === null || value === undefined || value === "") return;
    const row = make("div");
    row.append(make("dt", "", title), make("dd", "", value));
    list.append(row);
  }
  const badge = (kind) => {
    const node = make("span", `badge ${kind}`);
    node.append(make("span", "dot"), kind);
    return node;
  };

  // ---- Airflow's own light or dark, where it can be seen; else the browser's
  function followTheme() {
    try {
      const root = window.parent.document.documentElement;
      if (window.parent === window) return;
      const copy = () => {
        const dark = root.classList.contains("dark") || root.dataset.theme === "dark";
        const light = root.classList.contains("light") || root.dataset.theme === "light";
        if (dark || light) document.documentElement.dataset.theme = dark ? "dark" : "light";
      };
      copy();
      new MutationObserver(copy).observe(root, { attributes: true });
    } catch { /* not within Airflow */ }
  }

  // ---- asking
  class Refused extends Error {
    constructor(status, words) { super(words); this.status = status; }
  }
  async function ask(url, options) {
    const answer = await fetch(url, { credentials: "same-origin", cache: "no-store", ...options });
    const told = await answer.json().catch(() => ({}));
    if (answer.ok) return told;
    const detail = told.detail;
    const words = Array.isArray(detail) ? detail.map((each) => each.msg).join("; ") : detail;
    throw new Refused(answer.status, typeof words === "string" ? words : `HTTP ${answer.status}`);
  }
  async function readInstances() {
    const path = `${airflow}/api/v2/dags/${encodeURIComponent(about.dag_id)}/dagRuns/${encodeURIComponent(about.run_id)}/taskInstances`;
    const found = [];
    for (;;) {
      const page = await ask(`${path}?limit=100&offset=${found.length}`);
      found.push(...page.task_instances);
      if (!page.task_instances.length || found.length >= page.total_entries) break;
    }
    const wanted = (each) => !about.task_id || (each.task_id === about.task_id && each.map_index === about.map_index);
    return found.filter(wanted);
  }
  const DONE = ["success", "failed", "skipped", "upstream_failed", "removed"];
  const goingOn = () => seen.instances.some((each) => !DONE.includes(each.state));
  const IDLE = ["EmptyOperator", "BashOperator", "ExternalPythonOperator"];
  function question() {
    // Map indexes as ranges: a thousand of them are one word.
    const tasks = new Map();
    const ours = (each) => !IDLE.includes(each.operator_name);
    for (const each of seen.instances.filter(ours)) tasks.set(each.task_id, [...(tasks.get(each.task_id) || []), each.map_index]);
    const words = new URLSearchParams({ run_id: about.run_id });
    for (const [task, indexes] of [...tasks].slice(0, 200)) {
      const top = Math.max(...indexes), low = Math.min(...indexes);
      words.append("task", top < 0 ? task : low < 0 || low === top ? `${task}:${low}` : `${task}:${low}-${top}`);
      if (low < 0 && top >= 0) words.append("task", `${task}:0-${top}`);
    }
    return words;
  }

  // ---- progress
  const MEANING = {
    landed: "paid, and stored", reused: "known before, nothing paid", landing: "finished, being stored", running: "at the vendor",
    sending: "being submitted", waiting: "not sent yet", unknown: "needs a decision", failed: "not billed", refused: "nothing created, nothing paid",
    expired: "possibly billed", invalid: "never sent", skipped: "left for the next run", released: "the next run submits again",
  };
  const SINGLE = ["JimengMotionImitationOperator", "JimengSubmitTaskOperator"];
  function counted() {
    const { counts, total } = seen.progress;
    const found = { ...counts };
    if (total !== null) return { counts: found, total };
    // No report says how many there are: as many as there are task instances that each want one.
    const single = seen.instances.filter((each) => SINGLE.includes(each.operator_name));
    const sum = () => Object.values(found).reduce((all, each) => all + each, 0);
    const bulk = seen.instances.some((each) => each.operator_name === "JimengBatchOperator");
    if (bulk || !single.length) return { counts: found, total: null };
    const good = single.filter((each) => each.state === "success").length;
    found.reused = Math.max(0, good - (found.landed || 0));
    found.waiting = Math.max(0, single.length - sum());
    return { counts: found, total: Math.max(single.length, sum()) };
  }
  function writeProgress() {
    const told = seen.progress;
    const { counts, total } = counted();
    const all = Object.values(counts).reduce((sum, each) => sum + each, 0);
    const going = goingOn();
    const good = (counts.landed || 0) + (counts.reused || 0);
    const whole = total === null ? "" : ` of ${number(total)}`;
    byId("headline").textContent = all ? `${number(good)}${whole} landed` : going ? "Nothing was sent yet" : "Nothing was sent";
    const left = ["waiting", "landing", "running", "sending"].reduce((sum, each) => sum + (counts[each] || 0), 0);
    const sub = [];
    if (going && left && told.rate && total !== null) sub.push(`about ${span(left / told.rate)} left at the present rate`);
    if (going && told.rate) sub.push(`${(60 * told.rate).toFixed(1)} a minute`);
    if (going && total === null && all) sub.push("how many there are is known once the first report is written");
    if (!going && seen.instances.length) sub.push(left ? `${plural(left, "item")} left: run the DAG again, what is landed costs nothing` : "nothing is left to do");
    byId("subline").textContent = sub.join(" · ");
    const begun = seen.instances.some((each) => ["running", "deferred", "queued", "up_for_retry", "up_for_reschedule"].includes(each.state));
    byId("state").textContent = going ? (begun || all ? "running" : "not started") : seen.instances.some((each) => each.state === "failed") ? "failed" : "done";
    byId("state").classList.toggle("going", going);
    const shown = Object.keys(MEANING).filter((each) => counts[each]);
    byId("bar").replaceChildren(...shown.map((each) => {
      const piece = make("i", each);
      piece.style.flexGrow = counts[each];
      piece.title = `${number(counts[each])} ${each}`;
      return piece;
    }));
    byId("bar").setAttribute("aria-label", shown.map((each) => `${counts[each]} ${each}`).join(", ") || "nothing yet");
    byId("legend").replaceChildren(...shown.map((each) => {
      const row = make("li", each);
      row.append(make("span", "dot"), make("b", "", number(counts[each])), make("span", "word", each), make("small", "", MEANING[each]));
      return row;
    }));
    writeFacts(told);
  }
  function writeFacts(told) {
    const list = byId("facts");
    list.replaceChildren();
    fact(list, "submits accepted", number(told.submits));
    if (told.refused_submits) fact(list, "refused, nothing paid", number(told.refused_submits));
    fact(list, "possibly billed without a result", number(told.possibly_billed));
    for (const each of told.slots) {
      const more = each.queue ? `, ${number(each.queue)} in the queue` : "";
      fact(list, told.slots.length > 1 ? `slots of ${each.req_key}` : "slots of the account", `${each.in_use} of ${each.limit} busy${more}`);
    }
    for (const each of told.reports) if (each.slot_utilisation !== null) fact(list, "slots kept busy", `${(100 * each.slot_utilisation).toFixed(1)} %`);
    if (told.started_at) fact(list, "first submit", clock(told.started_at));
    for (const each of told.reports) fact(list, "results and report", each.folder);
  }
  function writeAlerts() {
    const told = seen.progress;
    const found = [];
    if (seen.problem) found.push(["", seen.problem]);
    for (const each of told ? told.slots : []) {
      if (each.blocked) found.push(["No submits now.", `Account ${each.account}: ${each.blocked}`]);
      else if (each.cooldown_until) found.push(["Cooling down.", `The vendor asked to slow down; submits go on in ${span(Math.max(1, each.cooldown_until - told.now))}.`]);
    }
    const ours = seen.instances.some((each) => /^Jimeng/.test(each.operator_name || "") && each.state === "success");
    const empty = told && !Object.values(told.counts).some(Boolean) && !told.reports.length;
    if (empty && ours) {
      found.push(["This ledger knows nothing of this run.", told.ledger.local
        ? `It is the file ${told.ledger.place} on the api-server's machine (${told.ledger.host}). If your tasks run on another machine, they write to another file of that name: give both one ledger in PostgreSQL or MySQL, [jimeng] ledger_conn_id. If all of the run's items were known before, there is nothing to show: they are in the tab of the run that paid for them.`
        : "If all of its items were known before, nothing was submitted: they are in the tab of the run that paid for them. Rows of old runs may have been pruned."]);
    }
    byId("alerts").replaceChildren(...found.map(([title, words]) => {
      const node = make("div", "alert");
      if (title) node.append(make("b", "", title));
      node.append(plain(words));
      return node;
    }));
  }

  // ---- chart
  const svg = (tag, values) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(values)) node.setAttribute(key, value);
    return node;
  };
  function writeChart(told) {
    byId("timeline").hidden = !told;
    if (!told) return;
    const { values, top, slots, start, end } = told;
    const width = 600, height = 100, step = width / values.length;
    const y = (value) => (height * Math.max(0, 1 - value / top)).toFixed(1);
    const points = values.map((value, at) => `${(at * step).toFixed(1)},${y(value)} ${((at + 1) * step).toFixed(1)},${y(value)}`).join(" ");
    const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": "Slots in use over the time of the run" });
    root.append(svg("line", { class: "grid", x1: 0, x2: width, y1: height / 2, y2: height / 2 }),
      svg("polygon", { class: "area", points: `0,${height} ${points} ${width},${height}` }));
    if (slots) root.append(svg("line", { class: "limit", x1: 0, x2: width, y1: y(slots), y2: y(slots) }));
    const cursor = svg("line", { class: "cursor", x1: 0, x2: 0, y1: 0, y2: height });
    root.append(cursor);
    const reading = byId("reading"), length = end - start, rest = slots ? `by this run, of ${slots} (dashed)` : "";
    reading.textContent = rest;
    root.addEventListener("pointermove", (event) => {
      const box = root.getBoundingClientRect();
      const share = Math.min(0.9999, Math.max(0, (event.clientX - box.left) / box.width));
      cursor.setAttribute("x1", share * width);
      cursor.setAttribute("x2", share * width);
      reading.textContent = `${values[Math.floor(share * values.length)].toFixed(1)} busy at +${span(length * share)} (${clock(start + length * share)})`;
    });
    root.addEventListener("pointerleave", () => { reading.textContent = rest; });
    byId("chart").replaceChildren(root);
    byId("top").textContent = top;
    byId("half").textContent = top % 2 ? "" : top / 2;
    byId("ticks").replaceChildren(...[0, 1, 2, 3, 4].map((part) => make("span", "", part ? `+${span((length * part) / 4)}` : "start")));
  }

  // ---- failures
  function writeErrors(groups) {
    const shown = groups.filter((each) => each.outcome !== "unknown");
    byId("errors").hidden = !shown.length;
    byId("groups").replaceChildren(...shown.map((each) => {
      const row = make("div", "group"), words = make("div"), head = make("p");
      head.append(badge(each.outcome));
      if (each.code !== null) head.append(" ", make("span", "code", each.code));
      head.append(" ", make("span", "", each.message || "no message"));
      words.append(head, make("p", "soft", [(each.message || "").includes(each.meaning) ? "" : each.meaning, each.cost].filter(Boolean).join(" · ")), make("p", "", each.advice));
      row.append(make("div", "count", `${number(each.count)}×`), words);
      return row;
    }));
  }

  return { about, airflow, dag, seen, byId, make, plain, number, plural, span, clock, bytes, name, fact, badge, ask, question,
    readInstances, goingOn, followTheme, writeProgress, writeAlerts, writeChart, writeErrors };
})();
