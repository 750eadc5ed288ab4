// The chat: rooms, private messages, and what the server says was wrong.

import { csrf, loginForm, renew } from '/login.js';
import { missing, showProblem } from '/panel.js';
import { Connection } from './connection.js';
import { Log, made } from './log.js';
import { Outbox } from './outbox.js';
import { Members, OwnTyping, Typists } from './people.js';

const element = (id) => document.getElementById(id);
const read = (message) => JSON.parse(message.body);

// In the console, `demo.stomp` is the client in use.
const demo = { stomp: null };
window.demo = demo;

let name = null;
let rooms = [];
let room = null;
let subscriptions = [];
/** Whom the next line is for; null is everyone in the room. */
let addressee = null;

/** The newest line of each room that was here. */
const heard = new Map();

const log = new Log();
const outbox = new Outbox((line, again) => {
  if (again) {
    say(line);
  }
  element('text').focus();
});
const typists = new Typists();
const members = new Members((somebody) => writeTo(somebody === addressee ? null : somebody));
const ownTyping = new OwnTyping((typing) => send(`/app/rooms/${room}/typing`, { typing }));

const connection = new Connection('/chat/ws', {
  prepare: renew,
  headers: csrf,
  connecting() {
    showState('connecting', 'Connecting…');
  },
  ready(stomp, transport) {
    demo.stomp = stomp;
    stomp.subscribe('/user/queue/errors', refused);
    stomp.subscribe('/user/queue/private', privately);
    stomp.subscribe('/app/rooms', (message) => {
      rooms = read(message);
      element('problem').hidden = true;
      showState('connected', 'Connected', `by ${transport}`);
      enter();
    });
  },
  lost(delay, reason) {
    ended();
    showProblem('Connection lost', reason);
    showState('waiting', 'Reconnecting', '', Date.now() + delay);
  },
  refused(reason) {
    ended();
    showProblem('Refused by the server', reason);
    showState('disconnected', 'Disconnected');
  },
});

function start() {
  if (missing('SockJS', 'Stomp')) {
    return;
  }
  element('form').addEventListener('submit', (event) => {
    event.preventDefault();
    sendLine();
  });
  element('text').addEventListener('input', () => {
    if (addressee === null && element('text').value.trim() !== '') {
      ownTyping.goesOn();
    } else {
      ownTyping.ends();
    }
  });
  element('text').addEventListener('keydown', (event) => {
    if (event.key === 'Escape') {
      writeTo(null);
    }
  });
  element('everyone').addEventListener('click', () => writeTo(null));
  window.addEventListener('hashchange', enter);
  loginForm({
    entered(taken) {
      name = taken;
      element('chat').hidden = false;
      element('connection').hidden = false;
      connection.open();
    },
    left() {
      connection.close();
      ended();
      outbox.clear();
      heard.clear();
      name = null;
      room = null;
      writeTo(null);
      showError(null);
      log.forgetPrivates();
      log.clear();
      element('text').value = '';
      element('chat').hidden = true;
      element('connection').hidden = true;
    },
  });
}

/** Leaves the room, if any, and goes into the one that the address names. */
function enter() {
  if (!demo.stomp) {
    return;
  }
  const wanted = location.hash.slice(1);
  if (wanted !== '' && !rooms.includes(wanted)) {
    showError(`There is no room called ${wanted}.`);
  } else {
    showError(null);
  }
  ownTyping.ends();
  subscriptions.forEach((subscription) => subscription.unsubscribe());
  room = rooms.includes(wanted) ? wanted : rooms[0];
  showRoom();

  const { stomp } = demo;
  // In this order nobody and nothing is missed: first what changes, then what is there.
  subscriptions = [
    stomp.subscribe(`/topic/rooms/${room}/presence`, presence),
    stomp.subscribe(`/topic/rooms/${room}/typing`, typing),
    stomp.subscribe(`/topic/rooms/${room}`, said),
    stomp.subscribe(`/app/rooms/${room}`, welcome),
  ];
}

function showRoom() {
  log.clear();
  typists.reset();
  members.reset(name);
  outbox.enter(room);
  element('room-title').textContent = room;
  element('rooms').replaceChildren(...rooms.map((each) => {
    const link = document.createElement('a');
    link.href = `#${each}`;
    link.textContent = each;
    if (each === room) {
      link.setAttribute('aria-current', 'page');
    }
    const item = document.createElement('li');
    item.append(link);
    return item;
  }));
  writeTo(addressee);
}

