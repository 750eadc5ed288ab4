// What a tab keeps over its reloads for the user who is logged in: drafts, and lines without an answer.

export class Store {
  #name;

  constructor(user) {
    this.#name = `chat:${user}`;
  }

  get(key, otherwise) {
    return this.#all()[key] ?? otherwise;
  }

  set(key, value) {
    sessionStorage.setItem(this.#name, JSON.stringify({ ...this.#all(), [key]: value }));
  }

  forget() {
    sessionStorage.removeItem(this.#name);
  }

  #all() {
    return JSON.parse(sessionStorage.getItem(this.#name) ?? '{}');
  }
}
