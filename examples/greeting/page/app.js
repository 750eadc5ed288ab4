import { Connection } from '/connection.js';
import { Panel, showProblem } from '/panel.js';

const panel = new Panel({
  connect: () => connection.open(),
  disconnect: () => connection.close(),
  send: (name) => connection.send('/app/hello', name, { label: `Greeting for ${name}` }),
});
const connection = new Connection('/ws', {
  changed: (state) => panel.show(state),
  frame: (line) => panel.frame(line),
});

connection.subscribe('/user/queue/errors', ({ body }) => {
  showProblem('The server could not do that', JSON.parse(body).error);
});
connection.subscribe('/topic/greetings', ({ body }) => panel.answer(body));
panel.show(connection.usable ? connection.state : 'unusable');
