//! What a client is told: the header fields on answers that pass, and whole refusals.
//!
//! `RateLimit` and `RateLimit-Policy` follow draft-ietf-httpapi-ratelimit-headers-10: lists of
//! structured-field strings with parameters. Rule names need no escaping there by configuration.

use std::borrow::Cow;
use std::cmp::Reverse;

use crate::config::{Headers, Response, Rule};
use crate::limit::{Limit, Standing};
use crate::units::{Micros, whole_number};

/// A header field: its name in lower case, and its value.
pub type Field = (Cow<'static, str>, String);

/// A complete answer of the filter's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status, for requests that are not gRPC.
    pub status: u32,
    /// gRPC status, for requests that are.
    pub grpc_status: GrpcStatus,
    /// Header fields, content type included.
    pub headers: Vec<Field>,
    /// The body; not sent to gRPC clients.
    pub body: String,
}

/// The gRPC statuses that a refusal can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrpcStatus {
    /// 8: over a limit.
    ResourceExhausted,
    /// 14: the limit cannot be checked.
    Unavailable,
}

/// Where one rule stands, for the header fields.
#[derive(Clone, Copy, Debug)]
pub struct RuleStanding<'a> {
    /// The rule.
    pub rule: &'a Rule,
    /// The limit of this request's key.
    pub limit: Limit,
    /// Its bucket after this request.
    pub standing: Standing,
}

/// Problem type of a refusal by a limit, registered by the same draft, section 6.1.
const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";
/// Problem type of a refusal because the service lacks capacity, section 6.2.
const TEMPORARY_REDUCED_CAPACITY: &str =
    "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity";

/// One that its status says all of (RFC 9457, section 4.2.1), but for the detail.
const NO_TYPE: &str = "about:blank";

const USED_UP: &str = "Too many requests: a rate limit is used up";
const NO_KEY: &str = "The request lacks a key, or its key is not allowed";

/// Which of `X-RateLimit-*` tells how much is left.
const REMAINING: &str = "x-ratelimit-remaining";

/// Whether a field is a list, so that one line of it more adds items. Those stand beside what the
/// upstream, or another instance of this filter, says of limits of its own: taking that away would
/// tell the client of more room than it has. Any other field has one value, and ours replaces it,
/// unless it [yields].
pub fn is_list(field: &str) -> bool {
    matches!(field, "ratelimit" | "ratelimit-policy")
}

