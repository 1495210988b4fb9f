"use strict";
// The table: all rows lie in the page as JSON, and one page of those that match is shown.
(() => {
  const element = document.getElementById("rows");
  const table = document.getElementById("table");
  if (!element || !table) return;
  const data = JSON.parse(element.textContent);
  const words = data.words || [];
  const PAGE = 100;
  const ID = 0, QUEUE = 1, STATUS = 2, VERDICT = 3, ACTION = 4, RESULT = 5, REASON = 6, EVIDENCE = 7;
  const withResult = table.classList.contains("with-result");
  const outcome = withResult ? RESULT : ACTION;
  const columns = withResult ? [ID, QUEUE, STATUS, VERDICT, ACTION, RESULT, REASON] : [ID, QUEUE, STATUS, VERDICT, ACTION, REASON];
  const rows = data.rows;
  const total = rows.length;
  const lower = words.map((w) => w.toLowerCase());
  const number = (n) => n.toLocaleString("en-US");
  const byId = (id) => document.getElementById(id);
  const search = byId("search"), order = byId("order"), shown = byId("shown"), body = table.tBodies[0];
  const selects = [[byId("verdict"), VERDICT], [byId("queue"), QUEUE], [byId("outcome"), outcome]];
  const text = (row, column) => (column === ID ? row[ID] : words[row[column]]);

  let matching = rows, page = 0, sortBy = -1, descending = false;

  // What each word's number is in alphabetical order, so that sorting compares numbers.
  const collator = new Intl.Collator("en", { numeric: true });
  const rank = new Array(words.length);
  words.map((w, i) => i).sort((a, b) => collator.compare(words[a], words[b])).forEach((w, i) => (rank[w] = i));

  // A word is searched once, not once in every row that has it.
  function match(query) {
    const terms = query.toLowerCase().split(/\s+/).filter(Boolean);
    const hits = terms.map((term) => lower.map((w) => w.includes(term)));
    return (row) => terms.every((term, i) => {
      if (row[ID].toLowerCase().includes(term)) return true;
      for (let c = QUEUE; c <= REASON; c++) if (hits[i][row[c]]) return true;
      return (row[EVIDENCE] || []).some((w) => hits[i][w]);
    });
  }

  function update() {
    const found = match(search.value);
    const wanted = selects.filter(([s]) => s.value !== "").map(([s, c]) => [c, Number(s.value)]);
    matching = rows.filter((row) => wanted.every(([c, w]) => row[c] === w) && found(row));
    if (sortBy >= 0) {
      const sign = descending ? -1 : 1;
      matching.sort((a, b) => sign * (sortBy === ID ? collator.compare(a[ID], b[ID]) : rank[a[sortBy]] - rank[b[sortBy]]));
    }
    page = 0;
    draw();
  }

  function cell(row, name, content) {
    const td = row.insertCell();
    td.className = name;
    if (content instanceof Node) td.append(content);
    else td.textContent = content;
    return td;
  }

  function make(tag, name, content) {
    const e = document.createElement(tag);
    if (name) e.className = name;
    e.textContent = content;
    return e;
  }

  function why(row) {
    const reason = words[row[REASON]];
    if (!row[EVIDENCE]) return reason;
    const details = document.createElement("details"), list = document.createElement("ul");
    for (const w of row[EVIDENCE]) list.append(make("li", "", words[w]));
    details.append(make("summary", "", reason), list);
    return details;
  }

  function draw() {
    const from = page * PAGE, to = Math.min(from + PAGE, matching.length);
    const fresh = document.createElement("tbody");
    for (let i = from; i < to; i++) {
      const row = matching[i], tr = fresh.insertRow(), verdict = words[row[VERDICT]];
      cell(tr, "id", make("bdi", "", row[ID]));
      cell(tr, "q", make("bdi", "", words[row[QUEUE]]));
      cell(tr, "was", words[row[STATUS]]);
      cell(tr, "verdict", make("span", "tag v-" + verdict.replaceAll("_", "-"), verdict.replaceAll("_", " ")));
      cell(tr, "action", words[row[ACTION]]);
      if (withResult) cell(tr, "outcome", make("span", "result r-" + words[row[RESULT]], words[row[RESULT]]));
      cell(tr, "why", why(row));
    }
    body.replaceChildren(...fresh.childNodes);
    const range = matching.length === 0 ? "None" : matching.length <= PAGE ? number(matching.length) : number(from + 1) + " to " + number(to) + " of " + number(matching.length);
    shown.textContent = matching.length === total ? range + (matching.length <= PAGE ? " in all" : "") : range + (matching.length === 0 ? " of " + number(total) + " match" : " that match; " + number(total) + " in all");
    const pages = Math.ceil(matching.length / PAGE);
    byId("pages").hidden = pages < 2;
    byId("page").textContent = "Page " + number(page + 1) + " of " + number(pages);
    byId("previous").disabled = page === 0;
    byId("following").disabled = page + 1 >= pages;
  }

  function fill(select, column) {
    const counts = new Map();
    for (const row of rows) counts.set(row[column], (counts.get(row[column]) || 0) + 1);
    for (const w of [...counts.keys()].sort((a, b) => rank[a] - rank[b])) {
      select.add(new Option((words[w] || "–").replaceAll("_", " ") + " (" + number(counts.get(w)) + ")", w));
    }
  }

  function sort(column, down) {
    sortBy = column;
    descending = down;
    table.tHead.rows[0].querySelectorAll("th").forEach((th, i) => {
      if (columns[i] === column) th.setAttribute("aria-sort", down ? "descending" : "ascending");
      else th.removeAttribute("aria-sort");
    });
    order.value = column + (down ? "-" : "+");
    update();
  }

  for (const [select, column] of selects) {
    fill(select, column);
    select.addEventListener("change", update);
  }
  order.add(new Option("what needs you first", "-1+"));
  table.tHead.rows[0].querySelectorAll("th").forEach((th, i) => {
    const column = columns[i], name = th.textContent, button = make("button", "", name);
    button.type = "button";
    button.addEventListener("click", () => sort(column, sortBy === column && !descending));
    th.replaceChildren(button);
    order.add(new Option(name, column + "+"));
  });
  order.addEventListener("change", () => sort(parseInt(order.value, 10), false));

  let waiting = 0;
  search.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(update, total > 5000 ? 120 : 0);
  });
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  const turn = (by) => () => {
    page += by;
    draw();
    byId("jobs").scrollIntoView();
  };
  byId("previous").addEventListener("click", turn(-1));
  byId("following").addEventListener("click", turn(1));

  // A queue in the picture leads to its jobs.
  for (const name of document.querySelectorAll(".bars .queue bdi")) {
    const option = [...selects[1][0].options].find((o) => o.value !== "" && words[o.value] === name.textContent);
    if (!option) continue;
    const link = make("a", "", name.textContent);
    link.href = "#jobs";
    link.addEventListener("click", () => {
      selects[1][0].value = option.value;
      update();
    });
    name.replaceChildren(link);
  }
  byId("controls").hidden = false;
  draw();
})();
