// What was sent and has not been confirmed: kept, shown, and sent again or discarded as the user says.

const element = (id) => document.getElementById(id);
const tag = Math.random().toString(36).slice(2);
let count = 0;

export class Unconfirmed {
  /** By key: { label, again, item }; `item` is on the page once there is a doubt. */
  #kept = new Map();
  #send;

  /** `send(again)` sends what `add` was given for that. */
  constructor(send) {
    this.#send = send;
  }

  /** Keeps one, which people know as `label`; gives its key, and what can become of it. */
  add(label, again) {
    count += 1;
    const key = `${tag}-${count}`;
    this.#kept.set(key, { label, again });
    return { key, confirm: () => this.#remove(key), unsent: () => this.#offer(key, 'not sent') };
  }

  /** The connection is gone, and with it the answers. */
  lost() {
    for (const [key, { item }] of this.#kept) {
      if (!item) {
        this.#offer(key, 'may not have arrived');
      }
    }
  }

  clear() {
    [...this.#kept.keys()].forEach((key) => this.#remove(key));
  }

  #remove(key) {
    this.#kept.get(key)?.item?.remove();
    this.#kept.delete(key);
    element('unconfirmed').hidden = element('unconfirmed').children.length === 0;
  }

  #offer(key, state) {
    const kept = this.#kept.get(key);
    const item = document.createElement('li');
    const text = document.createElement('span');
    text.dir = 'auto';
    text.textContent = `${kept.label}: ${state}`;
    item.append(text);
    for (const [word, again] of [['Send again', true], ['Discard', false]]) {
      const button = document.createElement('button');
      button.type = 'button';
      button.textContent = word;
      button.setAttribute('aria-label', `${word}: ${kept.label}`);
      button.addEventListener('click', () => {
        this.#remove(key);
        if (again) {
          this.#send(kept.again);
        }
      });
      item.append(button);
    }
    kept.item = item;
    element('unconfirmed').append(item);
    element('unconfirmed').hidden = false;
  }
}
