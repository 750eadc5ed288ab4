// A table whose rows the server sorts, searches and pages.

import { look } from './ask.js';

function button(text, press, label) {
  const made = document.createElement('button');
  made.type = 'button';
  made.textContent = text;
  if (label) {
    made.setAttribute('aria-label', label);
  }
  made.addEventListener('click', press);
  return made;
}

/**
 * A table of `what`. Columns are `{ key, title, show, sorts, desc }`; `acts` makes the buttons of a row. `changed` is called when
 * the page wants other rows.
 */
export class Table {
  constructor(section, { what, title, columns, acts = () => [], changed }) {
    this.what = what;
    this.columns = columns;
    this.acts = acts;
    this.query = { q: '', sort: '', desc: '', page: 0, size: 50 };
    this.changed = changed;

    const search = document.createElement('input');
    search.type = 'search';
    search.setAttribute('aria-label', `Search ${title}`);
    search.placeholder = 'Search';
    search.addEventListener('input', () => this.ask({ q: search.value, page: 0 }));
    this.search = search;
    this.count = document.createElement('p');
    this.count.className = 'count';
    this.before = button('Before', () => this.ask({ page: this.query.page - 1 }));
    this.next = button('Next', () => this.ask({ page: this.query.page + 1 }));
    const bar = document.createElement('div');
    bar.className = 'bar';
    bar.append(search, this.count, this.before, this.next);

    const table = document.createElement('table');
    table.setAttribute('aria-label', title);
    const row = table.createTHead().insertRow();
    this.heads = columns.map((column) => {
      const head = document.createElement('th');
      head.scope = 'col';
      if (column.sorts) {
        head.append(button(column.title, () => this.sortBy(column)));
      } else {
        head.textContent = column.title;
      }
      row.append(head);
      return head;
    });
    const last = document.createElement('th');
    last.scope = 'col';
    last.textContent = 'Acts';
    row.append(last);
    this.body = table.createTBody();
    const around = document.createElement('div');
    around.className = 'around';
    around.append(table);
    section.prepend(bar, around);
  }

  sortBy({ key, desc }) {
    const again = this.query.sort === key;
    const down = again ? this.query.desc !== '1' : Boolean(desc);
    this.ask({ sort: key, desc: down ? '1' : '', page: 0 });
  }

  searchFor(text) {
    this.search.value = text;
    this.ask({ q: text, page: 0 });
  }

  ask(query) {
    Object.assign(this.query, query);
    this.changed();
  }

  async refresh(stack, mayAct) {
    const asked = { ...this.query };
    const found = await look(this.what, { ...asked, stack });
    if (Object.keys(asked).some((key) => asked[key] !== this.query[key])) {
      return; // Another look is on its way.
    }
    this.query.page = found.page;
    this.count.textContent = `${found.count.toLocaleString('en')} · page ${found.page + 1} of ${found.pages}`;
    this.before.disabled = found.page === 0;
    this.next.disabled = found.page + 1 >= found.pages;
    this.columns.forEach(({ key, sorts }, index) => {
      const order = this.query.desc === '1' ? 'descending' : 'ascending';
      this.heads[index].ariaSort = sorts && this.query.sort === key ? order : 'none';
    });
    this.show(found.rows, mayAct);
  }

  /** Rows keep their elements while they stay, so that the focus does too. */
  show(rows, mayAct) {
    rows.forEach((row, index) => {
      const shown = this.body.rows[index] ?? this.body.insertRow();
      const id = JSON.stringify([row[this.columns[0].key], row.id ?? row.number, mayAct]);
      if (shown.dataset.id !== id) {
        shown.dataset.id = id;
        const cells = this.columns.map(() => document.createElement('td'));
        const acts = document.createElement('td');
        acts.className = 'row-acts';
        acts.append(...this.acts(row, mayAct).map(([text, press, label]) => button(text, press, label)));
        shown.replaceChildren(...cells, acts);
      }
      this.columns.forEach(({ key, show }, at) => {
        const text = String(show ? show(row[key], row) : row[key] ?? '');
        const cell = shown.cells[at];
        if (cell.textContent !== text) {
          cell.textContent = text;
        }
        cell.className = typeof row[key] === 'number' ? 'number' : '';
      });
    });
    while (this.body.rows.length > rows.length) {
      this.body.deleteRow(-1);
    }
  }
}
