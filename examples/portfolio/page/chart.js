// All prices in one picture: each as its change since the page was opened, with its ticker at the end of its line.

import { KEPT, change } from './market.js';
import { percent, set, svg, write } from './format.js';

const HEIGHT = 260;
const TOP = 12;
const BOTTOM = 24;
const LEFT = 46;
const RIGHT = 48;
/** What a label takes of the height. */
const LABEL = 13;
/** A text that changed with each sample could not be read. */
const TEXT_EVERY = 20;
/** The least time that fills the width, lest the first prices jump about. */
const SHORTEST = 10_000;
/** A line ends where no prices came for longer than this. Browsers wake a page that nobody sees once in a second. */
const GAP = 2500;

export class Chart {
  #lines = new Map();
  #grid = svg('g', { class: 'grid' });
  #samples = 0;
  #width = 0;

  constructor(picture, text) {
    Object.assign(this, { picture, text });
    picture.append(this.#grid);
    new ResizeObserver(([{ contentRect }]) => {
      this.#width = Math.round(contentRect.width);
      picture.setAttribute('viewBox', `0 0 ${this.#width} ${HEIGHT}`);
    }).observe(picture);
  }

  draw({ stocks }, now) {
    const lines = [...stocks.values()].map((stock) => ({
      ticker: stock.ticker,
      points: stock.history.map(({ at, price }) => ({ at, value: change(stock, price) })),
      last: change(stock, stock.price),
    }));
    if (lines.length === 0 || this.#width < LEFT + RIGHT) {
      return;
    }
    const scale = scaled(lines.flatMap(({ points, last }) => [last, ...points.map(({ value }) => value)]));
    const oldest = Math.min(now, ...lines.map(({ points }) => points[0]?.at ?? now));
    const span = Math.min(KEPT, Math.max(SHORTEST, now - oldest));
    const x = (at) => this.#width - RIGHT - ((now - at) * (this.#width - LEFT - RIGHT)) / span;
    const y = (value) => TOP + ((scale.most - value) / (scale.most - scale.least)) * (HEIGHT - TOP - BOTTOM);

    this.#drawGrid(scale, y, Math.round(span / 1000));
    lines.forEach((line, index) => {
      const { path, label } = this.#lines.get(line.ticker) ?? this.#add(line.ticker, index);
      path.setAttribute('d', line.points.map(({ at, value }, place) => {
        const joined = place > 0 && at - line.points[place - 1].at <= GAP;
        return `${joined ? 'L' : 'M'}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
      }).join(''));
      line.label = label;
    });
    apart(lines.map(({ label, last }) => ({ label, y: y(last) }))).forEach(({ label, y: place }) => {
      set(label, { x: this.#width - RIGHT + 6, y: place.toFixed(1) });
    });
    if (this.#samples % TEXT_EVERY === 0) {
      write(this.text, described(lines));
    }
    this.#samples += 1;
  }

  clear() {
    this.#lines.clear();
    this.#grid.replaceChildren();
    this.picture.replaceChildren(this.#grid);
    this.#samples = 0;
  }

  #add(ticker, index) {
    const path = svg('path', { class: `line series-${index}` });
    const label = svg('text', { class: `series-${index}`, 'dominant-baseline': 'middle' });
    label.textContent = ticker;
    this.picture.append(path, label);
    const made = { path, label };
    this.#lines.set(ticker, made);
    return made;
  }

  #drawGrid({ least, most, step }, y, seconds) {
    const parts = [];
    const right = this.#width - RIGHT;
    for (let tick = Math.ceil(least / step); tick * step <= most; tick += 1) {
      const value = tick * step;
      const at = y(value).toFixed(1);
      parts.push(svg('path', { d: `M${LEFT} ${at}H${right}`, class: tick === 0 ? 'zero' : '' }));
      parts.push(text(`${value.toLocaleString('en-US', { maximumFractionDigits: 2 })} %`, {
        x: LEFT - 6, y: at, 'text-anchor': 'end', 'dominant-baseline': 'middle',
      }));
    }
    parts.push(text(`${seconds} seconds ago`, { x: LEFT, y: HEIGHT - 6 }));
    parts.push(text('now', { x: right, y: HEIGHT - 6, 'text-anchor': 'end' }));
    this.#grid.replaceChildren(...parts);
  }
}

/** From the least to the most of all values, with some air, and a round step between lines of the grid. */
function scaled(values) {
  const least = Math.min(-0.1, ...values);
  const most = Math.max(0.1, ...values);
  const air = (most - least) * 0.05;
  const rough = (most - least) / 5;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * [1, 2, 5, 10].find((times) => unit * times >= rough);
  return { least: least - air, most: most + air, step };
}

/** Moves labels up and down until none covers another. */
function apart(labels) {
  const sorted = labels.toSorted((a, b) => a.y - b.y);
  const lowest = HEIGHT - BOTTOM;
  sorted.forEach((label, index) => {
    label.y = Math.max(label.y, index === 0 ? TOP : sorted[index - 1].y + LABEL);
  });
  for (let index = sorted.length - 1; index >= 0; index -= 1) {
    const most = index === sorted.length - 1 ? lowest : sorted[index + 1].y - LABEL;
    sorted[index].y = Math.min(sorted[index].y, most);
  }
  return sorted;
}

/** The picture in words. */
function described(lines) {
  const sorted = lines.toSorted((a, b) => b.last - a.last);
  const words = sorted.map(({ ticker, last }) => `${ticker} ${percent(last)}`);
  return `Change since you opened this page, best first: ${words.join(', ')}.`;
}

function text(words, attributes) {
  const node = svg('text', attributes);
  node.textContent = words;
  return node;
}
