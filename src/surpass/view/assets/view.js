// Lists that hold only the rows on the screen, trees that fold, and attempts with coloured tokens. Text from a run reaches the
// page as text nodes alone; what comes as HTML was written, and escaped, by the server.

const about = document.body.dataset;
const make = (tag, fields = {}, ...inside) => {
  const { dataset = {}, ...rest } = fields;
  const found = Object.assign(document.createElement(tag), rest);
  Object.assign(found.dataset, dataset);
  found.append(...inside);
  return found;
};
const SVG = "http://www.w3.org/2000/svg";
const draw = (tag, fields = {}, ...inside) => {
  const found = document.createElementNS(SVG, tag);
  Object.entries(fields).forEach(([name, value]) => found.setAttribute(name, value));
  found.append(...inside);
  return found;
};
const ask = async (what, wanted = {}) => {
  const answer = await fetch(`${what}?${new URLSearchParams(wanted)}`);
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
};
const plain = (value) => (value === null || value === undefined || Number.isNaN(value) ? "–" : Number(value.toPrecision(3)).toString().replace("-", "−"));
const short = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
const said = (text) => (Array.isArray(text) ? text.join("") : text);

// -- a list of any length: a tall empty box in which only the rows on the screen exist

const ROW = 34; // pixels, as in view.css
const PAGE = 100; // rows asked for at a time

class List {
  // `load(offset, limit)` gives {total, rows}; `cells(row)` the texts of one; `open(row, index)` shows it.
  constructor(place, name, columns, load, cells, open, sort = null) {
    Object.assign(this, { load, cells, open, chosen: -1, total: 0, pages: new Map(), order: "round", sort });
    this.id = `list${List.made = (List.made ?? 0) + 1}`;
    this.head = make("div", { className: "row head", role: "row" }, ...columns.map(([key, title]) => this.heading(key, title)));
    this.rows = make("div", { className: "rows", role: "presentation" });
    this.tall = make("div", { className: "tall", role: "presentation" }, this.rows);
    this.view = make("div", { className: "view", tabIndex: 0, role: "rowgroup", ariaLabel: `${name}: arrow keys choose` }, this.tall);
    this.trouble = make("p", { className: "note", role: "status" });
    place.replaceChildren(make("div", { className: "list", role: "grid", ariaLabel: name }, this.head, this.view), this.trouble);
    this.view.addEventListener("scroll", () => this.show());
    this.view.addEventListener("keydown", (event) => this.key(event));
    this.rows.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row) this.choose(Number(row.dataset.index));
    });
    new ResizeObserver(() => this.show()).observe(this.view);
  }

  heading(key, title) {
    if (!this.sort || !key) return make("span", { role: "columnheader" }, title);
    const button = make("button", { type: "button", className: "sort", dataset: { key } }, title);
    button.addEventListener("click", () => {
      this.order = this.order === `-${key}` ? key : `-${key}`;
      this.head.querySelectorAll(".sort").forEach((b) => {
        b.dataset.way = b.dataset.key === key ? (this.order === key ? "up" : "down") : "";
        b.parentElement.ariaSort = { up: "ascending", down: "descending", "": "none" }[b.dataset.way];
      });
      this.again();
    });
    return make("span", { role: "columnheader" }, button);
  }

  async again(keep = false) {
    this.pages.clear();
    this.chosen = -1; // its place may be another one now
    if (!keep) this.view.scrollTop = 0;
    await this.page(0);
    this.show();
  }

  page(number) {
    if (!this.pages.has(number)) {
      const asked = this.load(number * PAGE, PAGE).then((found) => {
        if (this.pages.get(number) !== asked) return; // asked again meanwhile
        this.pages.set(number, found.rows);
        this.total = found.total;
        this.trouble.textContent = found.broken?.length ? `The attempts of round ${found.broken.join(", ")} cannot be read and are left out.` : "";
        this.tall.style.height = `${found.total * ROW}px`;
        this.view.parentElement.setAttribute("aria-rowcount", found.total);
        this.show();
      }).catch((error) => { this.pages.delete(number); this.trouble.textContent = error.message; });
      this.pages.set(number, asked);
    }
    const there = this.pages.get(number);
    return Array.isArray(there) ? Promise.resolve() : there;
  }

  show() {
    const first = Math.max(0, Math.floor(this.view.scrollTop / ROW) - 5);
    const last = Math.min(this.total, first + Math.ceil(this.view.clientHeight / ROW) + 10);
    this.rows.style.transform = `translateY(${first * ROW}px)`;
    const shown = [];
    for (let i = first; i < last; i += 1) {
      const there = this.pages.get(Math.floor(i / PAGE));
      if (!Array.isArray(there)) { this.page(Math.floor(i / PAGE)); continue; }
      const row = there[i % PAGE];
      if (row) {
        shown.push(make("div", { className: `row${i === this.chosen ? " chosen" : ""}`, role: "row", id: `${this.id}-${i}`, ariaSelected: String(i === this.chosen), ariaRowIndex: String(i + 1), dataset: { index: i } },
          ...this.cells(row).map((text) => make("span", { role: "gridcell", title: text.length > 30 ? text : "" }, text))));
      }
    }
    this.rows.replaceChildren(...shown);
    if (this.chosen < 0) this.view.removeAttribute("aria-activedescendant");
    else this.view.setAttribute("aria-activedescendant", `${this.id}-${this.chosen}`);
  }

  async choose(index) {
    if (index < 0 || index >= this.total) return;
    this.chosen = index;
    if (index * ROW < this.view.scrollTop) this.view.scrollTop = index * ROW;
    if ((index + 1) * ROW > this.view.scrollTop + this.view.clientHeight) this.view.scrollTop = (index + 1) * ROW - this.view.clientHeight;
    await this.page(Math.floor(index / PAGE));
    this.show();
    const there = this.pages.get(Math.floor(index / PAGE));
    if (Array.isArray(there)) this.open(there[index % PAGE], index);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const some = Math.max(1, Math.floor(this.view.clientHeight / ROW) - 1);
    const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, PageDown: some, PageUp: -some }[event.key];
    const to = event.key === "Home" ? 0 : event.key === "End" ? this.total - 1 : step && Math.min(this.total - 1, Math.max(0, this.chosen + step));
    if (to === undefined) return;
    event.preventDefault();
    this.choose(to);
  }
}

