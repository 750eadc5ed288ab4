// The connection: everybody's notifications, and those of the user who is logged in.

import { csrf, loginForm, renew } from '/login.js';
import { BackOff, missing, showProblem, whyLost } from '/panel.js';
import { Received } from './received.js';
import { sending, showKey } from './sending.js';
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
  await loginForm({ entered, left });
  if (demo.stomp === null) {
    restart();
  }
}

function newClient() {
  const client = new StompJs.Client({
    webSocketFactory: () => new SockJS('/notifications/ws'),
    reconnectDelay: 1000,
    maxReconnectDelay: 30_000,
    reconnectTimeMode: StompJs.ReconnectionTimeMode.EXPONENTIAL,

    beforeConnect: async () => {
      show('connecting', 'Connecting…');
      await identify(client);
      client.connectHeaders = csrf();
    },

    onConnect: () => {
      element('problem').hidden = true;
      const connected = () => show('connected', 'Connected', user ? `as ${user}` : 'for what everyone gets');
      client.watchForReceipt('subscribed', connected);
      const on = (destination, take, headers) => client.subscribe(destination, (message) => {
        // What still comes for who has just left is for nobody's eyes.
        if (demo.stomp === client) {
          take(JSON.parse(message.body));
        }
      }, headers);
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
      client.deactivate();
    },

    onWebSocketClose: (event) => {
      if (client.active) {
        show('waiting', 'Reconnecting', whyLost(event));
      }
    },
  });
  return client;
}

/** Nobody connects before it is known as whom; a client that is for somebody else by now is no longer active. */
async function identify(client) {
  const backOff = new BackOff();
  while (client.active) {
    try {
      await renew();
      return;
    } catch (error) {
      if (client.active) {
        show('waiting', 'Reconnecting', error.message);
      }
      await new Promise((resolve) => { setTimeout(resolve, backOff.delay()); });
    }
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

/** A session belongs to who was logged in when it began: another user, another client. */
async function restart() {
  const before = demo.stomp;
  demo.stomp = newClient();
  await before?.deactivate();
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
