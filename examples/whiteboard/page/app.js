// The whiteboard: what is drawn here goes to the server in parts, and counts when it comes back.

import { Connection } from '/connection.js';
import { csrf, loginForm, renew } from '/login.js';
import { showProblem } from '/panel.js';
import { Board, NAMES, colours } from './board.js';
import { Cursors } from './cursors.js';
import { Pen } from './pen.js';

const element = (id) => document.getElementById(id);

let name = null;
/** Changes of this page that have not come back: `[destination, value]`. They outlive a reload; one that is sent twice is drawn once. */
let own = [];

const board = new Board(() => own.filter(([, { points }]) => points).map(([, part]) => part));
const cursors = new Cursors();

const connection = new Connection('/whiteboard/ws', {
  prepare: renew,
  headers: csrf,
  changed(state) {
    if (state === 'connected') {
      own.forEach((change) => connection.send(...change));
    } else {
      cursors.clear();
    }
    show();
  },
});

palette();
new Pen({
  part: (part) => change('/app/board/stroke', { ...part, colour: colour() }),
  cursor: (at) => connection.state === 'connected' && connection.send('/app/board/cursor', { at }),
});
element('undo').addEventListener('click', () => {
  const stroke = lastOwn();
  // Parts that have not come back may have arrived all the same.
  own = own.filter(([, part]) => part.stroke !== stroke);
  change('/app/board/undo', { stroke });
});

if (connection.usable) {
  loginForm({ entered, left });
}

function entered(taken) {
  name = taken;
  own = JSON.parse(sessionStorage.getItem(`whiteboard:${name}`) ?? '[]');
  element('drawing').hidden = false;
  connection.subscribe('/user/queue/errors', ({ body }) => showProblem('The server could not do that', JSON.parse(body).error));
  connection.subscribe('/topic/board/cursors', ({ body }) => {
    const { user, at } = JSON.parse(body);
    if (user !== name) {
      cursors.move(user, at);
    }
  });
  // The picture first: all that is kept; after a loss, what was missed.
  connection.subscribe('/topic/board/strokes', ({ body }) => came(JSON.parse(body)), { headers: { 'resume-from': '0-0' } });
  connection.open();
  show();
}

function left() {
  sessionStorage.removeItem(`whiteboard:${name}`);
  connection.forget();
  [name, own] = [null, []];
  board.clear();
  cursors.clear();
  element('drawing').hidden = true;
}

/** Something of this page's own: kept until it comes back. */
function change(destination, value) {
  own.push([destination, value]);
  if (connection.state === 'connected') {
    connection.send(destination, value);
  }
  keep();
}

function came(news) {
  board.apply(news);
  if (news.user === name) {
    own = own.filter(([, { stroke, part }]) => stroke !== news.stroke || part !== news.part);
    keep();
  } else {
    show();
  }
}

/** The stroke that Undo takes away: what is still underway is the latest. */
function lastOwn() {
  return own.findLast(([, { points }]) => points)?.[1].stroke ?? board.lastOf(name)?.stroke;
}

function keep() {
  sessionStorage.setItem(`whiteboard:${name}`, JSON.stringify(own));
  board.redrawOwn();
  show();
}

function show() {
  const { count } = board;
  element('pen-count').textContent = count === 1 ? '1 stroke.' : `${count} strokes.`;
  element('undo').disabled = lastOwn() === undefined;
  const waits = connection.state !== 'connected' && own.length > 0;
  element('waiting').textContent = waits ? 'What you have drawn is kept, and sent when the connection is back.' : '';
}

function palette() {
  NAMES.forEach((title, index) => {
    const label = document.createElement('label');
    const input = Object.assign(document.createElement('input'), {
      type: 'radio', name: 'colour', value: index, checked: index === 0,
    });
    const text = Object.assign(document.createElement('span'), { className: 'unseen', textContent: title });
    label.className = 'colour';
    label.title = title;
    label.style.setProperty('--colour', colours()[index]);
    label.append(input, text);
    element('colours').append(label);
  });
}

function colour() {
  return Number(document.querySelector('input[name="colour"]:checked').value);
}