// -- one tree: its prompt, its picture and the chosen attempt

class Attempts {
  constructor(place, name = null) {
    Object.assign(this, { place, name, by: "logp", folded: new Set() });
  }

  async open(run, round, tree, leaf = null, kind = "trees") {
    const key = `${run} ${round} ${tree} ${kind}`;
    this.title = this.name ?? `Round ${round}`;
    const asked = {};
    this.asked = asked; // what was asked for last is what is shown
    if (this.key !== key) {
      let found;
      try {
        found = await ask("tree", { name: run, round, tree, kind });
      } catch (error) {
        if (this.asked === asked) this.place.replaceChildren(make("p", { className: "note" }, error.message));
        return;
      }
      if (this.asked !== asked) return;
      Object.assign(this, { key, tree: found });
      this.folded.clear();
      this.children = new Map();
      this.tree.nodes.forEach((node, i) => { if (!node.aside) this.children.set(node.before, [...(this.children.get(node.before) ?? []), i]); });
      this.worth();
      if (this.tree.nodes.length > 200) this.foldBelow(3);
    }
    const best = this.tree.rewards.reduce((at, value, i, all) => (value !== null && (all[at] === null || value > all[at]) ? i : at), 0);
    this.take(leaf ?? this.tree.leaves[best]);
    this.show();
  }

  // The mean reward of the leaves below each node.
  worth() {
    const { nodes, leaves, rewards } = this.tree;
    const sums = nodes.map(() => [0, 0]);
    leaves.forEach((leaf, i) => {
      if (rewards[i] === null) return;
      for (let at = leaf; at >= 0; at = nodes[at].before) { sums[at][0] += rewards[i]; sums[at][1] += 1; }
    });
    this.mean = sums.map(([sum, n]) => (n ? sum / n : null));
    const known = this.mean.filter((value) => value !== null);
    [this.low, this.high] = [Math.min(0, ...known), Math.max(1, ...known)];
  }

