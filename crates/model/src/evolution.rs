//! How contracts change: major versions, the notice that consumers get of a breaking change, and the version that a grant
//! stays with meanwhile.
//!
//! Whether a change breaks is not known here.

use serde::{Deserialize, Serialize};

use crate::contract::{Contract, ContractError, wrong};
use crate::state::ContractHistory;
use crate::time::{Timestamp, parse_duration};

/// The longest notice, in seconds: ten years.
const MAX_NOTICE: i64 = 10 * 365 * 86_400;

/// What a contract promises of its next major version: `evolution` of the custom property `tradelane`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Evolution {
    /// How long consumers are served the earlier major version after a breaking change: an ISO 8601 duration of days and
    /// less, such as `P90D`.
    pub notice: String,
    /// They are served it until then at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective: Option<Timestamp>,
}

impl Evolution {
    pub(crate) fn check(&self) -> Result<(), ContractError> {
        let seconds = parse_duration(&self.notice).filter(|seconds| (1..=MAX_NOTICE).contains(seconds));
        let reason = "is an ISO 8601 duration above 0 and up to ten years, such as P90D";
        seconds.map(drop).ok_or_else(|| wrong("/customProperties/tradelane/evolution/notice", reason))
    }

    /// The notice in seconds.
    pub fn notice_seconds(&self) -> i64 {
        parse_duration(&self.notice).unwrap_or(0)
    }

    /// Until when an earlier version is served that is superseded now.
    pub fn until(&self, now: Timestamp) -> Timestamp {
        let notice = now.plus_seconds(self.notice_seconds());
        self.effective.map_or(notice, |effective| notice.max(effective))
    }
}

/// The major version that a grant stays with while notice of a breaking change is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pin {
    /// The first number of the contract's version.
    pub major: u32,
    /// When its successor was applied.
    pub since: Timestamp,
    /// Until when it is served.
    pub until: Timestamp,
}

impl Contract {
    /// The first number of its version; none if that is not semantic versioning.
    pub fn major(&self) -> Option<u32> {
        let version = self.version.strip_prefix('v').unwrap_or(&self.version);
        version.split(['.', '-', '+']).next()?.parse().ok()
    }
}

impl ContractHistory {
    /// The newest revision of that major version, with its number.
    pub fn of_major(&self, major: u32) -> Option<(u32, &std::sync::Arc<Contract>)> {
        let numbered = (1_u32..).zip(&self.revisions);
        numbered.filter(|(_, contract)| contract.major() == Some(major)).last()
    }

    /// Until when events of an earlier major version are taken as such: as long as its readers are served it at least. None:
    /// it is no earlier one, or its successor gave no notice, since it broke nothing.
    pub fn taken_until(&self, major: u32) -> Option<Timestamp> {
        let (last, _) = self.of_major(major)?;
        let later = self.revisions.iter().zip(&self.applied).skip(usize::try_from(last).ok()?);
        let mut later = later.filter(|(contract, _)| contract.major().is_some_and(|other| other > major));
        let (successor, applied) = later.next()?;
        successor.evolution.as_ref().map(|evolution| evolution.until(*applied))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn an_earlier_version_is_taken_until_the_notice_of_its_successor_is_over() {
        let contract = |version: &str, evolution: &str| {
            let text = format!(
                "apiVersion: v3.1.0\nkind: DataContract\nid: c\nversion: {version}\nstatus: active\nschema:\n  - name: e\n    properties: []\n{evolution}"
            );
            Arc::new(Contract::parse(&text).unwrap())
        };
        let notice = "customProperties: [{property: tradelane, value: {evolution: {notice: P30D}}}]\n";
        let at = |day: i64| Timestamp(day * 86_400_000_000);
        let history = ContractHistory {
            owner: "acme".parse().unwrap(),
            revisions: vec![
                contract("1.0.0", ""),
                contract("1.1.0", ""),
                contract("2.0.0", notice),
                contract("2.1.0", notice),
                contract("3.0.0", ""),
            ],
            applied: (0..5).map(at).collect(),
        };
        assert_eq!(history.taken_until(1), Some(at(32)), "from the first revision of the successor");
        assert_eq!(history.taken_until(2), None, "3.0.0 gave no notice");
        assert_eq!((history.taken_until(3), history.taken_until(7)), (None, None));
    }

    #[test]
    fn notice_is_the_longer_one_of_period_and_date() {
        let now: Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
        let evolution = |effective: Option<&str>| Evolution {
            notice: "P30D".into(),
            effective: effective.map(|time| time.parse().unwrap()),
        };
        assert_eq!(evolution(None).until(now).to_string(), "2026-12-22T00:00:00Z");
        assert_eq!(evolution(Some("2026-12-01T00:00:00Z")).until(now).to_string(), "2026-12-22T00:00:00Z");
        assert_eq!(evolution(Some("2027-02-01T00:00:00Z")).until(now).to_string(), "2027-02-01T00:00:00Z");
        for bad in ["", "P0D", "-P1D", "soon", "P11Y"] {
            assert!(Evolution { notice: bad.into(), effective: None }.check().is_err(), "{bad}");
        }
    }
}
