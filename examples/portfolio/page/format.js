// Numbers as the page writes them, and nodes as it makes them.

const money = new Intl.NumberFormat('en-US', { style: 'currency', currency: 'USD' });
const count = new Intl.NumberFormat('en-US');
const percentage = new Intl.NumberFormat('en-US', {
  minimumFractionDigits: 2, maximumFractionDigits: 2, signDisplay: 'exceptZero',
});

export const dollars = (value) => money.format(value);
export const whole = (value) => (value === null ? '–' : count.format(value));
export const percent = (value) => `${percentage.format(value)} %`;

/** Up, down or level: a shape, since not everybody sees colours. */
export const marker = (value) => (value >= 0.005 ? '▲' : value <= -0.005 ? '▼' : '◆');
export const direction = (value) => (value >= 0.005 ? 'up' : value <= -0.005 ? 'down' : 'level');

/** Touches the page only where something changes. */
export function write(node, text) {
  if (node.textContent !== text) {
    node.textContent = text;
  }
}

export function html(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  Object.entries(attributes).forEach(([name, value]) => node.setAttribute(name, value));
  node.append(...children);
  return node;
}

export function svg(tag, attributes = {}) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
  set(node, attributes);
  return node;
}

export function set(node, attributes) {
  Object.entries(attributes).forEach(([name, value]) => node.setAttribute(name, value));
}
