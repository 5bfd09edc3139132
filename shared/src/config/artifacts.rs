//! `ARTIFACTS_BUCKET`.

use super::{ConfigError, Env};
use crate::iam::{Object, Signer};

/// What in a bucket's name stands for the organization.
const ORGANIZATION: &str = "{org}";

/// The bucket that holds what tests left.
#[derive(Clone, Debug)]
pub struct Artifacts {
    /// Where an `s3Url` has to lie: `s3://bucket/`, or below what of it is the organization's.
    within: String,
    /// Where S3 is, if it is not AWS's.
    pub endpoint: Option<String>,
    /// Signs URLs.
    pub signer: Signer,
}

impl Artifacts {
    /// Reads `ARTIFACTS_BUCKET`; `None` where there is none.
    ///
    /// # Errors
    /// Where it has a value it does not take.
    pub fn from_env(env: &Env) -> Result<Option<Self>, ConfigError> {
        let variable = "ARTIFACTS_BUCKET";
        if env.get(variable).is_none() {
            return Ok(None);
        }
        let takes = "the name of a bucket, or, where an organization reads only what is below its id, NAME/{org}";
        let within = env.required(variable, takes, |text| {
            let bucket = text.split_once('/').map_or(text, |(bucket, _)| bucket);
            let is_it = text == bucket || text == format!("{bucket}/{ORGANIZATION}");
            let within = format!("s3://{text}/");
            (is_it && Object::of_url(&format!("{within}key")).is_some()).then_some(within)
        })?;
        let endpoint = env
            .get("AWS_ENDPOINT_URL_S3")
            .or(env.get("AWS_ENDPOINT_URL"));
        Ok(Some(Artifacts {
            within,
            endpoint: endpoint.map(str::to_owned),
            signer: env.signer(variable)?,
        }))
    }

    /// The object that an organization's `s3Url` names, where it is one that may be read.
    #[must_use]
    pub fn object<'a>(&self, organization_id: &str, s3_url: &'a str) -> Option<Object<'a>> {
        let within = self.within.replace(ORGANIZATION, organization_id);
        let is_within = s3_url.starts_with(&within);
        is_within.then(|| Object::of_url(s3_url)).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::env;

    fn artifacts(bucket: &str) -> Artifacts {
        let read = Artifacts::from_env(&env(&[("ARTIFACTS_BUCKET", bucket)]));
        read.unwrap().unwrap()
    }

    #[test]
    fn only_what_is_in_the_bucket_is_read() {
        let artifacts = artifacts("ci-artifacts");
        let url = "s3://ci-artifacts/a/b.zip";
        assert_eq!(artifacts.object("demo", url), Object::of_url(url));
        for url in [
            "s3://ci-artifacts",
            "s3://ci-artifacts/",
            "s3://ci-artifacts-2/a/b.zip",
            "s3://other/ci-artifacts/a/b.zip",
            "ci-artifacts/a/b.zip",
            "r.html",
        ] {
            assert_eq!(artifacts.object("demo", url), None, "{url}");
        }
    }

    #[test]
    fn an_organization_reads_only_what_is_its_own() {
        let artifacts = artifacts("ci-artifacts/{org}");
        let url = "s3://ci-artifacts/demo/b.zip";
        assert_eq!(artifacts.object("demo", url), Object::of_url(url));
        for (org, url) in [
            ("other", url),
            ("dem", url),
            ("demo", "s3://ci-artifacts/b.zip"),
            ("demo", "s3://ci-artifacts/demo"),
        ] {
            assert_eq!(artifacts.object(org, url), None, "{url}");
        }
    }

    #[test]
    fn what_names_no_bucket_is_refused() {
        for bucket in ["s3://bucket", "Bucket", "bucket/", "bucket/prefix", "ab"] {
            let error = Artifacts::from_env(&env(&[("ARTIFACTS_BUCKET", bucket)]));
            let error = error.unwrap_err().to_string();
            assert!(error.starts_with("ARTIFACTS_BUCKET has a value"), "{error}");
        }
        assert!(Artifacts::from_env(&env(&[])).unwrap().is_none());
    }
}
