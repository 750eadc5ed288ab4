// Lines on their way: below the others until the server has answered, and over reloads. Where the answer went with the
// connection, the room's lines tell what has arrived; what is not among them is kept, to be sent again or discarded.

import { made, spoken } from './log.js';

/** What is said of a line; those in OFFERED wait for the user. */
const STATES = {
  sending: 'sending…', unsent: 'not sent yet', doubted: 'not answered', lost: 'may not have arrived', refused: 'refused',
};
const OFFERED = ['lost', 'refused'];

export class Outbox {
  #list = document.getElementById('underway');
  #room = null;
  #store = null;
  /** By key: { from, text, room, to, state, item, mark }; `room` is null for a private line, `to` for any other. */
  #lines = new Map();
  #chosen;

  /** `chosen(line, again)`: somebody wants one sent again, or discarded. */
  constructor(chosen) {
    this.#chosen = chosen;
  }

  /** Begins with what the store of this tab has kept. */
  open(store) {
    this.#store = store;
    for (const [key, line] of store.get('lines', [])) {
      this.#put(key, { ...line, state: line.state === 'sending' ? 'doubted' : line.state });
    }
  }

  /** Takes `{ from, text, room, to }` in a state, `sending` or `unsent`; gives the key that the line goes with. */
  add(line, state) {
    const key = crypto.randomUUID?.() ?? Math.random().toString(36).slice(2);
    this.#put(key, { ...line, state });
    this.#save();
    return key;
  }

  /** Shows the lines for this room, whose welcome will tell what has arrived, and those in private. */
  enter(room) {
    this.#room = room;
    for (const [key, line] of this.#lines) {
      line.item.hidden = !this.#isHere(line);
      if (line.room === room && line.state === 'sending') {
        this.#say(key, 'doubted');
      }
    }
  }

  /** The connection is gone, and perhaps lines with it. */
  lost() {
    this.#all('sending').forEach((key) => this.#say(key, 'doubted'));
  }

  /** Those with these keys are in the room. How many others may not have arrived. */
  settle(keys) {
    keys.forEach((key) => this.take(key));
    this.#all('doubted').filter((key) => this.#isHere(this.#lines.get(key))).forEach((key) => this.#say(key, 'lost'));
    return this.#all('lost').filter((key) => this.#isHere(this.#lines.get(key))).length;
  }

  /** Takes those out, in their order, that never left this page. */
  unsent() {
    return this.#all('unsent').map((key) => this.take(key));
  }

  /** The server wants none of it. Gives the line if it stands here and `wanted`; otherwise it is kept. */
  refused(key, wanted) {
    const line = this.#lines.get(key);
    if (line && wanted && this.#isHere(line)) {
      return this.take(key);
    }
    if (line) {
      this.#say(key, 'refused');
    }
    return undefined;
  }

  /** It has arrived. */
  take(key) {
    const line = this.#lines.get(key);
    line?.item.remove();
    if (this.#lines.delete(key)) {
      this.#save();
    }
    return line;
  }

  /** Shows nothing any more; the store forgets by itself. */
  close() {
    this.#lines.forEach(({ item }) => item.remove());
    this.#lines.clear();
  }

  #all(state) {
    return [...this.#lines].filter(([, line]) => line.state === state).map(([key]) => key);
  }

  #isHere(line) {
    return line.room === null || line.room === this.#room;
  }

  #put(key, line) {
    const mark = made('em', 'mark');
    const item = made('li', 'line mine');
    item.append(...spoken(Date.now(), line.from, line.text, mark));
    item.hidden = !this.#isHere(line);
    this.#lines.set(key, { ...line, item, mark });
    this.#say(key, line.state);
    this.#list.append(item);
  }

  #say(key, state) {
    const line = this.#lines.get(key);
    const { to, item, mark, text } = line;
    line.state = state;
    mark.textContent = to === null ? STATES[state] : `private to ${to}, ${STATES[state]}`;
    item.querySelector('.choice')?.remove();
    if (OFFERED.includes(state)) {
      const choice = made('p', 'choice');
      for (const [word, again] of [['Send again', true], ['Discard', false]]) {
        const button = made('button', '', word);
        button.type = 'button';
        button.setAttribute('aria-label', `${word}: ${text}`);
        button.addEventListener('click', () => this.#chosen(this.take(key), again));
        choice.append(button);
      }
      item.append(choice);
    }
    this.#save();
  }

  #save() {
    this.#store.set('lines', [...this.#lines].map(([key, { from, text, room, to, state }]) => (
      [key, { from, text, room, to, state }])));
  }
}
