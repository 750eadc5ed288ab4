// A line of the last hour, as SVG.

const SVG = 'http://www.w3.org/2000/svg';
const WIDTH = 300;
const HEIGHT = 80;
const HOUR = 3_600_000;

function element(name, attributes = {}) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) {
    made.setAttribute(key, value);
  }
  return made;
}

/** Makes a chart; its `show` takes points `[time, value]`. */
export function chart(title, format) {
  const figure = document.createElement('figure');
  const caption = document.createElement('figcaption');
  const svg = element('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', preserveAspectRatio: 'none' });
  const line = element('polyline', { class: 'line' });
  svg.append(line);
  figure.append(caption, svg);
  return {
    figure,
    show(points) {
      const values = points.map(([, value]) => value);
      const most = Math.max(...values, 0);
      const now = points.at(-1)?.[0] ?? 0;
      const at = ([time, value]) => {
        const x = WIDTH * (1 - (now - time) / HOUR);
        const y = HEIGHT - 2 - (most > 0 ? (value / most) * (HEIGHT - 4) : 0);
        return `${x.toFixed(1)},${y.toFixed(1)}`;
      };
      line.setAttribute('points', points.map(at).join(' '));
      const text = `${title}: ${format(values.at(-1) ?? 0)}, at most ${format(most)} within the hour`;
      caption.textContent = text;
      svg.setAttribute('aria-label', text);
    },
  };
}

/** The growth per second of a counter that samples have. */
export function rate(samples, key) {
  return samples.slice(1).map((sample, index) => {
    const before = samples[index];
    const seconds = (sample.at - before.at) / 1000;
    return [sample.at, seconds > 0 ? Math.max(0, sample[key] - before[key]) / seconds : 0];
  });
}
