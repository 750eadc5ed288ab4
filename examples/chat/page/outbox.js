// Lines on their way: below the others until the server has answered. Where the answer went with the connection, the
// room's lines tell what has arrived; what is not among them is kept, to be sent again or discarded.

import { made, spoken } from './log.js';

export class Outbox {
  #list = document.getElementById('underway');
  #tag = Math.random().toString(36).slice(2);
  #count = 0;
  #room = null;
  /**
   * By key: { from, text, room, to, item, mark, doubted, refused }; `room` is null for a private line, `to` for any other.
   */
  #lines = new Map();
  #chosen;

  /** `chosen(line, again)`: somebody wants one sent again, or discarded. */
  constructor(chosen) {
    this.#chosen = chosen;
  }

  /** Takes `{ from, text, room, to }`; gives the key that the line goes with. */
  add(line) {
    this.#count += 1;
    const key = `${this.#tag}-${this.#count}`;
    const mark = made('em', 'mark');
    const item = made('li', 'line');
    item.append(...spoken(Date.now(), line.from, line.text, mark));
    this.#lines.set(key, { ...line, item, mark, doubted: false, refused: false });
    this.#say(key, 'sending…');
    this.#list.append(item);
    return key;
  }

  /** Shows the lines for this room, whose welcome will tell what has arrived, and those in private. */
  enter(room) {
    this.#room = room;
    for (const line of this.#lines.values()) {
      line.item.hidden = !this.#isHere(line);
      line.doubted ||= line.room === room && !line.refused;
    }
  }

  /** The connection is gone, and perhaps lines with it. */
  lost() {
    for (const [key, line] of this.#lines) {
      if (!line.refused) {
        line.doubted = true;
        this.#say(key, 'not answered');
      }
    }
  }

  /** Those with these keys are in the room. How many others may not have arrived. */
  settle(keys) {
    keys.forEach((key) => this.take(key));
    const open = [...this.#lines].filter(([, line]) => line.doubted && this.#isHere(line));
    open.forEach(([key]) => this.#offer(key, 'may not have arrived'));
    return open.length;
  }

  /** The server wants none of it. Gives the line if it stands here and `wanted`; otherwise it is kept. */
  refused(key, wanted) {
    const line = this.#lines.get(key);
    if (line && wanted && this.#isHere(line)) {
      return this.take(key);
    }
    if (line) {
      line.refused = true;
      line.doubted = false;
      this.#offer(key, 'refused');
    }
    return undefined;
  }

  /** It has arrived. */
  take(key) {
    const line = this.#lines.get(key);
    line?.item.remove();
    this.#lines.delete(key);
    return line;
  }

  clear() {
    [...this.#lines.keys()].forEach((key) => this.take(key));
  }

  #isHere(line) {
    return line.room === null || line.room === this.#room;
  }

  #say(key, state) {
    const { to, item, mark } = this.#lines.get(key);
    mark.textContent = to === null ? state : `private to ${to}, ${state}`;
    item.querySelector('.choice')?.remove();
  }

  #offer(key, state) {
    this.#say(key, state);
    const line = this.#lines.get(key);
    const choice = made('p', 'choice');
    for (const [text, again] of [['Send again', true], ['Discard', false]]) {
      const button = made('button', '', text);
      button.type = 'button';
      button.setAttribute('aria-label', `${text}: ${line.text}`);
      button.addEventListener('click', () => this.#chosen(this.take(key), again));
      choice.append(button);
    }
    line.item.append(choice);
  }
}
