// What stands behind Pushpin: the current state, and from there on its channel.
// https://pushpin.org/docs/protocols/grip/

import { createServer } from "node:http";
import { currentState, serve } from "./common.mjs";

serve(
  createServer(async (request, response) => {
    const id = request.url.split("/")[2];
    const { state, seq } = await currentState(id);
    response.writeHead(200, {
      "Content-Type": "text/event-stream",
      "Grip-Hold": "stream",
      "Grip-Channel": id,
    });
    response.end(`id: ${seq}\ndata: ${state}\n\n`);
  }),
);
