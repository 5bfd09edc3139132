import type { ScriptedStream } from '../../testing/index.ts';

/** A network on which what comes from a function takes so long. */
export function slow(stream: ScriptedStream, delayMs: (service: string) => number): typeof fetch {
  return async (input, init) => {
    const response = await stream.fetch(input, init);
    const [, service = ''] = /api\/([^/]+)\/events/.exec(`${input}`) ?? [];
    if (!response.body || !service) return response;
    const reader = response.body.getReader();
    const late = (tell: () => void) => setTimeout(tell, delayMs(service));
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        void (async () => {
          try {
            for (;;) {
              const { done, value } = await reader.read();
              late(() => (done ? controller.close() : controller.enqueue(value)));
              if (done) return;
            }
          } catch (error) {
            controller.error(error);
          }
        })();
      },
    });
    return new Response(body, { status: response.status, headers: response.headers });
  };
}

/** A browser's network over HTTP/1.1: six connections at a time, and what is more waits in line. */
export function sixConnections(to: typeof fetch) {
  const waiting: (() => void)[] = [];
  const network = { open: 0, most: 0, fetch: undefined as unknown as typeof fetch };
  const free = () => {
    network.open -= 1;
    waiting.shift()?.();
  };
  network.fetch = async (input, init) => {
    if (network.open >= 6) await new Promise<void>((resolve) => waiting.push(resolve));
    init?.signal?.throwIfAborted();
    network.open += 1;
    network.most = Math.max(network.most, network.open);
    let response: Response;
    try {
      response = await to(input, init);
    } catch (error) {
      free();
      throw error;
    }
    if (!response.body) {
      free();
      return response;
    }
    let isFree = false;
    const done = () => {
      if (!isFree) free();
      isFree = true;
    };
    init?.signal?.addEventListener('abort', done);
    const reader = response.body.getReader();
    const body = new ReadableStream<Uint8Array>({
      async pull(controller) {
        try {
          const { done: isDone, value } = await reader.read();
          if (!isDone) return controller.enqueue(value);
          done();
          controller.close();
        } catch (error) {
          done();
          controller.error(error);
        }
      },
      cancel(reason) {
        done();
        return reader.cancel(reason);
      },
    });
    return new Response(body, { status: response.status, headers: response.headers });
  };
  return network;
}
