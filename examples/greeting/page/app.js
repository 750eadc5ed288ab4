import { BackOff, Panel } from '/panel.js';

/* global SockJS, Stomp */

// `?transport=xhr-streaming`, `xhr-polling` or `websocket` holds SockJS to that one.
const transport = new URLSearchParams(location.search).get('transport');
const options = transport ? { transports: [transport] } : {};

const panel = new Panel({ connect, disconnect, send });
const backOff = new BackOff();

// In the console, `demo.stomp` is the client in use.
const demo = { socket: null, stomp: null };
window.demo = demo;
let retry = 0;

panel.needs('SockJS', 'Stomp');

function connect() {
  clearTimeout(retry);
  panel.connecting();

  const socket = new SockJS('/ws', null, options);
  const stomp = Stomp.over(socket);
  stomp.debug = null;
  Object.assign(demo, { socket, stomp });

  let refusal = null;
  stomp.connect({}, () => {
    backOff.reset();
    stomp.subscribe('/topic/greetings', (message) => panel.answer(message.body), { receipt: 'subscribed' });
    // From the receipt on, no greeting passes us by.
    stomp.onreceipt = () => panel.connected(`by ${socket.transport}`);
  }, (error) => {
    // An ERROR frame comes with its reason; the text that stompjs makes of a loss says less than the close event.
    if (error.command === 'ERROR') {
      refusal = [error.headers.message, error.body].filter(Boolean).join('\n');
      panel.problem('Refused by the server', refusal);
    }
  });

  socket.addEventListener('close', (event) => {
    if (demo.socket !== socket) {
      return;
    }
    Object.assign(demo, { socket: null, stomp: null });
    // What the server refused once it would refuse again; anything else deserves another try.
    if (refusal !== null) {
      panel.disconnected();
      return;
    }
    const delay = backOff.delay();
    panel.waiting(delay, [event.reason || 'no answer from the server', `(${event.code})`].join(' '));
    retry = setTimeout(connect, delay);
  });
}

function disconnect() {
  clearTimeout(retry);
  backOff.reset();
  const { socket, stomp } = demo;
  Object.assign(demo, { socket: null, stomp: null });
  if (stomp?.connected) {
    stomp.disconnect();
  } else {
    socket?.close();
  }
  panel.noProblem();
  panel.disconnected();
}

function send(name) {
  demo.stomp.send('/app/hello', {}, name);
}
