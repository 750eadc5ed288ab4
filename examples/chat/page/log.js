// The lines of the room, oldest first, with private messages and who comes and goes in between.

const KEPT = 2_000;

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });

export class Log {
  #box = document.getElementById('log');
  #list = document.getElementById('lines');
  #older = document.getElementById('older');
  #shown = new Set();
  /** Private messages belong to no room: they stay when the room changes. */
  #privates = [];
  /** The position of the newest line. */
  newest = null;
  /** The position of the oldest line, from which earlier ones are loaded. */
  #oldest = null;
  #isMine;
  #reply;

  /** `older(position)`: the lines before it are wanted; `reply(name)`: somebody wants to answer a private message. */
  constructor({ isMine, older, reply }) {
    this.#isMine = isMine;
    this.#reply = reply;
    this.#older.addEventListener('click', () => older(this.#oldest));
    // Whoever scrolls up to it has asked for them.
    new IntersectionObserver((entries) => {
      if (entries.at(-1).isIntersecting && !this.#older.hidden) {
        older(this.#oldest);
      }
    }, { root: this.#box, rootMargin: '200px 0px 0px' }).observe(this.#older);
  }

  /** An empty room; what is private is shown again. */
  clear() {
    this.#list.replaceChildren();
    this.#shown.clear();
    this.#older.hidden = true;
    this.#oldest = null;
    this.newest = null;
    this.#privates.forEach((message) => this.#addPrivate(message));
  }

  forgetPrivates() {
    this.#privates = [];
  }

  /** The last lines, without reading them out one by one; `more`: there may be earlier ones. */
  history(lines, more) {
    this.#quietly(() => lines.forEach((line) => this.line(line)));
    this.#begins(lines, more);
    this.toEnd();
  }

  /** Earlier lines; what is in view stays where it is. */
  earlier(lines, more) {
    const below = this.#box.scrollHeight - this.#box.scrollTop;
    const { newest } = this;
    this.#older.hidden = true;
    this.#quietly(() => lines.forEach((line) => this.line(line)));
    this.newest = newest;
    this.#begins(lines, more);
    this.#box.scrollTop = this.#box.scrollHeight - below;
  }

  /** `{ position, from, text, at }`; one that came already is not shown again. */
  line({ position, from, text, at }) {
    if (!this.#shown.has(position)) {
      this.#shown.add(position);
      this.newest = position;
      this.#insert(this.#kind('line', from), at, spoken(at, from, text));
    }
  }

  privately(message) {
    this.#privates.push(message);
    this.#addPrivate(message);
  }

  /** Who came or went, or other news, after all that is there. */
  notice(...parts) {
    this.#insert('notice', this.#list.lastElementChild?.at ?? 0, parts);
  }

  #addPrivate({ from, to, text, at }) {
    const mine = this.#isMine({ from });
    const parts = spoken(at, from, text, made('em', 'mark', mine ? `private to ${to}` : 'private'));
    if (!mine) {
      const reply = made('button', '', 'Reply');
      reply.type = 'button';
      reply.setAttribute('aria-label', `Reply to ${from}`);
      reply.addEventListener('click', () => this.#reply(from));
      parts.push(reply);
    }
    this.#insert(this.#kind('line private', from), at, parts);
  }

  #kind(kind, from) {
    return this.#isMine({ from }) ? `${kind} mine` : kind;
  }

  #begins(lines, more) {
    this.#oldest = lines[0]?.position ?? this.#oldest;
    this.#older.hidden = !more || this.#list.children.length >= KEPT;
  }

  #quietly(act) {
    this.#box.setAttribute('aria-busy', 'true');
    act();
    this.#box.setAttribute('aria-busy', 'false');
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
  const words = made('span', 'text');
  words.append(...linked(text));
  return [head, words];
}

/** Addresses of the web become links, which tell the other side nothing; everything else stays text. */
function linked(text) {
  return text.split(/(https?:\/\/[^\s<>"]*[^\s<>".,;:!?)\]}'])/).map((part, index) => {
    if (index % 2 === 0 || !URL.canParse(part)) {
      return part;
    }
    const link = document.createElement('a');
    Object.assign(link, { href: part, textContent: part, target: '_blank', rel: 'noopener noreferrer nofollow' });
    return link;
  });
}

/** With `text` as text, whatever it contains, and in its own direction. */
export function made(tag, kind, text = '') {
  const one = document.createElement(tag);
  one.className = kind;
  one.dir = 'auto';
  one.textContent = text;
  return one;
}
