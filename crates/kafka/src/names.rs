//! Names on the inside: products as topics of a cluster, and groups and transactional ids of one organization apart from all
//! others'. What clients call a product's topic is the hub's to know ([`topics`](tradelane_hub::topics)).

use std::borrow::Borrow;

use kafka_protocol::messages::{GroupId, TopicName, TransactionalId};
use kafka_protocol::protocol::StrBytes;
use tradelane_model::ProductId;

use crate::wire::text;

/// Stands between an organization and its own names; no organization has it in its id.
const BETWEEN: char = '/';

/// Maps names in both directions.
#[derive(Debug, Default)]
pub(crate) struct Names {
    prefix: String,
}

impl Names {
    pub(crate) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// The topic of a product.
    pub(crate) fn topic<P: Borrow<str> + ?Sized>(&self, product: &P) -> TopicName {
        TopicName(text(format!("{}{}", self.prefix, product.borrow())))
    }

    /// The product of a topic; none if it is somebody else's topic.
    pub(crate) fn product(&self, topic: &str) -> Option<ProductId> {
        self.bare(topic)?.parse().ok()
    }

    /// What comes after the prefix.
    pub(crate) fn bare<'a>(&self, topic: &'a str) -> Option<&'a str> {
        topic.strip_prefix(&self.prefix)
    }
}

/// A name of the organization's, as the cluster knows it.
pub(crate) fn inside(organization: &str, name: &str) -> StrBytes {
    text(format!("{organization}{BETWEEN}{name}"))
}

/// The organization's own name of what the cluster knows; none if it is another's.
pub(crate) fn outside(organization: &str, name: &str) -> Option<StrBytes> {
    name.strip_prefix(organization)?.strip_prefix(BETWEEN).map(text)
}

pub(crate) fn group(organization: &str, name: &GroupId) -> GroupId {
    GroupId(inside(organization, name))
}

pub(crate) fn transaction(organization: &str, name: &TransactionalId) -> TransactionalId {
    TransactionalId(inside(organization, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_for_its_own_organization_only() {
        let inner = inside("near", "app/1");
        assert_eq!(outside("near", &inner).as_deref(), Some("app/1"));
        assert_eq!(outside("nea", &inner), None);
        assert_eq!(outside("nearer", &inner), None);
        let names = Names::new("hub.");
        let topic = names.topic("acme-orders");
        assert_eq!(topic.as_str(), "hub.acme-orders");
        assert_eq!(names.product(&topic).unwrap().as_str(), "acme-orders");
        assert!(names.product("other").is_none() && names.product("hub.near/other").is_none());
    }
}