  // Choose an attempt, and unfold what leads to it.
  take(leaf) {
    this.leaf = leaf;
    this.attempt = this.tree.attempts[this.tree.leaves.indexOf(leaf)] ?? this.path(leaf);
    this.attempt.forEach((node) => this.folded.delete(node));
  }

  foldBelow(depth) {
    this.tree.nodes.forEach((_, i) => { if (this.path(i).length > depth && this.children.get(i)?.length) this.folded.add(i); });
  }

  path(node) {
    const found = [];
    for (let at = node; at >= 0; at = this.tree.nodes[at].before) found.unshift(at);
    return found;
  }

  show() {
    const { tree } = this;
    const asked = tree.prompt[tree.prompt.length - 1][1];
    const parts = [make("h3", {}, this.title)];
    parts.push(make("pre", { className: "said", tabIndex: 0 }, asked));
    if (tree.prompt.length > 1) {
      parts.push(make("details", {}, make("summary", {}, `${tree.prompt.length - 1} earlier turns`),
        ...tree.prompt.slice(0, -1).flatMap(([who, what]) => [make("p", { className: "who" }, who), make("pre", { className: "said" }, what)])));
    }
    if (tree.answer !== null) parts.push(make("p", { className: "who" }, "Right answer ", make("b", {}, tree.answer)));
    if (tree.leaves.length > 1) parts.push(this.picture());
    parts.push(this.colours(), ...this.turns());
    this.place.hidden = false;
    const focus = document.activeElement?.dataset?.node;
    this.place.replaceChildren(...parts);
    if (focus !== undefined) this.place.querySelector(`[data-node="${focus}"]`)?.focus();
  }

