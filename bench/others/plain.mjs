// The route handler that tutorials show: a Redis connection for each stream; read, then subscribe.

import { createServer } from "node:http";
import Redis from "ioredis";
import { channelsOf, currentState, serve } from "./common.mjs";

serve(
  createServer(async (request, response) => {
    const id = request.url.split("/")[2];
    response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-cache" });
    const { state, seq } = await currentState(id);
    response.write(`id: ${seq}\ndata: ${state}\n\n`);
    const subscriber = new Redis(process.env.REDIS_URL, { enableReadyCheck: false });
    request.on("close", () => subscriber.disconnect());
    subscriber.on("message", (_, message) => response.write(`data: ${message}\n\n`));
    await subscriber.subscribe(...channelsOf(id));
  }),
);
