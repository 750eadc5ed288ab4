// What has arrived in this page, and what of it was seen.

import { LEVELS, paragraph } from './toasts.js';

const KEPT = 200;

const element = (id) => document.getElementById(id);
const title = document.title;

export class Received {
  /** By id, the oldest first: { item, mine, seen }. */
  #all = new Map();

  /** Adds one, unless it is there already; whether it was new. `mine`: for this user alone. */
  add(notification, { mine, seen = false }) {
    const { id } = notification;
    if (this.#all.has(id)) {
      return false;
    }
    const item = row(notification, mine);
    element('received').prepend(item);
    this.#all.set(id, { item, mine, seen });
    while (this.#all.size > KEPT) {
      this.#drop(this.#all.keys().next().value);
    }
    this.#count();
    return true;
  }

  /** Marks some as seen; those of them that are for this user alone and were not. */
  see(ids) {
    const news = ids.filter((id) => this.#all.get(id)?.seen === false);
    news.forEach((id) => { this.#all.get(id).seen = true; });
    this.#count();
    return news.filter((id) => this.#all.get(id).mine);
  }

  hasSeen(id) {
    return this.#all.get(id)?.seen === true;
  }

  unread() {
    return [...this.#all].filter(([, { seen }]) => !seen).map(([id]) => id);
  }

  /** Forgets what was for the user alone; their ids. */
  forgetMine() {
    const ids = [...this.#all].filter(([, { mine }]) => mine).map(([id]) => id);
    ids.forEach((id) => this.#drop(id));
    this.#count();
    return ids;
  }

  #drop(id) {
    this.#all.get(id).item.remove();
    this.#all.delete(id);
  }

  #count() {
    for (const { item, seen } of this.#all.values()) {
      item.classList.toggle('unread', !seen);
      item.querySelector('.new').hidden = seen;
    }
    const count = this.unread().length;
    element('unread').textContent = count > 0 ? `${count} unread` : '';
    element('read-all').hidden = count === 0;
    document.title = count > 0 ? `(${count}) ${title}` : title;
  }
}

function row({ level, text, at }, mine) {
  const item = document.createElement('li');
  item.dataset.level = level;
  const about = document.createElement('div');
  about.className = 'about';
  const time = document.createElement('time');
  time.dateTime = new Date(at).toISOString();
  time.textContent = when(new Date(at));
  about.append(part('kind', LEVELS[level] ?? level), part('whom', mine ? 'for you' : 'for everyone'), time, part('new', 'new'));
  item.append(about, paragraph('text', text));
  return item;
}

function part(className, text) {
  const part = document.createElement('span');
  part.className = className;
  part.textContent = text;
  return part;
}

/** The time, with the day unless it is today. */
function when(date) {
  const today = date.toDateString() === new Date().toDateString();
  return today ? date.toLocaleTimeString() : date.toLocaleString();
}
