// Waiting is for a condition, with a generous end, and never for a time.

const DEADLINE = 30_000;

/** Repeats an assertion until it holds; the last failure is the one reported. */
export async function eventually(assertion, deadline = DEADLINE) {
  const end = Date.now() + deadline;
  for (;;) {
    try {
      return await assertion();
    } catch (error) {
      if (Date.now() > end) {
        throw error;
      }
      await new Promise((resolve) => { setTimeout(resolve, 25); });
    }
  }
}

/** The next value handed to the returned `put`, in order: for callbacks of clients. */
export function inbox(what) {
  const values = [];
  return {
    put: (value) => values.push(value),
    next: () => eventually(() => {
      if (values.length === 0) {
        throw new Error(`waited for ${what} in vain`);
      }
      return values.shift();
    }),
    get size() { return values.length; },
  };
}
