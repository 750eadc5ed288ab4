// The strokes, in the order of the topic, on a canvas that scales with its window.

export const WIDTH = 1600;
export const HEIGHT = 1000;

const COLOURS = {
  light: ['#1d2422', '#0b6e5f', '#1f5fbf', '#a9281f', '#96610a', '#7a3fb0'],
  dark: ['#e7ecea', '#58c9b3', '#7fb2ff', '#ff9a8f', '#e5b45c', '#c9a2f5'],
};
export const NAMES = ['Ink', 'Green', 'Blue', 'Red', 'Ochre', 'Violet'];

const night = matchMedia('(prefers-color-scheme: dark)');

export const colours = () => COLOURS[night.matches ? 'dark' : 'light'];

export class Board {
  /** By user and name: { user, stroke, colour, parts, next, undone }, in the order in which they began. */
  #strokes = new Map();
  #canvas = document.getElementById('strokes');
  #pen = document.getElementById('pen');
  #drawn = 0;
  #own;

  /** `own()`: parts of this page that have not come back yet; they are drawn above. */
  constructor(own) {
    this.#own = own;
    new ResizeObserver(() => this.#fit()).observe(this.#canvas);
    night.addEventListener('change', () => this.#fit());
  }

  /** A message of the topic; what is known already changes nothing. */
  apply({ event, user, stroke, part, colour, points }) {
    const key = JSON.stringify([user, stroke]);
    const known = this.#strokes.get(key) ?? { user, stroke, colour, parts: [], next: 0, undone: false };
    this.#strokes.set(key, known);
    if (event === 'undone') {
      known.undone = true;
      this.redraw();
    } else if (part >= known.next) {
      known.next = part + 1;
      known.parts.push([...known.parts.at(-1)?.slice(-1) ?? [], ...points]);
      if (!known.undone) {
        line(this.#canvas, known.colour, known.parts.at(-1));
      }
    }
  }

  /** The last stroke of a user that is still there. */
  lastOf(user) {
    return [...this.#strokes.values()].findLast((stroke) => stroke.user === user && isThere(stroke));
  }

  get count() {
    return [...this.#strokes.values()].filter(isThere).length;
  }

  clear() {
    this.#strokes.clear();
    this.redraw();
  }

  redraw() {
    wipe(this.#canvas);
    for (const { colour, parts } of [...this.#strokes.values()].filter(isThere)) {
      parts.forEach((part) => line(this.#canvas, colour, part));
    }
  }

  /** What is not confirmed, once before the next picture of the screen. */
  redrawOwn() {
    cancelAnimationFrame(this.#drawn);
    this.#drawn = requestAnimationFrame(() => {
      wipe(this.#pen);
      let before = null;
      for (const part of this.#own()) {
        const joined = before?.stroke === part.stroke ? before.points.slice(-1) : [];
        line(this.#pen, part.colour, [...joined, ...part.points]);
        before = part;
      }
    });
  }

  #fit() {
    for (const canvas of [this.#canvas, this.#pen]) {
      canvas.width = Math.round(canvas.clientWidth * devicePixelRatio);
      canvas.height = Math.round(canvas.clientHeight * devicePixelRatio);
    }
    this.redraw();
    this.redrawOwn();
  }
}

function isThere({ undone, parts }) {
  return !undone && parts.length > 0;
}

function wipe(canvas) {
  canvas.getContext('2d').clearRect(0, 0, canvas.width, canvas.height);
}

function line(canvas, colour, points) {
  const context = canvas.getContext('2d');
  const scale = canvas.width / WIDTH;
  context.strokeStyle = colours()[colour];
  context.lineWidth = Math.max(2.5 * devicePixelRatio, 5 * scale);
  context.lineCap = 'round';
  context.lineJoin = 'round';
  context.beginPath();
  // A single point is a dot.
  [points[0], ...points].forEach(([x, y], index) => context[index === 0 ? 'moveTo' : 'lineTo'](x * scale, y * scale));
  context.stroke();
}
