//! Presigned URLs of objects in S3: who has one reads that object, until it expires.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/ShareObjectPreSignedURL.html>

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sigv4::http_request::{
    PercentEncodingMode, SignableBody, SigningSettings, UriPathNormalizationMode,
};
use percent_encoding::{AsciiSet, utf8_percent_encode};

use super::{Signer, TokenError, UNRESERVED, presign};

/// How long a URL is good, at most.
const VALID_FOR: Duration = Duration::from_mins(5);

/// The longest key that S3 has, in bytes.
const MAX_KEY: usize = 1024;

/// What stands in a path as it is.
const IN_PATH: &AsciiSet = &UNRESERVED.remove(b'/');

/// An object in S3.
#[derive(Debug, PartialEq, Eq)]
pub struct Object<'a> {
    bucket: &'a str,
    key: &'a str,
}

/// A presigned URL.
#[derive(Debug)]
pub struct ObjectUrl {
    /// It.
    pub url: String,
    /// Until when it is good.
    pub expires_at: SystemTime,
}

impl<'a> Object<'a> {
    /// Reads `s3://bucket/key`.
    #[must_use]
    pub fn of_url(url: &'a str) -> Option<Self> {
        let (bucket, key) = url.strip_prefix("s3://")?.split_once('/')?;
        // Without a key, the bucket itself would be asked what is in it.
        let is_key = (1..=MAX_KEY).contains(&key.len());
        (is_key && is_bucket(bucket)).then_some(Object { bucket, key })
    }

    /// Where it is, in a region; a bucket whose name has dots is in no certificate, so that it stands in
    /// the path, as it does where S3 is said to be elsewhere.
    fn address(&self, region: &str, endpoint: Option<&str>) -> String {
        let Object { bucket, key } = self;
        let key = utf8_percent_encode(key, IN_PATH);
        let suffix = dns_suffix(region);
        match endpoint {
            Some(endpoint) => format!("{}/{bucket}/{key}", endpoint.trim_end_matches('/')),
            None if bucket.contains('.') => {
                format!("https://s3.{region}.{suffix}/{bucket}/{key}")
            }
            None => format!("https://{bucket}.s3.{region}.{suffix}/{key}"),
        }
    }
}

impl Signer {
    /// A URL by which anyone reads an object for five minutes, or as long as the role's credentials are
    /// known to live. `endpoint` is where S3 is, if it is not AWS's.
    ///
    /// # Errors
    /// Where the role's credentials cannot be had.
    pub async fn object_url(
        &self,
        object: &Object<'_>,
        endpoint: Option<&str>,
    ) -> Result<ObjectUrl, TokenError> {
        let credentials = self.credentials.current().await?;
        let address = object.address(&self.region, endpoint);
        sign(credentials, SystemTime::now(), &self.region, &address)
    }
}

fn sign(
    credentials: aws_credential_types::Credentials,
    now: SystemTime,
    region: &str,
    address: &str,
) -> Result<ObjectUrl, TokenError> {
    let left = credentials.expiry();
    let left = left.map(|expiry| expiry.duration_since(now).unwrap_or_default());
    // In whole seconds, of which none is not taken.
    let valid_for = left.unwrap_or(VALID_FOR).min(VALID_FOR).as_secs().max(1);
    let valid_for = Duration::from_secs(valid_for);
    let mut settings = SigningSettings::default();
    settings.expires_in = Some(valid_for);
    // A key is taken to the letter: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html.
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    let body = SignableBody::UnsignedPayload;
    // The signature's time has no fraction.
    let signed_at = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Ok(ObjectUrl {
        url: presign(credentials, now, region, "s3", address, settings, body)?,
        expires_at: UNIX_EPOCH + Duration::from_secs(signed_at) + valid_for,
    })
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>
fn is_bucket(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-');
    (3..=63).contains(&name.len()) && name.chars().all(fits)
}

/// The end of the names that AWS's services have in a region.
#[must_use]
pub fn dns_suffix(region: &str) -> &'static str {
    match region.split('-').next() {
        Some("cn") => "amazonaws.com.cn",
        Some("eusc") => "amazonaws.eu",
        _ => "amazonaws.com",
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::iam::tests::sorted;

    /// One of the URLs that botocore signed: `tests/iam/vectors.py`.
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Vector {
        region: String,
        access_key_id: String,
        secret_access_key: String,
        session_token: Option<String>,
        unix_seconds: u64,
        object: String,
        endpoint: Option<String>,
        url: String,
    }

    #[test]
    fn urls_are_those_that_botocore_signs() {
        let vectors = include_str!("../../../tests/iam/objects.json");
        let vectors: Vec<Vector> = serde_json::from_str(vectors).unwrap();
        assert!(vectors.len() >= 12);
        for vector in vectors {
            let credentials = aws_credential_types::Credentials::new(
                vector.access_key_id,
                vector.secret_access_key,
                vector.session_token,
                None,
                "test",
            );
            let now = UNIX_EPOCH + Duration::from_secs(vector.unix_seconds);
            let object = Object::of_url(&vector.object).unwrap();
            let address = object.address(&vector.region, vector.endpoint.as_deref());
            let signed = sign(credentials, now, &vector.region, &address).unwrap();
            assert_eq!(sorted(&signed.url), sorted(&vector.url));
            assert_eq!(signed.expires_at, now + VALID_FOR);
        }
    }

    #[test]
    fn a_url_does_not_outlive_the_credentials() {
        let now = UNIX_EPOCH + Duration::from_secs(1_440_938_161);
        for (left, said) in [(600, 300), (42, 42), (0, 1)] {
            let expiry = Some(now + Duration::from_secs(left));
            let credentials =
                aws_credential_types::Credentials::new("id", "key", None, expiry, "test");
            let address = "https://bucket.s3.eu-central-1.amazonaws.com/key";
            let signed = sign(credentials, now, "eu-central-1", address).unwrap();
            assert_eq!(signed.expires_at, now + Duration::from_secs(said));
            let expires = format!("X-Amz-Expires={said}&");
            assert!(signed.url.contains(&expires), "{}", signed.url);
        }
    }

    #[test]
    fn what_names_no_object_is_refused() {
        let long = format!("s3://bucket/{}", "k".repeat(1025));
        for url in [
            "s3://bucket",
            "s3://bucket/",
            "s3:///key",
            "s3://ab/key",
            "s3://Bucket/key",
            "s3://bucket?/key",
            "s3://user@bucket/key",
            "https://bucket.s3.amazonaws.com/key",
            "r.html",
            &long,
        ] {
            assert_eq!(Object::of_url(url), None, "{url}");
        }
    }
}
