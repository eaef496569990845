// Bundles the page of `transect review` into the package, with the digest of what it was made from.
import { createHash } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = join(here, "../../src/transect/review/static");
const sources = ["build.mjs", "package-lock.json", "package.json", "tsconfig.json"];
sources.push(...readdirSync(join(here, "src")).map((name) => `src/${name}`));

const result = await build({
  entryPoints: [join(here, "src/review.ts"), join(here, "src/review.css")],
  outdir: out,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  legalComments: "none",
  metafile: true,
});
writeFileSync(join(out, "index.html"), readFileSync(join(here, "src/index.html")));

const packages = new Set();
for (const input of Object.keys(result.metafile.inputs)) {
  const found = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input);
  if (found) packages.add(found[1]);
}
const licences = [...packages].sort().map((name) => {
  const folder = join(here, "node_modules", name);
  const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
  return `${name} ${version} (${license})\n\n${readFileSync(join(folder, file), "utf8").trim()}\n`;
});
writeFileSync(join(out, "LICENSES.txt"), licences.join(`\n${"-".repeat(80)}\n\n`));

const digest = (files, root) => {
  const hash = createHash("sha256");
  for (const name of [...files].sort()) {
    hash.update(`${name}\n`).update(readFileSync(join(root, name))).update("\n");
  }
  return hash.digest("hex");
};
const bundle = ["LICENSES.txt", "index.html", "review.css", "review.js"];
const record = { source: digest(sources, here), bundle: digest(bundle, out) };
writeFileSync(join(out, "bundle.json"), `${JSON.stringify(record, null, 2)}\n`);