  // The tree from left to right, a row a leaf; a click on a node with branches folds it, on a leaf shows that attempt.
  picture() {
    const { nodes } = this.tree;
    const taken = new Set(this.attempt);
    const learnt = new Set(this.tree.learnt);
    const where = new Map();
    let rows = 0;
    let deepest = 0;
    const waiting = (this.children.get(-1) ?? []).map((node) => [node, 0, false]).reverse();
    const order = [];
    while (waiting.length) { // depth first; a node's row is that of the middle of what it leads to
      const [node, depth, after] = waiting.pop();
      const below = this.folded.has(node) ? [] : this.children.get(node) ?? [];
      if (!after && below.length) {
        waiting.push([node, depth, true], ...below.map((child) => [child, depth + 1, false]).reverse());
        continue;
      }
      const y = below.length ? (where.get(below[0]).y + where.get(below[below.length - 1]).y) / 2 : (rows += 1) - 0.5;
      where.set(node, { x: depth, y });
      deepest = Math.max(deepest, depth);
      order.push(node);
    }
    const [dx, dy] = [Math.max(36, Math.min(150, 520 / (deepest + 1))), 26];
    const label = 190;
    const at = (node) => [14 + where.get(node).x * dx, where.get(node).y * dy];
    const lines = [];
    const marks = [];
    for (const node of order) {
      const [x, y] = at(node);
      const { before, values, text, tokens } = nodes[node];
      if (before >= 0 && where.has(before)) {
        const [px, py] = at(before);
        lines.push(draw("path", { class: taken.has(node) ? "edge taken" : "edge", d: `M${px} ${py}C${px + dx / 2} ${py} ${x - dx / 2} ${y} ${x} ${y}` }));
      }
      const below = this.children.get(node) ?? [];
      const facts = [["visits", values.visits], ["q", values.q], ["worth", values.worth], ["mean reward", this.mean[node]]].filter(([, v]) => v !== undefined && v !== null);
      const words = `${facts.map(([name, v]) => `${name} ${plain(v)}`).join(", ") || "not judged"}; ${tokens} tokens: ${short(said(text) ?? "", 300)}`;
      const r = Math.min(11, 4.5 + Math.sqrt(values.visits ?? 0));
      const share = this.mean[node] === null ? 0 : (this.mean[node] - this.low) / (this.high - this.low || 1);
      const mark = draw("g", { class: `node${taken.has(node) ? " taken" : ""}${learnt.has(node) ? " learnt" : ""}`, tabindex: 0, role: "button", "data-node": node,
        transform: `translate(${x} ${y})`, "aria-label": words, ...(below.length ? { "aria-expanded": String(!this.folded.has(node)) } : {}) },
      draw("title", {}, words), draw("circle", { r, class: "dot" }), draw("circle", { r, class: "fill", "fill-opacity": share }));
      if (this.folded.has(node)) mark.append(draw("text", { x: r + 4, y: 4, class: "more" }, `+${this.count(node)}`));
      else if (!below.length) mark.append(draw("text", { x: r + 5, y: 4 }, `${plain(this.mean[node])} · ${short((said(text) ?? "").trim().replace(/\s+/g, " "), 22)}`));
      const act = () => {
        if (!below.length) this.take(node);
        else if (!this.folded.delete(node)) this.folded.add(node);
        this.show();
      };
      mark.addEventListener("click", act);
      mark.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); act(); } });
      marks.push(mark);
    }
    const [width, height] = [14 + deepest * dx + label, Math.max(1, rows) * dy];
    const svg = draw("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": "search tree" }, ...lines, ...marks);
    const words = `${this.tree.leaves.length} attempts. A click on a branch folds it, on an end shows that attempt; the path shown is drawn bold, what was learnt from has a ring.`;
    return make("div", { className: "tree" }, make("p", { className: "note" }, words), make("div", { className: "wide", tabIndex: 0, role: "region", ariaLabel: "tree" }, svg));
  }

  count(node) {
    let n = 0;
    const waiting = [...(this.children.get(node) ?? [])];
    while (waiting.length) { n += 1; waiting.push(...(this.children.get(waiting.pop()) ?? [])); }
    return n;
  }

  // What tokens can be coloured by, and what the colours mean.
  colours() {
    const nodes = this.attempt.map((i) => this.tree.nodes[i]);
    const names = new Set([...nodes.flatMap((node) => [...Object.keys(node.along), ...Object.keys(node.values)]), ...Object.keys(this.tree.scores)]
      .filter((name) => !name.startsWith("count/")));
    if (nodes.some((node) => node.logp)) names.add("logp");
    if (this.by && !names.has(this.by)) this.by = names.has("logp") ? "logp" : [...names][0] ?? "";
    const choice = make("select", { ariaLabel: "colour tokens by" }, ...["", ...[...names].sort()].map((name) =>
      make("option", { value: name, selected: name === this.by }, name === "" ? "nothing" : name === "logp" ? "log-probability" : name)));
    choice.addEventListener("change", () => { this.by = choice.value; this.show(); this.place.querySelector("select").focus(); });
    const known = nodes.flatMap((node) => this.along(node)).filter((value) => value !== null);
    this.most = Math.max(1e-9, ...known.map(Math.abs));
    const words = !known.length ? "" : this.by === "logp" ? "the stronger the colour, the less likely the token was" : `from ${plain(Math.min(...known))} to ${plain(Math.max(...known))}; blue is above zero, orange below`;
    return make("p", { className: "colours" }, make("label", {}, "Tokens coloured by ", choice), make("span", { className: "note" }, words));
  }

  // A node's value for each of its pieces; null where there is none. A text that did not come in pieces has no tokens to colour, and a
  // score of the whole attempt is that of every token drawn in it.
  along(node) {
    const n = Array.isArray(node.text) ? node.text.length : 1;
    const all = (value) => Array(n).fill(value ?? null);
    if (!this.by) return all(null);
    const each = this.by === "logp" ? node.logp : node.along[this.by];
    if (each) return Array.isArray(node.text) || node.tokens === 1 ? each.slice(0, n) : all(null);
    if (this.by === "logp") return all(null);
    const whole = this.tree.scores[this.by];
    return all(whole && node.logp ? whole[this.tree.leaves.indexOf(this.leaf)] : node.values[this.by]);
  }

  turns() {
    const { nodes, leaves, rewards } = this.tree;
    const path = this.attempt;
    const found = [];
    let who = null;
    path.forEach((i, place) => {
      const node = nodes[i];
      if (place === 0 && !node.logp && path.length > 1) { // it mostly repeats the prompt
        found.push(make("details", {}, make("summary", {}, "what the model was shown at the start"), make("pre", { className: "said" }, said(node.text) ?? "")));
        return;
      }
      if (node.author !== who) {
        who = node.author;
        found.push(make("p", { className: "who" }, who), make("pre", { className: who === "task" ? "said" : "text" }));
      }
      found[found.length - 1].append(...this.pieces(node));
      const values = Object.entries(node.values).filter(([name]) => name !== this.tree.score);
      if (values.length && i !== this.leaf) found[found.length - 1].append(make("span", { className: "aside", title: values.map(([name, v]) => `${name} ${plain(v)}`).join(", ") }, "◦"));
    });
    const reward = rewards[leaves.indexOf(this.leaf)];
    const last = nodes[this.leaf];
    const facts = [`${this.tree.score ?? "score"} ${reward === null || reward === undefined ? "not judged" : plain(reward)}`, `ended: ${last.stop}`,
      `${path.reduce((n, i) => n + (nodes[i].author === "task" ? 0 : nodes[i].tokens), 0)} tokens`,
      ...Object.entries({ ...this.scored(), ...last.values }).filter(([name]) => name !== this.tree.score).map(([name, v]) => `${name} ${plain(v)}`)];
    found.push(make("p", { className: "facts" }, facts.join(" · ")));
    const aside = nodes.map((node, i) => [node, i]).filter(([node]) => node.aside && node.author !== "task" && path.includes(this.about(node)));
    if (aside.length) {
      found.push(make("details", {}, make("summary", {}, `${aside.length} said aside`),
        ...aside.slice(0, 50).flatMap(([node]) => [make("p", { className: "who" }, node.author), make("pre", { className: "text" }, said(node.text) ?? "")])));
    }
    return found;
  }

  // What each score of attempts says of this one.
  scored() {
    const at = this.tree.leaves.indexOf(this.leaf);
    return Object.fromEntries(Object.entries(this.tree.scores).map(([name, values]) => [name, values[at]]).filter(([, v]) => v !== null && v !== undefined));
  }

  about(node) {
    let at = node.before;
    while (at >= 0 && this.tree.nodes[at].aside) at = this.tree.nodes[at].before;
    return at;
  }

  pieces(node) {
    if (node.text === null) return [make("em", {}, `the text is not stored: ${node.tokens} tokens`)];
    const texts = Array.isArray(node.text) ? node.text : [node.text];
    const values = this.along(node);
    return texts.map((text, i) => {
      const value = values[i] ?? null;
      const shown = text === "" && node.logp ? "▪" : text; // a special token, or a part of the next character
      if (value === null) return document.createTextNode(shown);
      const strength = this.by === "logp" ? Math.min(1, -value / 5) : Math.min(1, Math.abs(value) / this.most);
      const words = this.by === "logp" ? `log p ${plain(value)}, p ${plain(Math.exp(value))}` : `${this.by} ${plain(value)}`;
      const piece = make("span", { className: `token ${this.by === "logp" || value < 0 ? "minus" : "plus"}`, title: words }, shown);
      piece.style.setProperty("--s", `${Math.round(55 * strength)}%`);
      return piece;
    });
  }
}

