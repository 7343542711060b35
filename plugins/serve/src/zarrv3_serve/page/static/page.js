// The page: everything that comes from a store is put in as text, never as HTML.
const root = document.body.dataset.root;
const api = (name, query) => `${root}/__zarrv3__/${name}?${new URLSearchParams(query)}`;
const byId = (id) => document.getElementById(id);
const hrefOf = (path) => `${root}/${path.split("/").filter(Boolean).map((part) => encodeURIComponent(part) + "/").join("")}`;
const below = (path, name) => (path ? `${path}/${name}` : name);

/** An element with attributes and children; texts become text. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== false && value !== undefined) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

async function ask(name, query, signal) {
  const answer = await fetch(api(name, query), { signal });
  if (!answer.ok) throw new Error(`${answer.status}: ${(await answer.text()).trim()}`);
  const found = await answer.json();
  if (found.error) throw new Error(found.error);
  return found;
}

function tell(error) {
  if (error?.name === "AbortError") return;
  byId("problem").textContent = error ? error.message : "";
  byId("problem").hidden = !error;
}

// ---------------------------------------------------------------- the tree

function link(path, text) {
  const go = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    history.pushState(null, "", hrefOf(path));
    show(path);
  };
  return element("a", { href: hrefOf(path), "data-path": path, onclick: go }, text);
}

function branch(path, member) {
  const own = below(path, member.name);
  const note = element("span", { class: "note" }, ` ${member.note || ""}`);
  if (member.kind !== "group") return element("li", { class: "leaf" }, link(own, member.name), note);
  const list = element("ul");
  const opened = async (event) => {
    if (!event.target.open || list.childElementCount) return;
    try { fill(list, own, await ask("node", { path: own })); } catch (error) { tell(error); }
  };
  return element("li", {}, element("details", { ontoggle: opened }, element("summary", {}, link(own, member.name)), list));
}

function fill(list, path, node) {
  list.replaceChildren(...(node.members ?? []).map((member) => branch(path, member)));
  if (node.more) list.append(element("li", { class: "leaf note" }, "… and more"));
}

function mark(path) {
  for (const one of document.querySelectorAll("#tree a")) {
    if (one.dataset.path === path) one.setAttribute("aria-current", "page");
    else one.removeAttribute("aria-current");
  }
}

// ---------------------------------------------------------------- a node

const quoted = (text) => JSON.stringify(text).replace(/[\u007f-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
const shell = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function snippets(node) {
  const url = new URL(hrefOf(node.path), location.href).href.replace(/\/$/, "");
  const text = quoted(url);
  const found = [
    ["Python", `import zarrv3  # pip install "zarrv3[http]"\n\nnode = zarrv3.open(${text}, mode="r")`],
    ["zarr-python", `import zarr\n\nnode = zarr.open(${text}, mode="r")`],
    ["Command line", `zarrv3 info ${shell(url)}`],
    ["JavaScript", `import * as zarr from "zarrita";\n\nconst node = await zarr.open(new zarr.FetchStore(${text}));`],
  ];
  if (node.kind === "group") found.splice(2, 0, ["xarray", `import xarray\n\ndataset = xarray.open_zarr(${text}, consolidated=False)`]);
  const made = found.map(([title, code]) => {
    const copy = element("button", { type: "button", onclick: () => navigator.clipboard.writeText(code) }, "Copy");
    return element("div", {}, element("h3", { class: "note" }, title), element("div", { class: "snippet" }, element("pre", {}, code), copy));
  });
  if (node.kind === "array" && node.shape.length > 1) {
    const source = `zarr://${url}/|zarr3:`;
    const state = { layers: [{ type: "image", source, name: node.path || "array" }] };
    const there = `https://neuroglancer-demo.appspot.com/#!${encodeURIComponent(JSON.stringify(state))}`;
    made.push(element("p", {}, element("a", { href: there, target: "_blank", rel: "noreferrer" }, "Open in neuroglancer"),
      element("span", { class: "note" }, ` (${source}; serve with --cors https://neuroglancer-demo.appspot.com)`)));
  }
  return made;
}

async function show(path) {
  tell(null);
  document.title = `${path || "/"} – zarrv3`;
  byId("path").textContent = `/${path}`;
  byId("picture").hidden = true;
  mark(path);
  let node;
  try { node = await ask("node", { path }); } catch (error) {
    for (const id of ["info", "attributes", "members", "snippets"]) byId(id).replaceChildren();
    return tell(error);
  }
  const table = byId("info");
  const rows = (info) => table.replaceChildren(...info.map(([name, value]) => element("tr", {}, element("th", {}, name), element("td", {}, value))));
  rows(node.info);
  if (node.kind === "array") {
    const count = async () => { try { rows((await ask("node", { path, stored: "1" })).info); } catch (error) { tell(error); } };
    table.append(element("tr", {}, element("th", {}, "Stored"), element("td", {}, element("button", { type: "button", onclick: count }, "Count"))));
  }
  byId("attributes").textContent = JSON.stringify(node.attributes, null, 2);
  byId("below").hidden = node.kind === "array";
  byId("members").replaceChildren(...(node.members ?? []).map((member) =>
    element("li", {}, link(below(path, member.name), member.name), element("span", { class: "note" }, ` ${member.note || ""}`))));
  byId("snippets").replaceChildren(...snippets(node));
  if (node.kind === "array") picture(node);
  return node;
}

// ---------------------------------------------------------------- a picture

let view = null;
let running = null;

function picture(node) {
  const maps = ["grey", "viridis", "magma", "blue-red"];
  view = { node, axes: node.axes, at: node.shape.map((length) => Math.floor(length / 2)), map: maps[0], field: node.fields[0] ?? "", window: [], low: "", high: "" };
  const named = (axis) => node.names[axis] ?? `dimension ${axis}`;
  const controls = [];
  const choice = (label, options, chosen, change) => element("label", {}, label, element("select", { "aria-label": label, onchange: (event) => change(event.target.value) },
    ...options.map(([value, text]) => element("option", { value, selected: String(value) === String(chosen) }, text))));
  const whole = () => { view.window = []; };
  const rebuild = () => {
    controls.length = 0;
    const all = node.shape.map((_, axis) => [axis, named(axis)]);
    if (node.shape.length > 1) {
      ["rows", "columns"].forEach((label, number) => controls.push(choice(label, all, view.axes[number], (value) => {
        const other = view.axes[1 - number];
        const axes = [...view.axes];
        axes[number] = Number(value);
        if (other === Number(value)) axes[1 - number] = view.axes[number];
        view.axes = axes; whole(); rebuild(); draw();
      })));
    }
    node.shape.forEach((length, axis) => {
      if (view.axes.includes(axis)) return;
      const number = element("input", { type: "number", min: 0, max: length - 1, value: view.at[axis], "aria-label": named(axis) });
      const slider = element("input", { type: "range", min: 0, max: length - 1, value: view.at[axis], "aria-label": `${named(axis)}, slider`, "data-axis": axis });
      const moved = (event) => {
        view.at[axis] = Math.min(length - 1, Math.max(0, Math.trunc(Number(event.target.value))));
        number.value = slider.value = view.at[axis];
        draw();
      };
      number.addEventListener("change", moved);
      slider.addEventListener("input", moved);
      controls.push(element("label", {}, named(axis), slider, number));
    });
    if (node.fields.length) controls.push(choice("field", node.fields.map((name) => [name, name]), view.field, (value) => { view.field = value; draw(); }));
    controls.push(choice("colours", maps.map((name) => [name, name]), view.map, (value) => { view.map = value; draw(); }));
    for (const bound of ["low", "high"]) {
      controls.push(element("label", {}, bound === "low" ? "from" : "to",
        element("input", { type: "number", step: "any", placeholder: "automatic", value: view[bound], onchange: (event) => { view[bound] = event.target.value; draw(); } })));
    }
    controls.push(element("button", { type: "button", onclick: () => { whole(); draw(); } }, "Show all"));
    byId("controls").replaceChildren(...controls);
  };
  rebuild();
  byId("picture").hidden = false;
  draw();
}

async function draw() {
  running?.abort();
  running = new AbortController();
  const { node } = view;
  const query = { path: node.path, axes: view.axes, at: view.at, map: view.map, field: view.field, window: view.window.flat(), low: view.low, high: view.high };
  let found;
  try { found = await ask("slice", query, running.signal); } catch (error) {
    byId("image").hidden = byId("table").hidden = true;
    return tell(error);
  }
  if (view.node !== node) return;
  tell(null);
  view.found = found;
  const image = byId("image");
  const steps = found.window.map(([, , step]) => step);
  byId("sampled").textContent = found.whole ? "" : `Not every element is read: one of ${steps.join(" × ")} is shown. Click to look closer.`;
  byId("table").hidden = !found.table;
  image.hidden = !found.png;
  const bars = found.histogram ?? [];
  const most = Math.max(1, ...bars);
  byId("histogram").toggleAttribute("hidden", !bars.length);
  byId("histogram").replaceChildren(...bars.map((count, number) => {
    const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    const height = (20 * Math.sqrt(count)) / Math.sqrt(most);
    for (const [name, value] of Object.entries({ x: number, y: 20 - height, width: 1, height })) bar.setAttribute(name, value);
    return bar;
  }));
  byId("low").textContent = found.low ?? "";
  byId("high").textContent = found.high ?? "";
  if (found.table) {
    byId("table").replaceChildren(...found.table.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, cell)))));
    return;
  }
  const [rows, columns] = sizes(found);
  const scale = Math.max(1, Math.min(640 / columns, 640 / rows));
  image.width = Math.max(1, Math.round(columns * scale));
  image.classList.toggle("row", found.axes.length < 2);
  image.alt = `A picture of ${node.path || "the array"}`;
  image.src = `data:image/png;base64,${found.png}`;
  await image.decode().catch(() => {});
  image.dataset.drawn = String(found.at);
}

function sizes(found) {
  const lengths = found.window.map(([start, stop, step]) => Math.ceil((stop - start) / step));
  return lengths.length === 2 ? lengths : [1, lengths[0] ?? 1];
}

/** The element under the pointer. */
function place(event) {
  const found = view.found;
  const box = event.target.getBoundingClientRect();
  const [rows, columns] = sizes(found);
  const share = [(event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width];
  const counts = [rows, columns].slice(2 - found.axes.length);
  const index = [...found.at];
  share.slice(2 - found.axes.length).forEach((part, number) => {
    const [start, , step] = found.window[number];
    index[found.axes[number]] = start + step * Math.min(counts[number] - 1, Math.max(0, Math.floor(part * counts[number])));
  });
  return index;
}

let waiting = 0;
byId("image").addEventListener("mousemove", (event) => {
  clearTimeout(waiting);
  const index = place(event);
  waiting = setTimeout(async () => {
    try {
      const { value } = await ask("value", { path: view.node.path, index, field: view.field });
      byId("under").textContent = `[${index.join(", ")}] = ${value}`;
    } catch (error) { tell(error); }
  }, 60);
});

byId("image").addEventListener("click", (event) => {
  const index = place(event);
  view.window = view.found.window.map(([start, stop], number) => {
    const axis = view.found.axes[number];
    const length = Math.max(Math.min(16, view.node.shape[axis]), Math.ceil((stop - start) / 2));
    const first = Math.min(Math.max(0, index[axis] - Math.floor(length / 2)), view.node.shape[axis] - length);
    return [first, first + length];
  });
  draw();
});

// ---------------------------------------------------------------- begin

function here() {
  const path = location.pathname.slice(root.length).split("/").filter(Boolean);
  return path.map(decodeURIComponent).join("/");
}

window.addEventListener("popstate", () => show(here()));
const list = element("ul");
byId("tree").append(link("", "/"), list);
const first = await show(here());
try { fill(list, "", here() === "" && first ? first : await ask("node", { path: "" })); mark(here()); } catch (error) { if (here() === "") tell(error); }
