// The connection: everybody's notifications, and those of the user who is logged in.

import { Connection } from '/connection.js';
import { csrf, loginForm, renew } from '/login.js';
import { showProblem } from '/panel.js';
import { Received } from './received.js';
import { sending, showKey } from './sending.js';
import { Toasts } from './toasts.js';

const element = (id) => document.getElementById(id);

/** Who is logged in; null for nobody. */
let user = null;
const received = new Received();
const toasts = new Toasts((id) => see([id]));

const connection = new Connection('/notifications/ws', {
  prepare: renew,
  headers: csrf,
  detail: () => (user ? `as ${user}` : 'for what everyone gets'),
});

sending();
element('read-all').addEventListener('click', () => {
  const all = received.unread();
  all.forEach((id) => toasts.remove(id));
  see(all);
  element('received-title').focus();
});

if (connection.usable) {
  await loginForm({ entered, left });
  if (user === null) {
    restart();
  }
}

function entered(name) {
  user = name;
  showKey(true);
  restart();
}

function left() {
  user = null;
  showKey(false);
  received.forgetMine().forEach((id) => toasts.remove(id));
  restart();
}

/** A session belongs to who was logged in when it began: another user, other subscriptions. */
function restart() {
  connection.forget();
  const on = (destination, take) => connection.subscribe(destination, ({ body }) => take(JSON.parse(body)));
  on('/user/queue/errors', ({ error }) => showProblem('The server could not do that', error));
  if (user) {
    on('/user/queue/notifications', (notification) => arrived(notification, { mine: true }));
    on('/user/queue/seen', ({ ids }) => seenElsewhere(ids));
    // Last of these three: what is sent from now on comes by itself, what was sent before is in the answer.
    on('/app/inbox', catchUp);
  }
  on('/topic/notifications', (notification) => arrived(notification, { mine: false }));
  connection.open();
}

function arrived(notification, about) {
  const news = received.add(notification, about);
  if (news && !about.seen) {
    toasts.show(notification);
  }
}

/** Takes what was kept, and settles what was seen here or elsewhere while the connection was lost. */
function catchUp(kept) {
  kept.forEach((one) => arrived(one, { mine: true, seen: one.seen }));
  seenElsewhere(kept.filter(({ seen }) => seen).map(({ id }) => id));
  tellSeen(kept.filter(({ id, seen }) => !seen && received.hasSeen(id)).map(({ id }) => id));
}

/** Seen here: the server tells the user's other browsers. */
function see(ids) {
  tellSeen(received.see(ids));
}

function tellSeen(ids) {
  // What is lost is told again by `catchUp`.
  if (ids.length > 0) {
    connection.send('/app/inbox/seen', { ids });
  }
}

function seenElsewhere(ids) {
  received.see(ids);
  ids.forEach((id) => toasts.remove(id));
}
