// better-sse, with one ioredis subscription for the process and a channel for each execution
// (https://matthewwid.github.io/better-sse/guides/channels/). It subscribes before it reads.

import { createServer } from "node:http";
import { createChannel, createSession } from "better-sse";
import Redis from "ioredis";
import { channelsOf, currentState, serve } from "./common.mjs";

// Its check asks for INFO, which a connection that subscribes already may not.
const subscriber = new Redis(process.env.REDIS_URL, { enableReadyCheck: false });
const channels = new Map();

subscriber.on("message", (name, message) => {
  channels.get(name.split(":")[1])?.broadcast(JSON.parse(message), "message");
});

async function channelOf(id) {
  let channel = channels.get(id);
  if (!channel) {
    channel = createChannel();
    channels.set(id, channel);
    channel.on("session-deregistered", () => {
      if (channel.sessionCount > 0) return;
      channels.delete(id);
      subscriber.unsubscribe(...channelsOf(id));
    });
    await subscriber.subscribe(...channelsOf(id));
  }
  return channel;
}

serve(
  createServer(async (request, response) => {
    const id = request.url.split("/")[2];
    const session = await createSession(request, response);
    const channel = await channelOf(id);
    channel.register(session);
    const { state, seq } = await currentState(id);
    session.push(JSON.parse(state), "message", String(seq));
  }),
);
