// The trace of one session or destination: begun here, fetched each second, ended by a button or by itself.

import { act } from './ask.js';

const KEPT = 500;

const state = document.getElementById('trace-state');
const frames = document.getElementById('frames');
const end = document.getElementById('trace-end');

let running = null;

function item(frame) {
  const made = document.createElement('li');
  made.className = frame.from_client ? 'from-client' : 'to-client';
  const head = document.createElement('p');
  const time = new Date(frame.at).toLocaleTimeString('en-GB');
  const direction = frame.from_client ? 'from' : 'to';
  head.textContent = `${time} ${frame.command} ${direction} ${frame.user ?? 'anonymous'} (${frame.session.slice(0, 8)})`;
  const text = document.createElement('pre');
  const body = frame.body_bytes > 0 ? `\n\n${frame.body}` : '';
  text.textContent = frame.headers.map(([name, value]) => `${name}: ${value}`).join('\n') + body;
  made.append(head, text);
  return made;
}

function over(text) {
  running = null;
  end.disabled = true;
  state.textContent = text;
}

async function follow(trace) {
  while (running === trace) {
    try {
      const seen = await act('traced', { stack: trace.stack, trace: trace.id, after: trace.after });
      if (running !== trace) {
        return;
      }
      trace.dropped += seen.dropped;
      trace.after = seen.frames.at(-1)?.number ?? trace.after;
      frames.append(...seen.frames.map(item));
      while (frames.children.length > KEPT) {
        frames.firstElementChild.remove();
      }
      const dropped = trace.dropped > 0 ? `, ${trace.dropped} dropped` : '';
      state.textContent = `Tracing ${trace.what}: ${trace.after} frames${dropped}. It ends in ${seen.seconds_left} s.`;
    } catch (error) {
      over(error.message === 'the trace has ended' ? `The trace of ${trace.what} has ended.` : error.message);
      return;
    }
    await new Promise((resolve) => { setTimeout(resolve, 1000); });
  }
}

/** Begins a trace of a destination, which begins with a slash, or of the session with this id. */
export async function begin(stack, what) {
  await finish();
  const about = what.startsWith('/') ? { destination: what } : { id: what };
  const { trace } = await act('trace', { stack, ...about });
  frames.replaceChildren();
  running = { stack, what, id: trace, after: 0, dropped: 0 };
  end.disabled = false;
  state.textContent = `Tracing ${what}.`;
  follow(running);
}

export async function finish() {
  if (running) {
    const { stack, id, what } = running;
    over(`The trace of ${what} has ended.`);
    await act('end-trace', { stack, trace: id });
  }
}
