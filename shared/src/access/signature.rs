//! Signatures of tokens, checked by `ring`: TLS has it anyway, so nothing else is loaded in a cold start.

use jsonwebtoken::{
    Algorithm, DecodingKey, DecodingKeyKind,
    crypto::{CryptoProvider, JwtVerifier, KeyUtils},
    errors::ErrorKind,
    signature::{Error, Verifier},
};
use ring::{
    error::Unspecified,
    hmac,
    signature::{
        ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
        UnparsedPublicKey,
    },
};

static RING: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::InvalidAlgorithm.into()),
    verifier_factory: |&algorithm, key| {
        if key.family() != algorithm.family() {
            return Err(ErrorKind::InvalidKeyFormat.into());
        }
        let key = key.clone();
        Ok(Box::new(Signed { algorithm, key }))
    },
    key_utils: KeyUtils::new_unimplemented(),
};

/// Lets `jsonwebtoken` check signatures by `ring`, in all of the process.
pub(super) fn by_ring() {
    // Whoever comes later finds it done.
    let _ = RING.install_default();
}

/// The modulus without leading zeros, which some providers send against RFC 7518, section 6.3.1.1.
pub(super) fn modulus(n: &[u8]) -> &[u8] {
    let zeros = n.iter().take_while(|byte| **byte == 0).count();
    &n[zeros..]
}

struct Signed {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl Verifier<Vec<u8>> for Signed {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), Error> {
        let checked = match (self.algorithm, self.key.kind()) {
            (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, e }) => {
                RsaPublicKeyComponents { n: modulus(n), e }.verify(
                    &RSA_PKCS1_2048_8192_SHA256,
                    message,
                    signature,
                )
            }
            (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(point)) => {
                UnparsedPublicKey::new(&ED25519, point).verify(message, signature)
            }
            (Algorithm::HS256, DecodingKeyKind::SecretOrDer(secret)) => hmac::verify(
                &hmac::Key::new(hmac::HMAC_SHA256, secret),
                message,
                signature,
            ),
            _ => Err(Unspecified),
        };
        checked.map_err(|_| Error::new())
    }
}

impl JwtVerifier for Signed {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
    use jsonwebtoken::jwk::Jwk;

    use super::*;

    /// The examples of RFC 7515, appendices A.2, A.3 and A.1, and of RFC 8037, appendix A.4.
    const SIGNED: [(Algorithm, &str, &str); 4] = [
        (
            Algorithm::RS256,
            r#"{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#,
            "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        ),
        (
            Algorithm::ES256,
            r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
            "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
        (
            Algorithm::HS256,
            r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#,
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        ),
        (
            Algorithm::EdDSA,
            r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        ),
    ];

    fn key(jwk: &str) -> DecodingKey {
        let jwk: Jwk = serde_json::from_str(jwk).unwrap();
        DecodingKey::from_jwk(&jwk).unwrap()
    }

    fn is_good(algorithm: Algorithm, key: &DecodingKey, message: &[u8], signature: &[u8]) -> bool {
        let verifier = (RING.verifier_factory)(&algorithm, key);
        verifier.is_ok_and(|it| it.verify(message, &signature.to_vec()).is_ok())
    }

    #[test]
    fn what_the_rfcs_signed_is_good_and_nothing_else() {
        for (algorithm, jwk, token) in SIGNED {
            let key = key(jwk);
            let (message, signature) = token.rsplit_once('.').unwrap();
            let (message, signature) = (message.as_bytes(), BASE64.decode(signature).unwrap());
            assert!(
                is_good(algorithm, &key, message, &signature),
                "{algorithm:?}"
            );
            for bit in 0..signature.len() * 8 {
                let mut other = signature.clone();
                other[bit / 8] ^= 1 << (bit % 8);
                assert!(
                    !is_good(algorithm, &key, message, &other),
                    "{algorithm:?}, bit {bit}"
                );
            }
            for other in [&signature[1..], &[], &[&signature[..], &[0]].concat()] {
                assert!(!is_good(algorithm, &key, message, other), "{algorithm:?}");
            }
            assert!(
                !is_good(algorithm, &key, &message[1..], &signature),
                "{algorithm:?}"
            );
            for (another, _, _) in SIGNED {
                let fits = another == algorithm;
                assert_eq!(
                    is_good(another, &key, message, &signature),
                    fits,
                    "{another:?}"
                );
            }
        }
    }

    #[test]
    fn a_modulus_with_a_leading_zero_is_the_same() {
        let (algorithm, jwk, token) = SIGNED[0];
        let key = key(jwk);
        let DecodingKeyKind::RsaModulusExponent { n, e } = key.kind() else {
            panic!("no RSA key");
        };
        let key = DecodingKey::from_rsa_raw_components(&[&[0], &n[..]].concat(), e);
        let (message, signature) = token.rsplit_once('.').unwrap();
        let signature = BASE64.decode(signature).unwrap();
        assert!(is_good(algorithm, &key, message.as_bytes(), &signature));
    }
}