function welcome(message) {
  const { members: names, lines } = read(message);
  members.reset(name, names);
  log.history(lines);
  const newest = lines.at(-1)?.id ?? 0;
  if (newest < (heard.get(room) ?? 0)) {
    log.notice('The server has forgotten what was said here before.');
  }
  heard.set(room, newest);
  const lost = outbox.settle(lines.filter(isMine).map(({ key }) => key));
  if (lost > 0) {
    showError(`${lost === 1 ? 'One line' : `${lost} lines`} may not have arrived.`);
  }
  for (const field of ['text', 'send']) {
    element(field).disabled = false;
  }
  if (document.activeElement === document.body) {
    element('text').focus({ preventScroll: true });
  }
}

function said(message) {
  const line = read(message);
  arrived(line);
  typists.stops(line.from);
  log.line(line);
  heard.set(room, Math.max(line.id, heard.get(room) ?? 0));
}

function privately(message) {
  const line = read(message);
  arrived(line);
  log.privately(line, isMine(line));
}

function presence(message) {
  const { event, user } = read(message);
  if (event === 'joined' && members.join(user) && user !== name) {
    log.notice(made('bdi', '', user), ' joined');
  } else if (event === 'left' && members.leave(user)) {
    typists.stops(user);
    log.notice(made('bdi', '', user), ' left');
  }
}

function typing(message) {
  const { user, typing: goesOn } = read(message);
  if (user !== name) {
    typists[goesOn ? 'types' : 'stops'](user);
  }
}

/** The server's answer to something that was wrong; a line comes back to be corrected. */
function refused(message) {
  const { error } = read(message);
  showError(`${error[0].toUpperCase()}${error.slice(1)}.`);
  const field = element('text');
  const line = outbox.refused(message.headers['correlation-id'], field.value === '');
  if (line) {
    writeTo(line.to);
    field.value = line.text;
  }
}

function sendLine() {
  const field = element('text');
  const text = field.value;
  field.focus();
  if (text.trim() !== '') {
    say({ text, room: addressee === null ? room : null, to: addressee });
    field.value = '';
    ownTyping.sent();
  }
}

/** The key comes back with the line, and with an error as its `correlation-id`. */
function say({ text, room: where, to }) {
  showError(null);
  const key = outbox.add({ from: name, text, room: where, to });
  log.toEnd();
  const headers = { 'correlation-id': key };
  if (to === null) {
    send(`/app/rooms/${where}/say`, { text, key }, headers);
  } else {
    send('/app/private', { to, text, key }, headers);
  }
}

function isMine({ from }) {
  return from === name;
}

function arrived(line) {
  if (isMine(line)) {
    outbox.take(line.key);
  }
}

/** The connection is gone, and with it the answers to lines underway. */
function ended() {
  demo.stomp = null;
  subscriptions = [];
  typists.reset();
  ownTyping.sent();
  for (const field of ['text', 'send']) {
    element(field).disabled = true;
  }
  outbox.lost();
}

function send(destination, body, headers = {}) {
  demo.stomp?.send(destination, { 'content-type': 'application/json', ...headers }, JSON.stringify(body));
}

/** Aims the field at somebody, or at everyone with null. */
function writeTo(somebody) {
  if (somebody !== null) {
    ownTyping.ends();
  }
  const changed = somebody !== addressee;
  addressee = somebody;
  members.mark(somebody);
  element('form').classList.toggle('private', somebody !== null);
  element('everyone').hidden = somebody === null;
  element('text-label').replaceChildren(...(somebody === null
    ? [`Message to everyone in ${room}`] : ['Private message to ', made('bdi', '', somebody)]));
  if (changed) {
    element('text').focus({ preventScroll: true });
  }
}

function showError(text) {
  element('error').textContent = text ?? '';
  element('error').hidden = text === null;
}

let countdown = 0;

/** `due`: the time of the next attempt, counted down outside the live region. */
function showState(state, text, detail = '', due = null) {
  clearInterval(countdown);
  element('panel').dataset.state = state;
  element('state').textContent = text;
  const show = (what) => { element('detail').textContent = what; };
  show(detail);
  if (due !== null) {
    const tick = () => show(`in ${Math.max(0, Math.ceil((due - Date.now()) / 1000))} s`);
    tick();
    countdown = setInterval(tick, 250);
  }
}

start();
