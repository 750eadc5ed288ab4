// nginx and HAProxy with the configurations of examples/behind-a-proxy, on free ports, with a certificate made here.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { child, named, startServer } from './server.mjs';
import { eventually } from './wait.mjs';

const FOLDER = fileURLToPath(new URL('../../examples/behind-a-proxy/', import.meta.url));

/** A text with replacements made; each must be for something that stands there once, so that none goes missing. */
function edited(text, replacements) {
  return replacements.reduce((now, [from, to]) => {
    assert.equal(now.split(from).length, 2, `${JSON.stringify(from)} must stand once in\n${now}`);
    return now.replace(from, () => to);
  }, text);
}

/** Lines of a text. */
const lines = (...all) => all.map((line) => `${line}\n`).join('');

/** What differs between the two: their files, what to replace in them for a test, and what they are started with. */
const PROXIES = {
  nginx: {
    program: 'TRAMLINE_NGINX',
    installed: '/usr/sbin/nginx',
    file: 'nginx.conf',
    nodes: ['server 127.0.0.1:8080;', 'server 127.0.0.1:8081;'],
    replacements: (port, { certificate, key }) => [
      ['listen 443 ssl', `listen 127.0.0.1:${port} ssl`],
      ['/etc/ssl/app.example.crt', certificate],
      ['/etc/ssl/app.example.key', key],
    ],
    node: (address) => `server ${address};`,
    prepare: (folder, text) => {
      // As Debian's nginx.conf does, with everything compressed; no master, whose children a crash would leave behind.
      writeFileSync(join(folder, 'nginx.conf'), lines(
        'daemon off; master_process off;',
        `pid ${folder}/nginx.pid; error_log ${folder}/log info;`,
        'events { worker_connections 768; }',
        'http {',
        '  sendfile on; tcp_nopush on; gzip on; gzip_types *;',
        `  access_log ${folder}/access.log;`,
        ...['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((of) => `  ${of}_temp_path ${folder}/${of};`),
        '  include app.conf;',
        '}',
      ));
      writeFileSync(join(folder, 'app.conf'), text);
      return ['-e', join(folder, 'log'), '-p', folder, '-c', 'nginx.conf'];
    },
  },
  haproxy: {
    program: 'TRAMLINE_HAPROXY',
    installed: '/usr/sbin/haproxy',
    file: 'haproxy.cfg',
    nodes: ['server a 127.0.0.1:8080 cookie a', 'server b 127.0.0.1:8081 cookie b'],
    replacements: (port, { pem }, folder) => [
      ['bind :443', `bind 127.0.0.1:${port}`],
      ['/etc/haproxy/app.example.pem', pem],
      ['/run/haproxy/admin.sock', join(folder, 'admin.sock')],
      // Each takes two open files, of which a test may have fewer than a server.
      ['maxconn 20000', 'maxconn 500'],
    ],
    node: (address, index) => `server ${'ab'[index]} ${address} cookie ${'ab'[index]}`,
    prepare: (folder, text) => {
      writeFileSync(join(folder, 'haproxy.cfg'), text);
      return ['-db', '-f', join(folder, 'haproxy.cfg')];
    },
  },
};

/** A certificate for localhost that nobody signed, in the forms that the two want. */
function certificate(folder) {
  const [key, crt, pem] = ['key', 'crt', 'pem'].map((kind) => join(folder, `app.${kind}`));
  execFileSync('openssl', [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2',
    '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', key, '-out', crt,
  ], { stdio: 'pipe' });
  writeFileSync(pem, readFileSync(crt, 'utf8') + readFileSync(key, 'utf8'), { mode: 0o600 });
  return { certificate: crt, key, pem };
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/**
 * The proxy of this name in front of one node or two, which are addresses such as `127.0.0.1:4711`; `changes` are
 * replacements in its configuration, besides those of addresses and paths.
 */
export async function startProxy(name, nodes, changes = []) {
  const proxy = PROXIES[name];
  const folder = mkdtempSync(join(tmpdir(), `tramline-${name}-`));
  const port = await freePort();
  const places = proxy.nodes.map((place, index) => [place, nodes[index] ? proxy.node(nodes[index], index) : '']);
  const text = edited(readFileSync(join(FOLDER, proxy.file), 'utf8'), [
    ...proxy.replacements(port, certificate(folder), folder),
    ...places,
    ...changes,
  ]);
  const log = join(folder, 'log');
  const output = openSync(log, 'a');
  const running = child(process.env[proxy.program] ?? proxy.installed, proxy.prepare(folder, text), {
    stdio: ['ignore', output, output],
  });
  closeSync(output);
  const ended = once(running, 'close');
  let over = false;
  const mark = () => { over = true; };
  ended.then(mark, mark);
  await eventually(async () => {
    assert.ok(!over, `${name} ended at its start\n${readFileSync(log, 'utf8')}\n${text}`);
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    socket.destroy();
  });
  return {
    /** The name that the certificate is for, with the port. */
    host: `localhost:${port}`,
    url: `https://localhost:${port}`,
    async stop() {
      running.kill('SIGTERM');
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** A node of examples/behind-a-proxy. */
export async function startNode(node = 'a', options = {}) {
  const path = named('TRAMLINE_BEHIND_A_PROXY_BIN', 'the binary of examples/behind-a-proxy');
  const more = Object.entries(options).flatMap(([key, value]) => [`--${key}`, `${value}`]);
  const server = await startServer(path, ['--listen', '127.0.0.1:0', '--node', node, ...more], [
    /^node \S+: http:\/\/(\S+)$/,
  ]);
  const [address] = server.printed;
  return { ...server, node, address };
}
