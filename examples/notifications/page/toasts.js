// Toasts: they go by themselves after a while, or when they are dismissed, or when newer ones need their place.

const MOST_SHOWN = 3;

/** How long one stays, in milliseconds; the list keeps it, unread. */
const STAYS = { polite: 12_000, urgent: 30_000 };

const REGIONS = { warning: 'urgent', error: 'urgent' };

/** What a level is called. */
export const LEVELS = { info: 'Info', success: 'Success', warning: 'Warning', error: 'Error' };

const element = (id) => document.getElementById(id);

export class Toasts {
  /** Those on the screen, by id, the oldest first. */
  #shown = new Map();
  #dismissed;

  /** Calls `dismissed(id)` when somebody dismisses one. */
  constructor(dismissed) {
    this.#dismissed = dismissed;
    for (const region of Object.keys(STAYS)) {
      for (const event of ['pointerenter', 'pointerleave', 'focusin', 'focusout']) {
        element(region).addEventListener(event, () => this.#wait());
      }
    }
    document.addEventListener('visibilitychange', () => this.#wait());
  }

  show({ id, level, text }) {
    const toast = document.createElement('div');
    toast.className = 'toast';
    toast.dataset.level = level;
    const kind = paragraph('kind', LEVELS[level] ?? level);
    const words = paragraph('text', text);
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = 'Dismiss';
    button.setAttribute('aria-label', `Dismiss: ${text}`);
    button.addEventListener('click', () => this.#dismiss(id));
    toast.append(kind, words, button);
    element(REGIONS[level] ?? 'polite').prepend(toast);
    this.#shown.set(id, toast);
    while (this.#shown.size > MOST_SHOWN) {
      this.remove(this.#shown.keys().next().value);
    }
    this.#wait(id);
  }

  /** Takes one away that was seen elsewhere, or has to make room. */
  remove(id) {
    const toast = this.#shown.get(id);
    if (toast?.contains(document.activeElement)) {
      this.#focusAnother(id);
    }
    clearTimeout(toast?.going);
    toast?.remove();
    this.#shown.delete(id);
  }

  /** Counts anew for one, or for all; not while somebody points at them or is among them, nor while nobody sees the page. */
  #wait(one) {
    const read = Object.keys(STAYS).some((region) => element(region).matches(':hover, :focus-within'));
    for (const [id, toast] of this.#shown) {
      if (read || document.hidden) {
        clearTimeout(toast.going);
      } else if (one === undefined || one === id) {
        clearTimeout(toast.going);
        toast.going = setTimeout(() => this.remove(id), STAYS[toast.parentElement.id]);
      }
    }
  }

  #dismiss(id) {
    this.remove(id);
    this.#dismissed(id);
  }

  /** The keyboard goes on with the next toast; behind the last one, with the list. */
  #focusAnother(id) {
    const others = [...this.#shown].filter(([other]) => other !== id).map(([, toast]) => toast);
    const next = others.at(-1)?.querySelector('button') ?? element('received-title');
    next.focus();
  }
}

/** A paragraph of plain text. */
export function paragraph(className, text) {
  const paragraph = document.createElement('p');
  paragraph.className = className;
  paragraph.dir = 'auto';
  paragraph.textContent = text;
  return paragraph;
}
