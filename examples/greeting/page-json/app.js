import { Panel } from '/panel.js';

/* global StompJs */

const panel = new Panel({ connect, disconnect, send });

// In the console, `demo.stomp` is the client.
const demo = { stomp: null };
window.demo = demo;

const FIRST_DELAY = 1000;
let delay = FIRST_DELAY;
let refused = false;

if (panel.needs('StompJs')) {
  demo.stomp = new StompJs.Client({
    brokerURL: `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/gs-guide-websocket`,
    connectionTimeout: 15_000,
    reconnectDelay: FIRST_DELAY,
    maxReconnectDelay: 30_000,
    reconnectTimeMode: StompJs.ReconnectionTimeMode.EXPONENTIAL,

    beforeConnect: () => panel.connecting(),

    onConnect: () => {
      delay = FIRST_DELAY;
      // From the receipt on, no greeting passes us by.
      demo.stomp.watchForReceipt('subscribed', () => panel.connected('by websocket'));
      const show = (message) => panel.answer(textOf(JSON.parse(message.body).content));
      demo.stomp.subscribe('/topic/greetings', show, { receipt: 'subscribed' });
    },

    onStompError: (frame) => {
      // What the server refused once it would refuse again: no reconnecting.
      refused = true;
      panel.problem('Refused by the server', [frame.headers.message, frame.body].filter(Boolean).join('\n'));
      demo.stomp.deactivate();
    },

    onWebSocketClose: (event) => {
      if (refused) {
        panel.disconnected();
      }
      if (!demo.stomp.active) {
        return;
      }
      // The client doubles its delay after each failure, and does not tell; so this counts along.
      panel.waiting(delay, `${event.reason || 'no answer from the server'} (${event.code})`);
      delay = Math.min(delay * 2, 30_000);
    },
  });
}

// Greetings are HTML, escaped for the page of Spring's guide, which appends them as such. This page appends text.
function textOf(html) {
  return new DOMParser().parseFromString(html, 'text/html').body.textContent;
}

async function connect() {
  refused = false;
  delay = FIRST_DELAY;
  panel.connecting();
  // It may be waiting for its next try: this one is now.
  await demo.stomp.deactivate();
  demo.stomp.activate();
}

function disconnect() {
  // It goes on until the server has answered and the socket is closed; nobody has to watch that.
  demo.stomp.deactivate();
  panel.noProblem();
  panel.disconnected();
}

function send(name) {
  demo.stomp.publish({ destination: '/app/hello', body: JSON.stringify({ name }) });
}
