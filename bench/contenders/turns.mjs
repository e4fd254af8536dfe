// A worker's side of the talk with the bench, as in turns.py; and what the workers in Node read.

import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

// Imports a package from the folder that the bench installed it into, CommonJS or not.
export async function load(packages, name) {
  const found = createRequire(join(packages, "package.json")).resolve(name);
  const module = await import(pathToFileURL(found));
  return { ...module.default, ...module };
}

// Every file of a folder by its path in it.
export function readFolder(folder) {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return Object.fromEntries(
    entries
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
      .map((path) => [path.slice(folder.length + 1), readFileSync(path)]),
  );
}

export function readDocuments(folder) {
  return JSON.parse(readFileSync(join(folder, "passes.json"), "utf8"));
}

// `make`: the bundle of one document, as a Buffer.
export async function takeTurns({ sample, documents, make }) {
  writeFileSync(sample, await make(documents[0]));
  say({ ready: true });
  let next = 0;
  for await (const line of createInterface({ input: process.stdin })) {
    const length = 1000 * Number(line);
    const before = process.cpuUsage();
    const started = performance.now();
    let passes = 0;
    while (performance.now() - started < length) {
      await make(documents[next++ % documents.length]);
      passes += 1;
    }
    const seconds = (performance.now() - started) / 1000;
    const { user, system } = process.cpuUsage(before);
    say({ passes, seconds, cpu_seconds: (user + system) / 1e6 });
  }
}

function say(answer) {
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
