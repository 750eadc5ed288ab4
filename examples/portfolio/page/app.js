import { Connection } from '/connection.js';
import { csrf, loginForm, renew } from '/login.js';
import { showProblem } from '/panel.js';
import { Chart } from './chart.js';
import { html, whole, write } from './format.js';
import { Market, SAMPLES_A_SECOND } from './market.js';
import { Table } from './table.js';
import { TradeDialog } from './trade.js';

const KEPT_NOTIFICATIONS = 50;

/** From this age on, in milliseconds, the newest price is an old one. */
const STALE = 2_000;

const element = (id) => document.getElementById(id);

let market = new Market();
const chart = new Chart(element('chart'), element('chart-text'));
const dialog = new TradeDialog(send);
const table = new Table(
  { body: element('positions'), shares: element('total-shares'), value: element('total-value') },
  (action, ticker) => dialog.ask(action, market.stocks.get(ticker)),
);
let name = null;

const connection = new Connection('/portfolio/ws', {
  prepare: renew,
  headers: csrf,
  changed(state) {
    if (state !== 'connected') {
      market.silent();
      table.hush();
    }
  },
});

if (connection.usable) {
  await loginForm({ entered, left });
  setInterval(draw, 1000 / SAMPLES_A_SECOND);
}

function entered(who) {
  name = who;
  const on = (destination, take) => connection.subscribe(destination, ({ body }) => take(JSON.parse(body)));
  // News first, so that none falls between the positions and them.
  on('/user/queue/position-updates', updated);
  on('/user/queue/errors', (error) => {
    table.hush();
    problem('That did not work', error);
  });
  on('/topic/price.stock.*', (quote) => market.quote(quote));
  on('/topic/price.rate', ({ updates }) => { market.made = updates; });
  on('/app/positions', (positions) => {
    if (market.positions(positions)) {
      notify('Your positions are others than this page knew: you have traded elsewhere, or the server has restarted.');
    }
    element('market').hidden = false;
    draw();
  });
  connection.open();
}

function left() {
  name = null;
  connection.forget();
  dialog.close();
  market = new Market();
  table.clear();
  chart.clear();
  element('notifications').replaceChildren();
  element('market').hidden = true;
}

function send(trade) {
  const { action, ticker, shares } = trade;
  if (connection.state === 'connected') {
    element('problem').hidden = true;
    table.say(ticker, `${action === 'Buy' ? 'Buying' : 'Selling'} ${whole(shares)}…`);
  }
  connection.send('/app/trade', trade, { label: `${action} ${whole(shares)} ${ticker}` });
}

function updated(position) {
  const change = market.update(position);
  // The positions of a page that was opened meanwhile have it already.
  if (change === 0) {
    return;
  }
  const done = change < 0 ? `Sold ${whole(-change)}` : `Bought ${whole(change)}`;
  notify(`${done} ${position.ticker}: you hold ${whole(position.shares)} now.`);
  table.draw(market);
  table.say(position.ticker, done, { done: true });
}

/** At the top of the page, which on a phone is far from where the trade was made. */
function problem(title, text) {
  showProblem(title, text);
  element('problem').scrollIntoView({ block: 'nearest' });
}

function notify(text) {
  const list = element('notifications');
  list.prepend(html('li', {}, text));
  while (list.children.length > KEPT_NOTIFICATIONS) {
    list.lastElementChild.remove();
  }
}

/** Prices arrive faster than anybody reads: what is shown changes a few times in a second. */
function draw() {
  if (name === null) {
    return;
  }
  const now = performance.now();
  market.sample(now);
  table.draw(market);
  chart.draw(market, now);
  dialog.draw();
  write(element('made'), whole(market.made));
  write(element('received'), whole(market.received));
  const age = market.newest === null ? null : now - market.newest;
  write(element('age'), age === null ? '–' : age < 1000 ? `${Math.round(age)} ms` : `${Math.round(age / 1000)} s`);
  const stale = age >= STALE;
  element('market').classList.toggle('stale', stale);
  write(element('stale'), stale ? 'These prices are old: no others have come.' : '');
}
