// An OpenID provider for the tests: a JSON command in on each line, a JSON answer out; first of all, where it is.
// usage: node provider.mjs

import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import Provider from 'oidc-provider';

/** Answers as whoever asks for keys should not be answered. */
const faults = {
  away: (_, response) => response.socket.destroy(),
  broken: (_, response) => response.writeHead(500).end(),
  garbage: (_, response) => response.end('<html>Sign in</html>'),
  large: (_, response) => response.end(JSON.stringify({ keys: [], more: 'x'.repeat(1 << 20) })),
  silent: () => {},
  elsewhere: (_, response) => response.writeHead(302, { location: `${issuer}/jwks` }).end(),
};

let provider;
let fault;
let asked = 0;
const server = createServer((request, response) => {
  const isOfKeys = ['/jwks', '/.well-known/openid-configuration'].includes(request.url);
  if (request.url === '/jwks') asked += 1;
  if (fault && isOfKeys) faults[fault](request, response);
  else provider.callback()(request, response);
});
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const issuer = `http://127.0.0.1:${server.address().port}`;

/** The same provider with another key, which signs from now on. */
function rotate({ kid }) {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const key = { ...privateKey.export({ format: 'jwk' }), kid, alg: 'RS256', use: 'sig' };
  provider = new Provider(issuer, {
    jwks: { keys: [key] },
    clients: [
      {
        client_id: 'ci',
        client_secret: 'secret',
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
      },
    ],
    ttl: { ClientCredentials: 600 },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: () => ({
          audience: 'runcast',
          scope: 'status:read',
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: 'RS256' } },
        }),
      },
    },
    scopes: ['status:read'],
    extraTokenClaims: () => ({ org: 'demo' }),
  });
}

async function token() {
  const answer = await fetch(`${issuer}/token`, {
    method: 'POST',
    headers: { authorization: `Basic ${btoa('ci:secret')}` },
    body: new URLSearchParams({
      grant_type: 'client_credentials',
      scope: 'status:read',
      resource: 'https://runcast.example.com',
    }),
  });
  return answer.json();
}

const commands = {
  rotate,
  token,
  fault: ({ name }) => {
    fault = name;
  },
  asked: () => ({ times: asked }),
};
rotate({ kid: 'first' });
console.log(JSON.stringify({ issuer }));
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  console.log(JSON.stringify((await commands[command.do](command)) ?? {}));
}
process.exit(0);
