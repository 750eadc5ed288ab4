// Draws the pictures of the first page: `node examples/gallery/pictures.mjs`, after a change here.

import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const FOLDER = fileURLToPath(new URL('page/pictures/', import.meta.url));

const STYLE = `<style>
  .p{fill:#f1f4f2}.c{fill:#fff;stroke:#d5dbd8}.i{fill:#5a6662}.l{fill:#d5dbd8}.a{fill:#0b6e5f}.b{fill:#96610a}.r{fill:#a9281f}.u{fill:#1f5fbf}
  .s{fill:none;stroke-width:3;stroke-linecap:round;stroke-linejoin:round}.sa{stroke:#0b6e5f}.sb{stroke:#96610a}.sr{stroke:#a9281f}.su{stroke:#1f5fbf}
  @media (prefers-color-scheme:dark){.p{fill:#1b211f}.c{fill:#262e2b;stroke:#3d4845}.i{fill:#a3b0ab}.l{fill:#3d4845}.a{fill:#58c9b3}.b{fill:#e5b45c}
  .r{fill:#ff9a8f}.u{fill:#7fb2ff}.sa{stroke:#58c9b3}.sb{stroke:#e5b45c}.sr{stroke:#ff9a8f}.su{stroke:#7fb2ff}}
</style>`;

const box = (x, y, width, height, kind, round = 4) => (
  `<rect x="${x}" y="${y}" width="${width}" height="${height}" rx="${round}" class="${kind}"/>`);
const dot = (x, y, radius, kind) => `<circle cx="${x}" cy="${y}" r="${radius}" class="${kind}"/>`;
const line = (kind, ...points) => `<path class="s ${kind}" d="M${points.map(([x, y]) => `${x} ${y}`).join('L')}"/>`;
/** Words that nobody has to read. */
const words = (x, y, ...widths) => widths.map((width, row) => box(x, y + row * 9, width, 5, 'l', 2)).join('');

/** The same numbers at each run. */
function random(seed) {
  let state = seed;
  return () => {
    state = (state * 48271) % 2147483647;
    return state / 2147483647;
  };
}

function walk(kind, seed, from, to) {
  const next = random(seed);
  const points = [];
  for (let step = 0; step <= 24; step += 1) {
    const y = from + ((to - from) * step) / 24 + (next() - 0.5) * 14;
    points.push([20 + step * 8, Math.round(y)]);
  }
  return line(kind, ...points);
}

const PICTURES = {
  greeting: [
    box(20, 24, 130, 132, 'c'), box(170, 24, 130, 132, 'c'), box(32, 38, 76, 18, 'p'), box(114, 38, 24, 18, 'a'),
    ...[70, 92, 114].map((y) => dot(40, y + 4, 5, 'a') + words(52, y, 70, 48)),
    ...[44, 70, 92, 114].map((y) => dot(190, y + 4, 5, 'a') + words(202, y, 70, 48)),
  ],
  'greeting-json': [
    box(20, 24, 280, 132, 'c'),
    ...[['{', 52], ['"content":', 76], ['}', 124]].map(([text, y], row) => (
      `<text x="${row === 1 ? 60 : 40}" y="${y + 8}" class="a" font-family="monospace" font-size="20">${text}</text>`)),
    words(190, 72, 80, 56), box(60, 98, 150, 6, 'l', 2),
  ],
  chat: [
    box(20, 20, 60, 140, 'c'), box(26, 28, 48, 16, 'a'), words(30, 56, 30), words(30, 76, 36), dot(70, 78, 6, 'a'), words(30, 96, 26),
    box(88, 20, 212, 112, 'c'), dot(102, 38, 6, 'u'), words(114, 33, 120, 80),
    box(176, 56, 116, 26, 'p', 8), words(186, 62, 90, 60), dot(102, 96, 6, 'b'), words(114, 91, 96), box(114, 104, 64, 14, 'b', 3),
    box(88, 140, 170, 20, 'c'), box(264, 140, 36, 20, 'a'),
  ],
  portfolio: [
    box(12, 16, 208, 148, 'c'), walk('sa', 7, 120, 40), walk('sr', 21, 70, 128), walk('su', 5, 96, 84),
    box(228, 16, 80, 148, 'c'),
    ...[28, 50, 72, 94, 116, 138].map((y, row) => words(236, y, 26) + box(268, y - 2, 32, 9, row % 3 === 1 ? 'r' : 'a', 2)),
  ],
  notifications: [
    box(20, 20, 280, 140, 'c'), words(36, 36, 90, 140, 120), box(36, 74, 110, 18, 'p'), box(152, 74, 40, 18, 'a'),
    ...[['a', 40], ['b', 80], ['r', 120]].map(([kind, y]) => box(206, y - 8, 106, 32, 'c') + box(206, y - 8, 6, 32, kind, 2) + words(220, y, 70, 50)),
  ],
  transports: [
    box(12, 16, 296, 148, 'c'),
    ...[['a', 40, 30], ['a', 64, 44], ['u', 88, 70], ['b', 112, 120], ['r', 136, 190]].map(([kind, y, width]) => (
      words(24, y, 50) + box(84, y - 4, width, 12, kind, 3))),
  ],
  whiteboard: [
    box(12, 16, 296, 148, 'c'), line('sa', [40, 120], [60, 90], [84, 104], [112, 60], [140, 84], [164, 52]),
    line('sr', [180, 120], [200, 96], [228, 96], [244, 120], [228, 142], [200, 142], [180, 120]), line('su', [216, 60], [262, 44], [280, 76]),
    ...[['sa', 'a', 164, 52], ['sr', 'r', 180, 120], ['su', 'u', 280, 76]].map(([, kind, x, y]) => (
      `<path class="${kind}" d="M${x} ${y}l14 5-6 3-3 6z"/>${box(x + 12, y + 10, 30, 10, kind, 3)}`)),
  ],
};

mkdirSync(FOLDER, { recursive: true });
for (const [name, parts] of Object.entries(PICTURES)) {
  const picture = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 320 180">\n${STYLE}\n${box(0, 0, 320, 180, 'p', 0)}\n${parts.join('\n')}\n</svg>\n`;
  writeFileSync(`${FOLDER}${name}.svg`, picture);
}
