// zarrita.js as a peer: a command a line on stdin, an answer a line on stdout, values as base64.
//
//   {"do": "read", "url": …, "path": …}              → {"shape": […], "dtype": …, "stride": […], "data": …}
//   {"do": "write", "url": …, "path": …, "data": …}  → {}     into an array that is there, in C order
//   {"do": "describe", "url": …, "path": …}          → {"kind": …, "attributes": {…}, "names": […]}
//   {"do": "contents", "url": …}                     → {"contents": […], "described": {…}}   by consolidated metadata
//
// What zarrita throws comes back as {"error": name, "text": message and causes}.
import { createInterface } from "node:readline";
import * as zarr from "zarrita";

class Store extends zarr.FetchStore {
  async set(key, value) {
    const url = new URL(key.slice(1), this.url + "/");
    const response = await fetch(url, { method: "PUT", body: value, headers: { Authorization: "Bearer of zarrita" } });
    if (!response.ok) throw new Error(`PUT answered ${response.status}`);
  }
}

const bytesOf = (data) => Buffer.from(data.buffer, data.byteOffset, data.byteLength);

async function opened({ url, path, kind }) {
  const root = zarr.root(new Store(url));
  const location = path ? root.resolve(path) : root;
  return kind ? zarr.open.v3(location, { kind }) : zarr.open.v3(location);
}

// the strides of an array whose last dimension is contiguous
function strides(shape) {
  const found = new Array(shape.length);
  let step = 1;
  for (let axis = shape.length - 1; axis >= 0; axis -= 1) {
    found[axis] = step;
    step *= shape[axis];
  }
  return found;
}

async function read(command) {
  const array = await opened({ ...command, kind: "array" });
  const found = await zarr.get(array);
  const { shape, dtype } = array;
  if (shape.length === 0) return { shape, dtype, items: [asText(found)] };
  if (Array.isArray(found.data)) return { shape, dtype, stride: found.stride, items: found.data };
  return { shape, dtype, stride: found.stride, data: bytesOf(found.data).toString("base64") };
}

const asText = (value) => (typeof value === "string" ? value : String(value));

async function write(command) {
  const array = await opened({ ...command, kind: "array" });
  const { shape } = array;
  const size = shape.reduce((product, length) => product * length, 1);
  const example = await array.getChunk(shape.map(() => 0)); // an array of the kind it wants
  let data = command.items;
  if (!data) {
    const bytes = Buffer.from(command.data, "base64");
    const memory = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
    data = new example.data.constructor(memory, 0, size);
  }
  const scalar = () => (data.get ? data.get(0) : data[0]);
  await zarr.set(array, null, shape.length ? { data, shape, stride: strides(shape) } : scalar());
  return {};
}

const described = (node) => ({ kind: node.kind, attributes: node.attrs, names: node.dimensionNames ?? null });

const describe = async (command) => described(await opened(command));

async function contents({ url }) {
  const store = await zarr.withConsolidatedMetadata(new Store(url), { format: "v3" });
  const found = store.contents();
  const all = {};
  for (const { path } of found) {
    all[path] = described(await zarr.open.v3(zarr.root(store).resolve(path)));
  }
  return { contents: found, described: all };
}

const texts = (error) => (error ? `${error.message} ${texts(error.cause)}` : "");

const actions = { read, write, describe, contents };
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  let answer;
  try {
    answer = await actions[command.do](command);
  } catch (error) {
    answer = { error: error.name, text: texts(error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
