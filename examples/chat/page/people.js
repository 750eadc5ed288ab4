// Who is in the room, and who of them is typing.

import { made } from './log.js';

/** After this long without news, in milliseconds, somebody has stopped typing; who goes on types says so more often. */
const FORGOTTEN_AFTER = 5000;
const TOLD_EVERY = 2000;

export class Members {
  #list = document.getElementById('members');
  #names = new Set();
  #me = '';
  #chosen = null;
  #choose;

  /** `choose(name)`: somebody is to get a private message. */
  constructor(choose) {
    this.#choose = choose;
  }

  reset(me, names = []) {
    this.#me = me;
    this.#names = new Set(names);
    this.#show();
  }

  /** Whether that is news. */
  join(name) {
    const news = !this.#names.has(name);
    this.#names.add(name);
    this.#show();
    return news;
  }

  leave(name) {
    const news = this.#names.delete(name);
    this.#show();
    return news;
  }

  mark(name) {
    this.#chosen = name;
    this.#show();
  }

  /** Buttons that stay keep their place and the focus. */
  #show() {
    const old = new Map([...this.#list.children].map((item) => [item.name, item]));
    const names = [...this.#names].sort((a, b) => a.localeCompare(b));
    const items = names.map((name) => old.get(name) ?? this.#item(name));
    items.forEach((item, index) => {
      item.querySelector('button')?.setAttribute('aria-pressed', String(item.name === this.#chosen));
      if (this.#list.children[index] !== item) {
        this.#list.insertBefore(item, this.#list.children[index] ?? null);
      }
    });
    while (this.#list.children.length > items.length) {
      this.#list.lastElementChild.remove();
    }
    document.getElementById('count').textContent = `(${names.length})`;
  }

  #item(name) {
    const item = document.createElement('li');
    item.name = name;
    if (name === this.#me) {
      item.textContent = `${name} (you)`;
      return item;
    }
    const button = made('button', '', name);
    button.type = 'button';
    button.addEventListener('click', () => this.#choose(name));
    item.append(button);
    return item;
  }
}

export class Typists {
  #text = document.getElementById('typing');
  #timers = new Map();

  reset() {
    [...this.#timers.keys()].forEach((name) => this.stops(name));
  }

  types(name) {
    clearTimeout(this.#timers.get(name));
    this.#timers.set(name, setTimeout(() => this.stops(name), FORGOTTEN_AFTER));
    this.#show();
  }

  stops(name) {
    clearTimeout(this.#timers.get(name));
    this.#timers.delete(name);
    this.#show();
  }

  #show() {
    const names = [...this.#timers.keys()].sort((a, b) => a.localeCompare(b));
    const [one, other] = names.map((name) => made('bdi', '', name));
    this.#text.replaceChildren(...[
      [],
      [one, ' is typing…'],
      [one, ' and ', other, ' are typing…'],
    ][names.length] ?? [`${names.length} people are typing…`]);
  }
}

/** Tells the room that something is being typed here: at once, then now and then, and when it has ended. */
export class OwnTyping {
  #told = 0;
  #tell;

  /** `tell(typing)` sends it. */
  constructor(tell) {
    this.#tell = tell;
  }

  goesOn() {
    if (Date.now() - this.#told >= TOLD_EVERY) {
      this.#told = Date.now();
      this.#tell(true);
    }
  }

  ends() {
    if (this.#told > 0) {
      this.#told = 0;
      this.#tell(false);
    }
  }

  /** What was typed has been sent: the line says that the typing has ended. */
  sent() {
    this.#told = 0;
  }
}

/** Where the window is too narrow for the members beside the lines, they are in a drawer. */
export class Drawer {
  #button = document.getElementById('people');
  #here = document.getElementById('here');

  constructor() {
    this.#button.addEventListener('click', () => this.#show(!this.#here.classList.contains('open')));
    document.addEventListener('keydown', (event) => {
      if (event.key === 'Escape' && this.#here.classList.contains('open')) {
        this.close();
        this.#button.focus();
      }
    });
    document.addEventListener('pointerdown', ({ target }) => {
      if (!this.#here.contains(target) && !this.#button.contains(target)) {
        this.close();
      }
    });
  }

  close() {
    this.#show(false);
  }

  #show(open) {
    this.#here.classList.toggle('open', open);
    this.#button.setAttribute('aria-expanded', String(open));
    if (open) {
      this.#here.querySelector('button')?.focus();
    }
  }
}
