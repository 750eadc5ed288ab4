// The rooms, what is unread in each, and the sum of it in the title.

const title = document.title;

export class Rooms {
  names = [];
  #list = document.getElementById('rooms');
  #here = null;
  #links = new Map();
  /** By room; private lines under the name that no room has. */
  #unread = new Map();

  constructor() {
    document.addEventListener('visibilitychange', () => this.#seen());
  }

  show(names, here) {
    this.#here = here;
    if (names.join() !== this.names.join()) {
      this.names = names;
      this.#fill();
    }
    this.#seen();
  }

  /** Something was said in a room, or in private with null; whoever looks at it has read it. */
  said(room = null) {
    if (document.hidden || (room !== null && room !== this.#here)) {
      this.#unread.set(room, (this.#unread.get(room) ?? 0) + 1);
      this.#draw();
    }
  }

  clear() {
    this.#unread.clear();
    this.#draw();
  }

  #seen() {
    if (!document.hidden) {
      this.#unread.delete(this.#here);
      this.#unread.delete(null);
    }
    this.#draw();
  }

  #draw() {
    for (const [room, { link, badge }] of this.#links) {
      const count = this.#unread.get(room) ?? 0;
      badge.firstChild.data = count;
      badge.hidden = count === 0;
      if (room === this.#here) {
        link.setAttribute('aria-current', 'page');
      } else {
        link.removeAttribute('aria-current');
      }
    }
    const sum = [...this.#unread.values()].reduce((total, count) => total + count, 0);
    document.title = sum > 0 ? `(${sum}) ${title}` : title;
  }

  /** A link for each room; they stay, and the focus with them, until there are other rooms. */
  #fill() {
    this.#links.clear();
    this.#list.replaceChildren(...this.names.map((room) => {
      const link = document.createElement('a');
      const badge = document.createElement('span');
      badge.className = 'unread';
      badge.append('', unread());
      link.href = `#${room}`;
      link.append(room, ' ', badge);
      this.#links.set(room, { link, badge });
      const item = document.createElement('li');
      item.append(link);
      return item;
    }));
  }
}

/** The word, for who cannot see what the number means. */
function unread() {
  const word = document.createElement('span');
  word.className = 'unseen';
  word.textContent = ' unread';
  return word;
}
