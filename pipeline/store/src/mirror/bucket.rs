//! The bucket: found, or made with its retention.

use castback_schemas::Micros;
use castback_schemas::time::SECOND;
use influxdb2::api::buckets::ListBucketsRequest;
use influxdb2::api::organization::ListOrganizationRequest;
use influxdb2::models::{PostBucketRequest, RetentionRule, retention_rule};

use super::client::{Influx, shown, within};
use super::error::MirrorError;

/// How long a bucket of ours keeps points, in seconds: as long as the tier that keeps the ledger longest, five years.
const KEPT: i32 = 1_826 * 86_400;

/// Where points go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bucket {
    /// The organization, by name; empty where the server knows none.
    pub organization: String,
    /// How long the bucket keeps points, in microseconds; none: for ever, or nobody says.
    pub kept: Option<i64>,
    /// Whether it was made just now.
    pub made: bool,
}

impl Bucket {
    /// Whether a point of this time is still kept at `now`.
    #[must_use]
    pub fn keeps(&self, time: Micros, now: Micros) -> bool {
        self.kept.is_none_or(|kept| now.0.saturating_sub(kept) <= time.0)
    }
}

pub(super) async fn prepare(influx: &Influx) -> Result<Bucket, MirrorError> {
    let (organization, id) = organization(influx).await?;
    let found = Bucket { organization, kept: None, made: false };
    let (client, name) = (influx.reading(), influx.options.bucket.clone());
    let org = Some(found.organization.clone()).filter(|org| !org.is_empty());
    let wanted = ListBucketsRequest { name: Some(name.clone()), org, ..ListBucketsRequest::default() };
    let listed = match within(async move { client.list_buckets(Some(wanted)).await }).await {
        Ok(listed) => listed.buckets,
        Err(MirrorError::Missing(_)) => Vec::new(),
        Err(error) => return unknown(influx, found, error),
    };
    if let Some(bucket) = listed.iter().find(|bucket| bucket.name == name) {
        let rules = bucket.retention_rules.iter().map(|rule| i64::from(rule.every_seconds));
        return Ok(Bucket { kept: rules.filter(|seconds| *seconds > 0).min().map(|s| s * SECOND), ..found });
    }
    let rule = RetentionRule::new(retention_rule::Type::Expire, KEPT);
    let bucket = PostBucketRequest {
        description: Some("Castback's series; the truth is in its object store".to_owned()),
        retention_rules: vec![rule],
        ..PostBucketRequest::new(id.unwrap_or_default(), name)
    };
    let client = influx.reading();
    match within(async move { client.create_bucket(Some(bucket)).await }).await {
        Ok(()) => Ok(Bucket { kept: Some(i64::from(KEPT) * SECOND), made: true, ..found }),
        Err(error) => unknown(influx, found, error),
    }
}

/// Points are written all the same: a token may be for writing only, and servers that take
/// InfluxDB's lines need not know buckets. A bucket that is not there is told by the first write.
fn unknown(influx: &Influx, bucket: Bucket, error: MirrorError) -> Result<Bucket, MirrorError> {
    if error.passes() {
        return Err(error);
    }
    let server = shown(&influx.options.server);
    tracing::info!(mirror.server = server, error = %error, "mirror.bucket_not_looked_up");
    Ok(bucket)
}

/// The organization by name, and its id.
async fn organization(influx: &Influx) -> Result<(String, Option<String>), MirrorError> {
    let named = influx.options.organization.clone();
    let (client, org) = (influx.reading(), named.clone());
    let request = ListOrganizationRequest { org, ..ListOrganizationRequest::default() };
    let listed = match within(async move { client.list_organizations(request).await }).await {
        Ok(listed) => listed.orgs,
        Err(error) if error.passes() => return Err(error),
        // Named wrongly, or a server that knows none: the write tells.
        Err(_) => return Ok((named.unwrap_or_default(), None)),
    };
    match (named, listed.as_slice()) {
        (Some(name), listed) => {
            let id = listed.iter().find(|org| org.name == name).and_then(|org| org.id.clone());
            Ok((name, id))
        }
        (None, [only]) => Ok((only.name.clone(), only.id.clone())),
        (None, several) => Err(MirrorError::Organization(several.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_bucket_would_drop_is_known() {
        let bucket = Bucket { kept: Some(10), ..Bucket::default() };
        assert!(bucket.keeps(Micros(90), Micros(100)) && !bucket.keeps(Micros(89), Micros(100)));
        assert!(Bucket::default().keeps(Micros(0), Micros(i64::MAX)));
    }
}
