import { Connection } from '/connection.js';
import { Panel, showProblem } from '/panel.js';

const panel = new Panel({
  connect: () => connection.open(),
  disconnect: () => connection.close(),
  send: (name) => connection.send('/app/hello', { name }, { label: `Greeting for ${name}` }),
});
const connection = new Connection('/gs-guide-websocket', {
  changed: (state) => panel.show(state),
  frame: (line) => panel.frame(line),
}, { sockjs: false });

connection.subscribe('/user/queue/errors', ({ body }) => {
  showProblem('The server could not do that', JSON.parse(body).error);
});
connection.subscribe('/topic/greetings', ({ body }) => panel.answer(textOf(JSON.parse(body).content)));
panel.show(connection.usable ? connection.state : 'unusable');

// Greetings are HTML, escaped for the page of Spring's guide, which appends them as such. This page appends text.
function textOf(html) {
  return new DOMParser().parseFromString(html, 'text/html').body.textContent;
}