// -- the pages

const attempts = () => {
  const filters = document.getElementById("filters");
  const count = document.getElementById("count");
  const panel = new Attempts(document.getElementById("panel"));
  const wanted = () => Object.fromEntries([...new FormData(filters)].filter(([, value]) => value !== ""));
  const list = new List(document.getElementById("list"), "attempts",
    [["round", "Round"], ["score", "Score"], ["tokens", "Tokens"], ["stop", "Ended"], ["problem", "Problem"], ["", "Attempt"]],
    async (offset, limit) => {
      const found = await ask("attempts", { name: about.run, ...wanted(), sort: list.order, offset, limit });
      count.textContent = found.total === found.all ? `${found.all.toLocaleString("en")} attempts` : `${found.total.toLocaleString("en")} of ${found.all.toLocaleString("en")} attempts`;
      return found;
    },
    (row) => [String(row.round), plain(row.score), String(row.tokens), row.stop, row.problem, row.text],
    (row) => panel.open(about.run, row.round, row.tree, row.leaf), true);
  let soon = 0;
  const later = () => { clearTimeout(soon); soon = setTimeout(() => list.again(), 200); };
  filters.addEventListener("input", later);
  filters.addEventListener("reset", later);
  filters.addEventListener("submit", (event) => event.preventDefault());
  list.again();
  return list;
};

