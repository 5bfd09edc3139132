import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { inject, onTestFinished } from 'vitest';

/** What a server in front of the stack does with a request: passes it on, answers, is silent, breaks off. */
export type Deed = 'pass' | 'hang' | 'reset' | { status: number; retryAfter?: string };

/** A server in front of the stack that does with the n-th request (from 1) as it is told. Returns its address. */
export async function serverThat(
  does: (count: number, request: http.IncomingMessage) => Deed,
): Promise<{ url: string; requests: number[] }> {
  const requests: number[] = [];
  const server = http.createServer((request, response) => {
    requests.push(Date.now());
    const deed = does(requests.length, request);
    if (deed === 'reset') request.socket.destroy();
    else if (deed === 'pass') passOn(request, response);
    else if (deed !== 'hang') {
      const { status, retryAfter } = deed;
      response.writeHead(status, retryAfter === undefined ? {} : { 'retry-after': retryAfter });
      response.end(JSON.stringify({ title: http.STATUS_CODES[status], detail: 'as the test has it' }));
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests };
}

function passOn(request: http.IncomingMessage, response: http.ServerResponse): void {
  const { pathname } = new URL(request.url ?? '/', 'http://stack');
  const target = http.request(new URL(pathname, inject('stack').url), {
    method: 'POST',
    headers: { ...request.headers, host: new URL(inject('stack').url).host },
  });
  target.on('response', (answer) => {
    response.writeHead(answer.statusCode ?? 0, answer.headers);
    answer.pipe(response);
  });
  target.on('error', () => response.destroy());
  request.pipe(target);
}
