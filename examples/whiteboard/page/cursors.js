// The others' cursors, each with its name, until it has rested for a while.

import { HEIGHT, WIDTH } from './board.js';

const RESTS_AFTER = 5_000;

export class Cursors {
  #box = document.getElementById('cursors');
  #cursors = new Map();

  move(user, [x, y]) {
    const cursor = this.#cursors.get(user) ?? this.#add(user);
    const { clientWidth, clientHeight } = this.#box;
    cursor.style.transform = `translate(${(x / WIDTH) * clientWidth}px, ${(y / HEIGHT) * clientHeight}px)`;
    cursor.classList.remove('idle');
    clearTimeout(cursor.rests);
    cursor.rests = setTimeout(() => cursor.classList.add('idle'), RESTS_AFTER);
  }

  clear() {
    this.#box.replaceChildren();
    this.#cursors.clear();
  }

  #add(user) {
    const cursor = document.createElement('span');
    cursor.className = 'cursor';
    cursor.dir = 'auto';
    cursor.textContent = user;
    this.#box.append(cursor);
    this.#cursors.set(user, cursor);
    return cursor;
  }
}
