// Drawn faces of a style, for --drawn (benchmarks/kinds.py): 400 pictures, each of a seed of its own.
//
//     npm install @dicebear/core@9 @dicebear/notionists@9 @resvg/resvg-js
//     node benchmarks/drawn.mjs notionists drawn
//
// `lorelei` and `notionists` are CC0; `adventurer` (Lisa Wischofsky) and `micah` (Micah Lanier) CC BY 4.0.

import fs from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [style, folder] = process.argv.slice(2);
const here = createRequire(process.cwd() + "/"); // packages of the folder where one stands
const take = async (name) => import(pathToFileURL(here.resolve(name)));
const { createAvatar } = await take("@dicebear/core");
const { Resvg } = await take("@resvg/resvg-js");
const drawn = await take(`@dicebear/${style}`);

const backgroundColor = ["b6e3f4", "c0aede", "d1d4f9", "ffd5dc", "ffdfbf"];
fs.mkdirSync(`${folder}/${style}`, { recursive: true });
for (let i = 0; i < 400; i++) {
  const svg = createAvatar(drawn, { seed: `face ${i}`, size: 128, backgroundColor }).toString();
  const png = new Resvg(svg, { fitTo: { mode: "width", value: 128 } }).render().asPng();
  fs.writeFileSync(`${folder}/${style}/${String(i).padStart(3, "0")}.png`, png);
}
