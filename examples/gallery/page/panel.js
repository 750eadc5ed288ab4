// What every demo page shows: the state of its connection, what went wrong, the answers. The messaging itself is in
// the demo's own app.js, which calls the methods below.

const KEPT_ANSWERS = 200;

const element = (id) => document.getElementById(id);

export class Panel {
  #root = element('panel');
  #buttons = { connect: element('connect'), disconnect: element('disconnect'), send: element('send') };
  #name = element('name');
  #state = 'disconnected';
  #clock = 0;
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
        actions.send(this.#name.value);
        this.#name.select();
      }
    });
    this.disconnected();
  }

  /** True when every library is there; says which one is missing otherwise. */
  needs(...libraries) {
    const complete = !missing(...libraries);
    if (!complete) {
      this.#show('unusable', 'Not available');
    }
    return complete;
  }

  connecting() {
    this.#show('connecting', 'Connecting…');
  }

  connected(detail) {
    this.noProblem();
    this.#show('connected', 'Connected', detail);
  }

  disconnected() {
    this.#show('disconnected', 'Disconnected');
  }

  /** Lost, and tried again by itself after `delay` milliseconds. */
  waiting(delay, reason) {
    this.problem('Connection lost', reason);
    this.#show('waiting', 'Reconnecting');
    // The countdown stands outside the live region: nobody wants every second read out.
    const due = Date.now() + delay;
    const tick = () => {
      element('detail').textContent = `in ${Math.max(0, Math.ceil((due - Date.now()) / 1000))} s`;
    };
    tick();
    this.#clock = setInterval(tick, 250);
  }

  problem(title, text) {
    showProblem(title, text);
  }

  noProblem() {
    element('problem').hidden = true;
  }

  /** Shows one answer, as text whatever it contains. */
  answer(text) {
    const answers = element('answers');
    const item = document.createElement('li');
    item.textContent = text;
    answers.append(item);
    while (answers.children.length > KEPT_ANSWERS) {
      answers.firstElementChild.remove();
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

  #show(state, text, detail = '') {
    clearInterval(this.#clock);
    const focused = document.activeElement;
    this.#state = state;
    this.#root.dataset.state = state;
    element('state').textContent = text;
    element('detail').textContent = detail;
    this.#enable();
    this.#keepFocus(focused);
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

/** Why a connection has ended that nobody here meant to end; stompjs itself ends one from which it hears nothing, by 1000. */
export function whyLost({ code, reason }) {
  return code === 1000 ? 'nothing was heard from the server any more' : `${reason || 'no answer from the server'} (${code})`;
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