/// Whether our fields of one value, `X-RateLimit-*`, yield to those of a response, because its limit
/// leaves the client no more than ours: there is room for one, and the tighter is the one to know.
/// `theirs` is all that the response has; it may be a refusal by an instance behind this.
pub fn yields(
    fields: &[(&'static str, String)],
    theirs: impl FnOnce() -> Vec<(String, Vec<u8>)>,
) -> bool {
    let ours = fields.iter().find(|(name, _)| *name == REMAINING);
    ours.is_some_and(|(_, ours)| {
        let ours = whole_number(ours.as_bytes());
        let theirs = theirs().into_iter().filter(|(name, _)| name == REMAINING);
        let mut theirs = theirs.filter_map(|(_, value)| whole_number(&value));
        theirs.any(|theirs| ours >= Some(theirs))
    })
}

/// The fields that tell a client where it stands, the tightest rule first.
pub fn limit_headers(
    enabled: Headers,
    standings: &[RuleStanding<'_>],
) -> Vec<(&'static str, String)> {
    let mut standings = standings.to_vec();
    standings.sort_by_key(RuleStanding::tightness);
    let mut headers = Vec::new();
    if enabled.ratelimit && !standings.is_empty() {
        let policies: Vec<String> = standings.iter().map(|entry| entry.policy()).collect();
        let limits: Vec<String> = standings.iter().map(|entry| entry.limit()).collect();
        headers.push(("ratelimit-policy", policies.join(", ")));
        headers.push(("ratelimit", limits.join(", ")));
    }
    if let (true, Some(tightest)) = (enabled.x_ratelimit, standings.first()) {
        headers.push(("x-ratelimit-limit", tightest.limit.requests().to_string()));
        headers.push((REMAINING, tightest.remaining().to_string()));
        headers.push((
            "x-ratelimit-reset",
            tightest.until_more().secs_rounded_up().to_string(),
        ));
    }
    headers
}

impl RuleStanding<'_> {
    /// What the client may still send, never above the quota that `q` names.
    fn remaining(&self) -> u64 {
        self.standing.remaining.min(self.limit.requests())
    }

    /// Until there is more quota: the next request's worth when nothing is left, so that it never
    /// lies behind `Retry-After`; a full bucket otherwise.
    const fn until_more(&self) -> Micros {
        match self.standing.retry {
            Micros::ZERO => self.standing.reset,
            retry => retry,
        }
    }

    /// Orders standings from the tightest: those without room by their wait, the longest first, then
    /// by how much of the bucket is left.
    pub(crate) fn tightness(&self) -> impl Ord + use<> {
        let retry = self.standing.retry;
        (
            retry == Micros::ZERO,
            Reverse(retry),
            self.remaining_share(),
        )
    }

    /// How much of the bucket is left, in millionths.
    fn remaining_share(&self) -> u64 {
        let parts = u128::from(self.standing.remaining).saturating_mul(1_000_000);
        let share = parts
            .checked_div(self.limit.capacity().into())
            .unwrap_or_default();
        u64::try_from(share).unwrap_or(u64::MAX)
    }

    fn policy(&self) -> String {
        let limit = self.limit;
        let seconds = limit.per().secs_rounded_up();
        let window = if limit.per() == Micros::from_secs(seconds) {
            format!(";w={seconds}")
        } else {
            String::new()
        };
        format!("\"{}\";q={}{window}", self.rule.name, limit.requests())
    }

    fn limit(&self) -> String {
        format!(
            "\"{}\";r={};t={}",
            self.rule.name,
            self.remaining(),
            self.until_more().secs_rounded_up()
        )
    }
}

impl Answer {
    /// The refusal of a request over its limit: 429 or what the rule that decided says, with
    /// `Retry-After`, and the limit fields when the counts are known (`standings` is empty when they
    /// are not). Without a time to `retry` it is one that lacks a key, or whose key an override
    /// refuses; which of them, the client is not told.
    pub fn over_limit(
        enabled: Headers,
        violated: &[&str],
        retry: Option<Micros>,
        standings: &[RuleStanding<'_>],
        response: &Response,
    ) -> Self {
        let mut headers = owned(limit_headers(enabled, standings));
        if let (true, Some(retry)) = (enabled.retry_after, retry) {
            let seconds = retry.secs_rounded_up().max(1).to_string();
            headers.push(("retry-after".into(), seconds));
        }
        headers.push(("x-envoy-ratelimited".into(), "true".into()));
        let status = response.status.unwrap_or(429);
        // A rule's name needs no escaping in JSON.
        let names = violated.iter().map(|name| format!("\"{name}\""));
        let names = names.collect::<Vec<_>>().join(",");
        let (content_type, body) = match &response.body {
            Some(body) => ("text/plain; charset=utf-8", body.clone()),
            None => {
                let (kind, said) = match retry {
                    Some(_) => (QUOTA_EXCEEDED, ("title", USED_UP)),
                    None => (NO_TYPE, ("detail", NO_KEY)),
                };
                let more = format!(",\"violated-policies\":[{names}]");
                problem(kind, said, status, &more)
            }
        };
        let own = response.headers.iter();
        let own = own.map(|(name, value)| (Cow::Owned(name.clone()), value.clone()));
        headers.extend(own);
        if !body.is_empty() && headers.iter().all(|(name, _)| name != CONTENT_TYPE) {
            headers.push((CONTENT_TYPE.into(), content_type.into()));
        }
        Self {
            status,
            grpc_status: GrpcStatus::ResourceExhausted,
            headers,
            body,
        }
    }

    /// The refusal of a request whose rule fails closed while Redis is away.
    pub fn unavailable() -> Self {
        let title = "The rate limit cannot be checked at the moment";
        let said = ("title", title);
        let (content_type, body) = problem(TEMPORARY_REDUCED_CAPACITY, said, 503, "");
        let headers = vec![
            ("x-velocitygate", "unavailable".into()),
            (CONTENT_TYPE, content_type.into()),
        ];
        Self {
            status: 503,
            grpc_status: GrpcStatus::Unavailable,
            headers: owned(headers),
            body,
        }
    }
}

const CONTENT_TYPE: &str = "content-type";

/// Content type and body of a problem (RFC 9457), which `said` tells to people in a member of that
/// name. `more` is JSON members after a comma.
fn problem(
    kind: &str,
    (name, text): (&str, &str),
    status: u32,
    more: &str,
) -> (&'static str, String) {
    let body = format!("{{\"type\":\"{kind}\",\"{name}\":\"{text}\",\"status\":{status}{more}}}");
    ("application/problem+json", body)
}

fn owned(fields: Vec<(&'static str, String)>) -> Vec<Field> {
    let fields = fields.into_iter();
    fields.map(|(name, value)| (name.into(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether ours, of which 7 are left, yield to what a response has.
    fn yields_to(theirs: &[&[u8]]) -> bool {
        let ours = [
            ("ratelimit", "\"api\";r=7;t=9".to_owned()),
            ("x-ratelimit-limit", "10".to_owned()),
            ("x-ratelimit-remaining", "7".to_owned()),
        ];
        let theirs = theirs.iter().map(|it| ("x-ratelimit-remaining", *it));
        let others = [("x-ratelimit-limit", &b"0"[..]), ("server", b"x")];
        let all = others.into_iter().chain(theirs);
        let all = all.map(|(name, value)| (name.to_owned(), value.to_vec()));
        yields(&ours, || all.collect())
    }

    #[test]
    fn only_a_refusal_that_names_a_wait_tells_of_a_limit_that_is_used_up() {
        let body = |retry| {
            let response = Response::default();
            Answer::over_limit(Headers::default(), &["r"], retry, &[], &response).body
        };
        let used_up = body(Some(Micros(1)));
        assert!(
            used_up.contains("a rate limit is used up") && used_up.contains(QUOTA_EXCEEDED),
            "{used_up}"
        );
        assert_eq!(
            body(None),
            "{\"type\":\"about:blank\",\"detail\":\"The request lacks a key, or its key is not \
             allowed\",\"status\":429,\"violated-policies\":[\"r\"]}"
        );
    }

    #[test]
    fn fields_of_one_value_yield_to_those_of_a_limit_that_leaves_no_more() {
        for (theirs, expected) in [
            ("0", true),
            ("6", true),
            ("7", true),
            (" 7 ", true),
            ("8", false),
            ("99999999999999999999", false),
            ("", false),
            ("-1", false),
            ("6.5", false),
            ("6, 5", false),
            ("six", false),
        ] {
            assert_eq!(yields_to(&[theirs.as_bytes()]), expected, "{theirs}");
        }
        assert!(!yields_to(&[b"\xff"]));
        assert!(!yields_to(&[]));
        // Two gateways behind this one: the tighter is the second.
        assert!(yields_to(&[b"9", b"0"]));
        assert!(!yields_to(&[b"9", b"8"]));
    }

    #[test]
    fn nothing_is_asked_for_where_nothing_of_ours_could_yield() {
        let ours = [("ratelimit", "\"api\";r=7;t=9".to_owned())];
        for fields in [ours.as_slice(), &[]] {
            assert!(!yields(fields, || panic!("asked")));
        }
    }
}
