// The rows as a chart and as a table, with the same numbers.

const SVG = 'http://www.w3.org/2000/svg';
const WIDTH = 300;
const HEIGHT = 40;
/** A line has room for so many pings from the beginning, and for more as they come. */
const PLACES = 20;

export class Chart {
  #parts = [];

  constructor(chart, scale, numbers) {
    Object.assign(this, { chart, scale, numbers });
  }

  draw(rows) {
    if (this.#parts.length === 0) {
      this.#parts = rows.map((row) => this.#add(row));
    }
    const top = ceiling(rows);
    const most = Math.max(1, ...rows.map(({ bytes }) => (bytes.sent ?? 0) + (bytes.received ?? 0)));
    const places = Math.max(PLACES, ...rows.map(({ trips }) => trips.length));
    write(this.scale, `Each line is ${time(top)} ms high; what is slower is cut off, and named in the table.`);
    rows.forEach((row, index) => update(this.#parts[index], row, { top, most, places }));
  }

  #add({ name }) {
    const parts = {
      name: html('span', 'name', name),
      note: html('span', 'note'),
      trip: html('span', 'value'),
      line: svg('path', { class: 'line' }),
      size: html('span', 'value'),
      sent: svg('rect', { class: 'sent', height: HEIGHT }),
      received: svg('rect', { class: 'received', height: HEIGHT }),
    };
    const title = html('div', 'title');
    title.append(parts.name, parts.note);
    const trips = html('div', 'trips');
    trips.append(picture(parts.line), parts.trip);
    const bytes = html('div', 'bytes');
    bytes.append(picture(parts.sent, parts.received), parts.size);
    parts.lane = html('div', 'lane');
    parts.lane.append(title, trips, bytes);
    this.chart.append(parts.lane);

    const heading = html('th', null, name);
    heading.scope = 'row';
    parts.state = html('span', 'note');
    heading.append(parts.state);
    parts.cells = Array.from({ length: 4 }, () => html('td'));
    const line = html('tr');
    line.append(heading, ...parts.cells);
    this.numbers.append(line);
    return parts;
  }
}

function update(parts, row, { top, most, places }) {
  const { sent, received } = row.bytes;
  const { median, slowest } = row;
  const note = row.note();
  parts.lane.dataset.state = row.state;
  write(parts.note, row.state === 'connected' ? '' : note);
  write(parts.state, note);
  write(parts.trip, median === null ? '' : `${time(median)} ms`);
  parts.line.setAttribute('d', path(row.trips, top, places));

  const known = sent !== null && received !== null;
  write(parts.size, known ? `${count(sent + received)} bytes` : '');
  const wide = (bytes) => (WIDTH * (bytes ?? 0)) / most;
  parts.sent.setAttribute('width', wide(sent));
  parts.received.setAttribute('x', wide(sent));
  parts.received.setAttribute('width', wide(received));

  const numbers = [[median, time], [slowest, time], [sent, count], [received, count]];
  numbers.forEach(([value, format], index) => write(parts.cells[index], value === null ? '–' : format(value)));
}

/** Touches the page only where something changes. */
function write(node, text) {
  if (node.textContent !== text) {
    node.textContent = text;
  }
}

/** A line that enters at the right, with a gap where an echo did not come. */
function path(trips, top, places) {
  let joined = false;
  return trips.map((trip, index) => {
    if (trip === null) {
      joined = false;
      return '';
    }
    const x = WIDTH - ((trips.length - 1 - index) * WIDTH) / (places - 1);
    const y = HEIGHT - 1 - (HEIGHT - 2) * Math.min(1, trip / top);
    const step = `${joined ? 'L' : 'M'}${x.toFixed(1)} ${y.toFixed(1)}`;
    const dot = joined ? '' : 'h0';
    joined = true;
    return step + dot;
  }).join('');
}

/** A round number of milliseconds that nearly all round trips stay below. */
function ceiling(rows) {
  const all = rows.flatMap((row) => row.trips).filter((trip) => trip !== null).sort((a, b) => a - b);
  const most = Math.max(1, all[Math.floor(all.length * 0.95)] ?? 0);
  const unit = 10 ** Math.floor(Math.log10(most));
  return unit * [1, 2, 5, 10].find((step) => unit * step >= most);
}

function time(milliseconds) {
  return milliseconds.toLocaleString('en', { maximumFractionDigits: milliseconds < 10 ? 1 : 0 });
}

function count(bytes) {
  return bytes.toLocaleString('en');
}

function html(tag, style, text = '') {
  const node = document.createElement(tag);
  if (style) {
    node.className = style;
  }
  node.textContent = text;
  return node;
}

function svg(tag, attributes) {
  const node = document.createElementNS(SVG, tag);
  Object.entries(attributes).forEach(([name, value]) => node.setAttribute(name, value));
  return node;
}

function picture(...shapes) {
  const node = svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none' });
  node.append(...shapes);
  return node;
}
