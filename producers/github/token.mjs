// Signs a token for a machine: for writing only, for one project, for two hours.
//
// RUNCAST_SIGNING_KEY is a private key as JSON Web Key (RFC 7517), whose public half is in AUTH_JWKS.
import { createHmac, createPrivateKey, sign } from "node:crypto";
import { env } from "node:process";

const key = JSON.parse(env.RUNCAST_SIGNING_KEY);
const alg = { OKP: "EdDSA", EC: "ES256", RSA: "RS256", oct: "HS256" }[key.kty];
const now = Math.floor(Date.now() / 1000);
const claims = {
  iss: env.ISSUER,
  aud: env.AUDIENCE,
  sub: "ci",
  org: env.ORGANIZATION,
  projects: [env.RUNCAST_PROJECT],
  scope: "status:write",
  iat: now,
  exp: now + 2 * 3600,
};
for (const [claim, value] of Object.entries(claims)) {
  if (!value || value[0] === "") throw new Error(`there is no ${claim}: set ISSUER, AUDIENCE, ORGANIZATION and RUNCAST_PROJECT`);
}
const encode = (part) => Buffer.from(JSON.stringify(part)).toString("base64url");
const content = `${encode({ alg, kid: key.kid })}.${encode(claims)}`;

function signature() {
  if (alg === "HS256") return createHmac("sha256", Buffer.from(key.k, "base64url")).update(content).digest();
  const secret = createPrivateKey({ key, format: "jwk" });
  return sign(alg === "EdDSA" ? null : "sha256", content, { key: secret, dsaEncoding: "ieee-p1363" });
}

console.log(`${content}.${signature().toString("base64url")}`);
