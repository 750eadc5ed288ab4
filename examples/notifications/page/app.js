// The connection: everybody's notifications, and those of the user who is logged in.

import { login, loginForm, me } from '/login.js';
import { missing, showProblem } from '/panel.js';
import { Received } from './received.js';
import { sending } from './sending.js';
import { Toasts } from './toasts.js';

/* global SockJS, StompJs */

const element = (id) => document.getElementById(id);

/** Who is logged in; null for nobody. */
let user = null;
const received = new Received();
const toasts = new Toasts((id) => see([id]));

// In the console, `demo.stomp` is the client.
const demo = { stomp: null };
window.demo = demo;

sending();
element('read-all').addEventListener('click', () => {
  const all = received.unread();
  all.forEach((id) => toasts.remove(id));
  see(all);
  element('received-title').focus();
});

if (missing('SockJS', 'StompJs')) {
  show('unusable', 'Not available');
} else {
  demo.stomp = client();
  await loginForm({ entered, left });
  if (!demo.stomp.active) {
    demo.stomp.activate();
  }
}

function client() {
  return new StompJs.Client({
    webSocketFactory: () => new SockJS('/notifications/ws'),
    reconnectDelay: 1000,
    maxReconnectDelay: 30_000,
    reconnectTimeMode: StompJs.ReconnectionTimeMode.EXPONENTIAL,

    beforeConnect: async () => {
      show('connecting', 'Connecting…');
      await renewLogin();
    },

    onConnect: () => {
      element('problem').hidden = true;
      const connected = () => show('connected', 'Connected', user ? `as ${user}` : 'for what everyone gets');
      demo.stomp.watchForReceipt('subscribed', connected);
      on('/user/queue/errors', ({ error }) => showProblem('The server could not do that', error));
      if (user) {
        on('/user/queue/notifications', (notification) => arrived(notification, { mine: true }));
        on('/user/queue/seen', ({ ids }) => seenElsewhere(ids));
        // Last of these three: what is sent from now on comes by itself, what was sent before is in the answer.
        on('/app/inbox', catchUp);
      }
      on('/topic/notifications', (notification) => arrived(notification, { mine: false }), { receipt: 'subscribed' });
    },

    onStompError: (frame) => {
      // What the server refused once it would refuse again: no reconnecting.
      showProblem('Refused by the server', [frame.headers.message, frame.body].filter(Boolean).join('\n'));
      show('disconnected', 'Disconnected');
      demo.stomp.deactivate();
    },

    onWebSocketClose: (event) => {
      if (demo.stomp.active) {
        show('waiting', 'Reconnecting', event.reason || 'the connection was lost');
      }
    },
  });
}

/** The server's key is new after its restart, and our cookie void: the same name again. */
async function renewLogin() {
  try {
    if (user && await me() === null) {
      await login(user);
    }
  } catch {
    // The server is not there; the connection is about to find that out, and to say so.
  }
}

function on(destination, take, headers) {
  demo.stomp.subscribe(destination, (message) => take(JSON.parse(message.body)), headers);
}

async function entered(name) {
  user = name;
  await reconnect();
}

async function left() {
  user = null;
  received.forgetMine().forEach((id) => toasts.remove(id));
  await reconnect();
}

/** A session belongs to who was logged in when it began. */
async function reconnect() {
  await demo.stomp.deactivate();
  demo.stomp.activate();
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
  if (ids.length > 0 && demo.stomp?.connected) {
    demo.stomp.publish({ destination: '/app/inbox/seen', body: JSON.stringify({ ids }) });
  }
}

function seenElsewhere(ids) {
  received.see(ids);
  ids.forEach((id) => toasts.remove(id));
}

function show(state, text, detail = '') {
  element('panel').dataset.state = state;
  element('state').textContent = text;
  element('detail').textContent = detail;
}
