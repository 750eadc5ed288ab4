// What the pages share beside their connection: what went wrong, and the buttons and answers of the greetings.

const KEPT_ANSWERS = 200;
const KEPT_FRAMES = 100;

const element = (id) => document.getElementById(id);

/** The greetings' panel. */
export class Panel {
  #buttons = { connect: element('connect'), disconnect: element('disconnect'), send: element('send') };
  #name = element('name');
  #state = 'disconnected';
  /** The button that holds the focus because we put it there. */
  #parked = null;

  /** `actions`: connect(), disconnect(), send(name). */
  constructor(actions) {
    const { connect, disconnect } = this.#buttons;
    connect.addEventListener('click', () => actions.connect());
    disconnect.addEventListener('click', () => actions.disconnect());
    this.#name.addEventListener('input', () => this.#enable());
    // The second click of a double click would send the same again.
    this.#buttons.send.addEventListener('click', (event) => {
      if (event.detail > 1) {
        event.preventDefault();
      }
    });
    element('form').addEventListener('submit', (event) => {
      event.preventDefault();
      if (this.#canSend()) {
        element('problem').hidden = true;
        actions.send(this.#name.value);
        this.#name.select();
      }
    });
  }

  /** Enables what can be done in this state of the connection. */
  show(state) {
    const focused = document.activeElement;
    this.#state = state;
    this.#enable();
    this.#keepFocus(focused);
  }

  /** Shows one answer, the newest first, as text whatever it contains. */
  answer(text) {
    first(element('answers'), text, KEPT_ANSWERS);
  }

  /** Shows a frame as stompjs logs it, `>>> SEND…` or `<<< MESSAGE…`; other lines of its log are none. */
  frame(line) {
    const [, way, frame] = /^(>>>|<<<) (?!PING|PONG)(\S[^]*)$/.exec(line) ?? [];
    if (frame) {
      const item = first(element('frames'), frame.trimEnd().replaceAll('\0', '^@'), KEPT_FRAMES);
      item.className = way === '>>>' ? 'sent' : 'received';
    }
  }

  #canSend() {
    return this.#state === 'connected' && this.#name.value.trim() !== '';
  }

  #enable() {
    const { connect, disconnect, send } = this.#buttons;
    connect.disabled = !['disconnected', 'waiting'].includes(this.#state);
    disconnect.disabled = !['connecting', 'connected', 'waiting'].includes(this.#state);
    send.disabled = !this.#canSend();
  }

  /**
   * A button that was just used and is now disabled would drop the keyboard's place in the page. After Connect it goes
   * to Disconnect, and on to the name as soon as there is something to type for.
   */
  #keepFocus(focused) {
    const { connect, disconnect } = this.#buttons;
    const moves = focused === this.#parked || (focused?.disabled && Object.values(this.#buttons).includes(focused));
    this.#parked = null;
    if (!moves) {
      return;
    }
    const next = { connected: this.#name, connecting: disconnect, waiting: disconnect }[this.#state] ?? connect;
    if (next === disconnect) {
      this.#parked = disconnect;
    }
    next.focus();
  }
}

/** Puts a line at the top of a list. */
function first(list, text, kept) {
  const item = document.createElement('li');
  item.textContent = text;
  list.prepend(item);
  while (list.children.length > kept) {
    list.lastElementChild.remove();
  }
  return item;
}

/** Fills the box of `problem.html`. */
export function showProblem(title, text) {
  element('problem-title').textContent = title;
  element('problem-text').textContent = text;
  element('problem').hidden = false;
}

/** Whether a library is missing; says which. */
export function missing(...libraries) {
  const names = libraries.filter((name) => !(name in window));
  if (names.length > 0) {
    showProblem('A library of this page did not load', names.join(', '));
  }
  return names.length > 0;
}

/** Waiting times after losses: doubled up to half a minute, each shortened by chance so that clients spread out. */
export class BackOff {
  #next = 1000;

  delay() {
    const delay = this.#next * (1 - Math.random() / 4);
    this.#next = Math.min(this.#next * 2, 30_000);
    return delay;
  }

  reset() {
    this.#next = 1000;
  }
}
