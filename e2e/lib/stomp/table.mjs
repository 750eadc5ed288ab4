// docs/stomp-clients.md, from what passed.

const HEAD = `# STOMP clients

Which features of STOMP work between Tramline and the clients that others wrote. Every ✓ is a test that passed: each
client, in each version of STOMP that it speaks, against [examples/conformance](../examples/conformance). A number is a
note about what the client itself, or that version of STOMP, does not have.

This page is generated; \`TRAMLINE_UPDATE_DOCS=1 cargo xtask e2e stomp\` writes it anew.
`;

/** `results` has one entry per column: `{ name, transport, version, features: { [feature]: true | 'why not' } }`. */
export function table(results) {
  const notes = [];
  const note = (why) => {
    const index = notes.indexOf(why);
    return index < 0 ? notes.push(why) : index + 1;
  };
  const rows = [
    ['', ...results.map(({ name, transport, version }) => `${name}, ${transport}, ${version}`)],
    results.flatMap(({}, index) => (index === 0 ? ['---', ':-:'] : [':-:'])),
    ...Object.keys(results[0].features).map((feature) => [
      feature,
      ...results.map(({ features }) => (features[feature] === true ? '✓' : `${note(features[feature])}`)),
    ]),
  ];
  const lines = rows.map((cells) => `| ${cells.join(' | ')} |`);
  const list = notes.map((why, index) => `${index + 1}. ${why}`);
  return `${HEAD}\n${lines.join('\n')}\n\n${list.join('\n')}\n`;
}
