// The chat: rooms, private messages, and what the server says was wrong.

import { Connection } from '/connection.js';
import { csrf, loginForm, renew } from '/login.js';
import { Log, made } from './log.js';
import { Outbox } from './outbox.js';
import { Drawer, Members, OwnTyping, Typists } from './people.js';
import { Rooms } from './rooms.js';
import { Store } from './store.js';

const element = (id) => document.getElementById(id);
const read = (message) => JSON.parse(message.body);
/** A line with its place in the room's order. */
const placed = (message) => ({ ...read(message), position: message.headers.position });

let name = null;
let room = null;
let store = null;
let subscriptions = [];
/** Whom the next line is for; null is everyone in the room. */
let addressee = null;

/** Lines that come with the welcome, or with one step up the history. */
const PAGE = 50;

const rooms = new Rooms();
const drawer = new Drawer();
const log = new Log({ isMine, older, reply: writeTo });
const outbox = new Outbox((line, again) => {
  if (again) {
    say(line);
  }
  element('text').focus();
});
const typists = new Typists();
const members = new Members((somebody) => {
  drawer.close();
  writeTo(somebody === addressee ? null : somebody);
});
const ownTyping = new OwnTyping((typing) => connection.send(`/app/rooms/${room}/typing`, { typing }));

const connection = new Connection('/chat/ws', {
  prepare: renew,
  headers: csrf,
  changed(state) {
    if (state !== 'connected') {
      ended();
    }
  },
});

if (connection.usable) {
  wire();
  loginForm({ entered, left });
}

function wire() {
  const field = element('text');
  element('form').addEventListener('submit', (event) => {
    event.preventDefault();
    sendLine();
  });
  field.addEventListener('input', () => {
    keepDraft();
    if (addressee === null && field.value.trim() !== '') {
      ownTyping.goesOn();
    } else {
      ownTyping.ends();
    }
  });
  field.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') {
      writeTo(null);
    }
  });
  element('everyone').addEventListener('click', () => writeTo(null));
  window.addEventListener('hashchange', () => {
    if (rooms.names.length > 0) {
      enter();
    }
  });
}

function entered(taken) {
  name = taken;
  store = new Store(name);
  outbox.open(store);
  element('chat').hidden = false;
  connection.subscribe('/user/queue/errors', refused);
  connection.subscribe('/user/queue/private', privately);
  // Of all rooms, so that none is unread without a sign; after a loss it goes on where it was.
  connection.subscribe('/topic/rooms/*', said, {
    onGap: (gaps) => {
      if (gaps.some(({ destination, after, upTo }) => destination === `/topic/rooms/${room}` && epoch(after) === epoch(upTo))) {
        log.notice('Lines are missing here that the server no longer has.');
      }
    },
  });
  connection.subscribe('/app/rooms', (message) => {
    rooms.show(read(message), room);
    if (!rooms.names.includes(room)) {
      enter();
    }
  });
  connection.open();
}

function left() {
  connection.forget();
  ended();
  store.forget();
  outbox.close();
  [name, room, subscriptions] = [null, null, []];
  rooms.show([], null);
  rooms.clear();
  addressee = null;
  element('text').value = '';
  showError(null);
  log.forgetPrivates();
  log.clear();
  drawer.close();
  element('chat').hidden = true;
}

/** Leaves the room, if any, and goes into the one that the address names. */
function enter() {
  const wanted = location.hash.slice(1);
  const known = rooms.names.includes(wanted);
  showError(wanted === '' || known ? null : `There is no room called ${wanted}.`);
  ownTyping.ends();
  subscriptions.forEach((subscription) => subscription.unsubscribe());
  const next = known ? wanted : rooms.names[0];
  if (next !== room) {
    room = next;
    log.clear();
    members.reset(name);
  }
  typists.reset();
  rooms.show(rooms.names, room);
  outbox.enter(room);
  element('room-title').textContent = room;
  writeTo(addressee);
  // In this order nobody is missed: first who comes and goes, then who is there.
  subscriptions = [
    connection.subscribe(`/topic/rooms/${room}/people`, people),
    connection.subscribe(`/app/rooms/${room}`, welcome),
  ];
}

