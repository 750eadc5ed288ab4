// Toasts: they stay until they are dismissed, or until newer ones need their place.

const MOST_SHOWN = 3;

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
  }

  /** Takes one away that was seen elsewhere, or has to make room. */
  remove(id) {
    const toast = this.#shown.get(id);
    if (toast?.contains(document.activeElement)) {
      this.#focusAnother(id);
    }
    toast?.remove();
    this.#shown.delete(id);
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
