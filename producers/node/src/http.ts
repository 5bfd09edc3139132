import http from 'node:http';
import https from 'node:https';

/** How long an answer may take: the server tries for some seconds. */
const ANSWER_TIMEOUT_MS = 20_000;

/** The most that is read of an answer, in bytes: of 1,000 updates, each may be rejected in a line. */
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;

export interface Answer {
  status: number;
  retryAfterMs: number | undefined;
  body: string;
}

/** Of which trace this process is: <https://opentelemetry.io/docs/specs/otel/context/env-carriers/>. */
function traceparent(): http.OutgoingHttpHeaders {
  const value = process.env.TRACEPARENT ?? '';
  return /^[\da-f-]+$/.test(value) ? { traceparent: value } : {};
}

const keptAlive = { keepAlive: true, maxSockets: 2 };
const agents = { http: new http.Agent(keptAlive), https: new https.Agent(keptAlive) };

/** Sends JSON. A process that has nothing else to do does not wait for the answer: no socket keeps it. */
export function post(
  url: URL,
  headers: http.OutgoingHttpHeaders,
  body: string | Buffer,
  signal?: AbortSignal,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const isSecure = url.protocol === 'https:';
    const request = (isSecure ? https : http).request(url, {
      method: 'POST',
      agent: isSecure ? agents.https : agents.http,
      headers: {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
        'user-agent': 'runcast-reporter',
        ...traceparent(),
        ...headers,
      },
      ...(signal && { signal }),
    });
    const timer = setTimeout(() => {
      request.destroy(new Error(`no answer in ${ANSWER_TIMEOUT_MS / 1000} s`));
    }, ANSWER_TIMEOUT_MS).unref();
    const fail = (error: Error) => {
      clearTimeout(timer);
      reject(error);
    };
    request.on('socket', (socket) => socket.unref());
    request.on('error', fail);
    request.on('response', (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        bytes += chunk.length;
        if (bytes > MAX_ANSWER_BYTES) request.destroy(new Error('too long an answer'));
      });
      response.on('error', fail);
      response.on('close', () => fail(new Error('the answer breaks off')));
      response.on('end', () => {
        clearTimeout(timer);
        resolve({
          status: response.statusCode ?? 0,
          retryAfterMs: retryAfterOf(response.headers['retry-after']),
          body: Buffer.concat(chunks).toString(),
        });
      });
    });
    request.end(body);
  });
}

/** Seconds, or a date: RFC 9110, 10.2.3. */
function retryAfterOf(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}
