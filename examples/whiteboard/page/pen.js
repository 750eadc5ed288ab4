// Mouse, touch, pen and keyboard: strokes in parts, and where the pen is.

import { HEIGHT, WIDTH } from './board.js';

/** How often a part and a cursor leave, in milliseconds. */
const PART_EVERY = 66;
const CURSOR_EVERY = 33;

/** Nearer points than this, in units of the board, say nothing. */
const NEAREST = 3;
const MOST_POINTS = 200;

const STEP = 10;
const ARROWS = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };

export class Pen {
  #surface = document.getElementById('pen');
  #at = [WIDTH / 2, HEIGHT / 2];
  #sent = '';
  /** The stroke under the pen: { stroke, part, points, last }; null while the pen is up. */
  #stroke = null;
  #on;

  /** `on`: part({ stroke, part, points }), cursor(at). */
  constructor(on) {
    this.#on = on;
    const surface = this.#surface;
    surface.addEventListener('pointerdown', (event) => {
      if (event.isPrimary && event.button === 0) {
        surface.setPointerCapture(event.pointerId);
        this.#move(this.#place(event));
        this.#down();
      }
    });
    surface.addEventListener('pointermove', (event) => {
      if (event.isPrimary) {
        (event.getCoalescedEvents?.() ?? [event]).forEach((one) => this.#move(this.#place(one)));
        this.#move(this.#place(event));
      }
    });
    for (const end of ['pointerup', 'pointercancel', 'blur']) {
      surface.addEventListener(end, () => this.#up());
    }
    surface.addEventListener('keydown', (event) => this.#key(event));
    setInterval(() => this.#flush(), PART_EVERY);
    setInterval(() => this.#tell(), CURSOR_EVERY);
  }

  #key(event) {
    const by = ARROWS[event.key];
    if (by) {
      this.#move([this.#at[0] + by[0], this.#at[1] + by[1]]);
    } else if (event.key === ' ' && !event.repeat) {
      (this.#stroke ? this.#up() : this.#down());
    } else {
      return;
    }
    event.preventDefault();
  }

  #place({ clientX, clientY }) {
    const { left, top, width, height } = this.#surface.getBoundingClientRect();
    return [((clientX - left) / width) * WIDTH, ((clientY - top) / height) * HEIGHT];
  }

  #move([x, y]) {
    this.#at = [Math.min(WIDTH, Math.max(0, Math.round(x))), Math.min(HEIGHT, Math.max(0, Math.round(y)))];
    const { last, points } = this.#stroke ?? {};
    if (last && Math.hypot(last[0] - this.#at[0], last[1] - this.#at[1]) >= NEAREST) {
      this.#stroke.last = this.#at;
      points.push(this.#at);
      if (points.length === MOST_POINTS) {
        this.#flush();
      }
    }
  }

  #down() {
    const stroke = Date.now().toString(36) + Math.random().toString(36).slice(2, 10);
    this.#stroke = { stroke, part: 0, points: [this.#at], last: this.#at };
  }

  #up() {
    this.#flush();
    this.#stroke = null;
  }

  #flush() {
    const { stroke, part, points } = this.#stroke ?? { points: [] };
    if (points.length > 0) {
      Object.assign(this.#stroke, { part: part + 1, points: [] });
      this.#on.part({ stroke, part, points });
    }
  }

  #tell() {
    const at = this.#at.join();
    if (at !== this.#sent) {
      this.#sent = at;
      this.#on.cursor(this.#at);
    }
  }
}
