import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';

/** A request, and the connection on which to answer it as a test likes. */
export interface Exchange {
  url: string;
  lastEventId: string | undefined;
  token: string | undefined;
  request: IncomingMessage;
  response: ServerResponse;
  /** Begins a stream, unless that was done, and writes to it. */
  write(frames: string | Uint8Array): void;
  /** Answers with a status, and a problem as body. */
  refuse(status: number, headers?: Record<string, string>): void;
  end(): void;
  /** Breaks the connection. */
  destroy(): void;
}

/** A real HTTP server; a test takes the requests one by one. */
export async function startServer() {
  const waiting: ((exchange: Exchange) => void)[] = [];
  const arrived: Exchange[] = [];
  const closed: string[] = [];
  let count = 0;
  const server = createServer((request, response) => {
    if (request.method === 'POST') {
      closed.push(request.url ?? '');
      response.writeHead(204).end();
      return;
    }
    count += 1;
    const header = (name: string) => request.headers[name] as string | undefined;
    const exchange: Exchange = {
      url: request.url ?? '',
      lastEventId: header('last-event-id'),
      token: header('authorization'),
      request,
      response,
      write(frames) {
        if (!response.headersSent) response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.write(frames);
      },
      refuse(status, headers = {}) {
        const problem = {
          type: 'about:blank',
          title: '',
          status,
          detail: `refused: ${status}`,
          requestId: 'r',
        };
        response.writeHead(status, { 'content-type': 'application/problem+json', ...headers });
        response.end(status === 204 ? undefined : JSON.stringify(problem));
      },
      end: () => response.end(),
      destroy: () => request.socket.destroy(),
    };
    const next = waiting.shift();
    if (next) next(exchange);
    else arrived.push(exchange);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    closed,
    /** Breaks every connection. */
    closeStreams: () => server.closeAllConnections(),
    get count() {
      return count;
    },
    /** The next request for a stream. */
    next(): Promise<Exchange> {
      const exchange = arrived.shift();
      return exchange ? Promise.resolve(exchange) : new Promise((resolve) => waiting.push(resolve));
    },
  };
}

/** The first frame of a stream. */
export const opening = (streamId: string, heartbeatSeconds = 15): string =>
  `retry: 0\nevent: stream\ndata: ${JSON.stringify({ streamId, heartbeatSeconds, endsAt: '2026-01-31T12:00:00.000Z' })}\n\n`;

export const frame = (state: unknown, id?: string): string =>
  `${id === undefined ? '' : `id: ${id}\n`}data: ${JSON.stringify(state)}\n\n`;

export const end = (reason: string): string => `event: end\ndata: ${JSON.stringify({ reason })}\n\n`;

/** The last frame of a stream whose place another has. */
export const eviction = `${end('closed').trimEnd()}\nid: evicted\n\n`;