function welcome(message) {
  const { members: names, lines } = read(message);
  members.reset(name, names);
  if (log.newest !== null && !lines.some(({ position }) => epoch(position) === epoch(log.newest))) {
    log.notice('The server has forgotten what was said here before.');
  }
  log.history(lines, lines.length === PAGE);
  const lost = outbox.settle(lines.filter(isMine).map(({ key }) => key));
  if (lost > 0) {
    showError(`${lost === 1 ? 'One line' : `${lost} lines`} may not have arrived.`);
  }
  outbox.unsent().forEach(say);
  if (document.activeElement === document.body) {
    element('text').focus({ preventScroll: true });
  }
}

let loading = null;

/** Loads the lines before a position, once at a time. */
function older(position) {
  if (loading !== null || connection.state !== 'connected') {
    return;
  }
  const here = room;
  loading = connection.subscribe(`/app/rooms/${room}/before/${position}`, (message) => {
    stopLoading();
    const lines = read(message);
    if (room === here) {
      log.earlier(lines, lines.length === PAGE);
    }
  });
}

function stopLoading() {
  loading?.unsubscribe();
  loading = null;
}

function said(message) {
  const line = placed(message);
  const where = message.headers.destination.split('/').at(-1);
  arrived(line);
  if (!isMine(line)) {
    rooms.said(where);
  }
  if (where === room) {
    typists.stops(line.from);
    log.line(line);
  }
}

function privately(message) {
  const line = read(message);
  arrived(line);
  log.privately(line);
  if (!isMine(line)) {
    rooms.said();
  }
}

function people(message) {
  const { event, user, typing } = read(message);
  if (event === 'typing' && user !== name) {
    typists[typing ? 'types' : 'stops'](user);
  } else if (event === 'joined' && members.join(user) && user !== name) {
    log.notice(made('bdi', '', user), ' joined');
  } else if (event === 'left' && members.leave(user)) {
    typists.stops(user);
    log.notice(made('bdi', '', user), ' left');
  }
}

/** The server's answer to something that was wrong; a line comes back to be corrected. */
function refused(message) {
  const { error } = read(message);
  showError(`${error[0].toUpperCase()}${error.slice(1)}.`);
  stopLoading();
  const field = element('text');
  const line = outbox.refused(message.headers['correlation-id'], field.value === '');
  if (line) {
    writeTo(line.to);
    field.value = line.text;
    keepDraft();
  }
}

function sendLine() {
  const field = element('text');
  const text = field.value;
  field.focus();
  if (text.trim() !== '') {
    say({ text, room: addressee === null ? room : null, to: addressee });
    field.value = '';
    keepDraft();
    ownTyping.sent();
  }
}

/** The key comes back with the line, and with an error as its `correlation-id`. */
function say({ text, room: where, to }) {
  showError(null);
  const isConnected = connection.state === 'connected';
  const key = outbox.add({ from: name, text, room: where, to }, isConnected ? 'sending' : 'unsent');
  log.toEnd();
  if (isConnected) {
    const [destination, line] = to === null ? [`/app/rooms/${where}/say`, { text, key }] : ['/app/private', { to, text, key }];
    connection.send(destination, line, { headers: { 'correlation-id': key } });
  }
}

/** Another one after a restart: see the guide's page on missing nothing. */
function epoch(position) {
  return position.split('-')[0];
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
  typists.reset();
  ownTyping.sent();
  stopLoading();
  if (name !== null) {
    outbox.lost();
  }
}

/** Aims the field at somebody, or at everyone with null; each has a draft of its own. */
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
  element('text').value = store.get('drafts', {})[draftOf()] ?? '';
  if (changed) {
    element('text').focus({ preventScroll: true });
  }
}

function keepDraft() {
  store.set('drafts', { ...store.get('drafts', {}), [draftOf()]: element('text').value });
}

function draftOf() {
  return addressee === null ? `in ${room}` : `to ${addressee}`;
}

function showError(text) {
  element('error').textContent = text ?? '';
  element('error').hidden = text === null;
}
