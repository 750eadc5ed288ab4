// The lines of the room, oldest first, with private messages and who comes and goes in between.

const KEPT = 500;

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });

export class Log {
  #box = document.getElementById('log');
  #list = document.getElementById('lines');
  #shown = new Set();
  /** Private messages belong to no room: they stay when the room changes. */
  #privates = [];

  /** An empty room; what is private is shown again. */
  clear() {
    this.#list.replaceChildren();
    this.#shown.clear();
    this.#privates.forEach((message) => this.#addPrivate(message));
  }

  forgetPrivates() {
    this.#privates = [];
  }

  /** All that was said before, without reading it out line by line. */
  history(lines) {
    this.#box.setAttribute('aria-busy', 'true');
    lines.forEach((line) => this.line(line));
    this.#box.setAttribute('aria-busy', 'false');
    this.toEnd();
  }

  /** `{ id, from, text, at }`; one that came by the history already is not shown again. */
  line({ id, from, text, at }) {
    if (!this.#shown.has(id)) {
      this.#shown.add(id);
      this.#insert('line', at, spoken(at, from, text));
    }
  }

  /** `{ from, to, text, at }`; `mine` says whether it was sent from here. */
  privately(message, mine) {
    this.#privates.push({ ...message, mine });
    this.#addPrivate(this.#privates.at(-1));
  }

  /** Who came or went, or other news, after all that is there. */
  notice(...parts) {
    this.#insert('notice', this.#list.lastElementChild?.at ?? 0, parts);
  }

  #addPrivate({ from, to, text, at, mine }) {
    const mark = made('em', 'mark', mine ? `private to ${to}` : 'private');
    this.#insert('line private', at, spoken(at, from, text, mark));
  }

  /** By the server's time: the history may come after the first live line. */
  #insert(kind, at, parts) {
    const atEnd = this.#box.scrollHeight - this.#box.scrollTop - this.#box.clientHeight < 8;
    const item = made('li', kind);
    item.append(...parts);
    item.at = at;
    let before = this.#list.lastElementChild;
    while (before && before.at > at) {
      before = before.previousElementSibling;
    }
    if (before) {
      before.after(item);
    } else {
      this.#list.prepend(item);
    }
    while (this.#list.children.length > KEPT) {
      this.#list.firstElementChild.remove();
    }
    // Whoever has scrolled up to read is left in peace.
    if (atEnd) {
      this.toEnd();
    }
  }

  /** The newest line in view. */
  toEnd() {
    this.#box.scrollTop = this.#box.scrollHeight;
  }
}

/** The parts of a line. */
export function spoken(at, from, text, ...marks) {
  const time = made('time', 'time', clock.format(at));
  time.dateTime = new Date(at).toISOString();
  const head = made('span', 'head');
  head.append(made('strong', 'from', from), ' ', ...marks.flatMap((mark) => [mark, ' ']), time, ' ');
  return [head, made('span', 'text', text)];
}

/** With `text` as text, whatever it contains, and in its own direction. */
export function made(tag, kind, text = '') {
  const one = document.createElement(tag);
  one.className = kind;
  one.dir = 'auto';
  one.textContent = text;
  return one;
}