const outcomes = (wanted, titles) => {
  const place = document.getElementById("changed");
  const two = document.getElementById("two");
  const sides = titles.map((title) => new Attempts(make("div"), title));
  two.append(make("div", { className: "grid-two" }, ...sides.map((side) => side.place)));
  let every = [];
  let rows = [];
  const kinds = [["all", () => true], [`better ${titles[1]}`, ([a, b]) => b > a], [`better ${titles[0]}`, ([a, b]) => b < a], ["the same", ([a, b]) => a === b]];
  const list = new List(place, titles.join(" and "), [["", titles[0]], ["", titles[1]], ["", "Problem"]],
    async (offset, limit) => ({ total: rows.length, rows: rows.slice(offset, offset + limit) }),
    (row) => [plain(row.values[0]), plain(row.values[1]), row.asks],
    async (row) => {
      two.hidden = false;
      await Promise.all(sides.map((side, i) => (row.trees[i] ? side.open(row.trees[i].run, row.trees[i].round, row.trees[i].tree, null, "exams")
        : side.place.replaceChildren(make("h3", {}, titles[i]), make("p", { className: "note" }, "The attempt was not stored.")))));
    });
  const buttons = make("p", { className: "filters", role: "group", ariaLabel: "which problems" });
  const narrow = (fits, button) => {
    rows = every.filter((row) => fits(row.values));
    buttons.querySelectorAll("button").forEach((b) => b.setAttribute("aria-pressed", String(b === button)));
    list.again();
  };
  place.before(buttons);
  return async () => {
    every = await ask("outcomes", wanted);
    buttons.replaceChildren(...kinds.map(([name, fits]) => {
      const button = make("button", { type: "button" }, `${name} (${every.filter((row) => fits(row.values)).length})`);
      button.addEventListener("click", () => narrow(fits, button));
      return button;
    }));
    narrow(() => true, buttons.firstChild);
    place.parentElement.hidden = !every.length;
    if (!every.length) buttons.replaceChildren("There are no problems yet that both exams judged.");
  };
};

const live = async (list, changes) => {
  const state = document.getElementById("state");
  const shown = {};
  let known = null;
  let before = null;
  for (;;) {
    try {
      const now = await ask("stamp", { name: about.run });
      state.textContent = now.state;
      state.className = `state ${now.state}`;
      if (known !== null && now.stamp !== known) {
        const parts = await ask("parts", { name: about.run });
        Object.entries(parts).forEach(([key, inside]) => {
          if (shown[key] !== inside) document.getElementById(key).innerHTML = inside;
          shown[key] = inside;
        });
        list.again(true);
        if (now.state !== before) changes();
      }
      known = now.stamp;
      before = now.state;
    } catch {
      state.textContent = "the server has ended";
      state.className = "state stopped";
    }
    await new Promise((next) => { setTimeout(next, state.textContent === "finished" ? 10000 : 2000); });
  }
};

if (about.page === "index") {
  const button = document.getElementById("pair");
  const chosen = () => [...document.querySelectorAll("input[name=pair]:checked")].map((box) => box.value);
  const fit = () => { if (button) button.disabled = chosen().length !== 2; };
  document.addEventListener("change", fit);
  button?.addEventListener("click", () => { const [name, other] = chosen(); location.href = `pair?${new URLSearchParams({ name, other })}`; });
  fit();
} else if (about.page === "run") {
  const changes = outcomes({ name: about.run }, ["before", "after"]);
  changes();
  live(attempts(), changes);
} else if (about.page === "pair") {
  outcomes({ name: about.run, other: about.other }, [about.run, about.other])();
}
