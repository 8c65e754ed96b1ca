//! Offsets of consumer groups, durably, in the hub's small state.
//!
//! A group's offsets are one value, so that a commit over many partitions is there whole or not at all; a group's mark is
//! another. Byte by byte: docs/formats/kafka-offsets.md. It knows nothing of members and generations.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::{Buf, BufMut, Bytes};
use tradelane_groups::{CommittedOffset, GroupMark, OffsetStore, StoreError, StoredGroup, StoredOffset};
use tradelane_hub::{Hub, HubError, Space};
use tradelane_model::Timestamp;

/// The format's version, the first byte of every value.
const VERSION: u8 = 1;
/// Entries of one listing. Offsets are large values, marks small ones.
const PAGE_OF_OFFSETS: usize = 16;
const PAGE_OF_MARKS: usize = 1_000;

/// The store.
pub(crate) struct KeptOffsets {
    offsets: Space,
    marks: Space,
    /// Tells the time.
    hub: Hub,
}

type Partitions = BTreeMap<(String, i32), CommittedOffset>;

impl KeptOffsets {
    pub(crate) fn new(hub: Hub) -> Self {
        Self { offsets: hub.kafka_offsets(), marks: hub.kafka_groups(), hub }
    }

    async fn offsets(&self, scope: &str, group: &str) -> Result<Partitions, StoreError> {
        let entry = self.offsets.get(&key(scope, group), self.hub.now()).await.map_err(failed)?;
        entry.map_or_else(|| Ok(Partitions::new()), |entry| read_offsets(entry.value).ok_or_else(corrupt))
    }

    async fn put(&self, scope: &str, group: &str, offsets: &Partitions) -> Result<(), StoreError> {
        let value = write_offsets(offsets);
        self.offsets.put(&key(scope, group), value, Timestamp::MAX).await.map_err(failed)
    }

    /// Calls `each` for every group of a space whose key begins with `prefix`.
    async fn walk(
        &self,
        space: &Space,
        page: usize,
        prefix: &[u8],
        mut each: impl FnMut(&str, &str, &Bytes) + Send,
    ) -> Result<(), StoreError> {
        let mut after = prefix.to_vec();
        loop {
            let entries = space.list(&after, page, self.hub.now()).await.map_err(failed)?;
            let count = entries.len();
            for (key, entry) in entries {
                if !key.starts_with(prefix) {
                    return Ok(());
                }
                let (scope, group) = split(&key).ok_or_else(corrupt)?;
                each(scope, group, &entry.value);
                after = key.to_vec();
            }
            if count < page {
                return Ok(());
            }
        }
    }
}

#[async_trait]
impl OffsetStore for KeptOffsets {
    async fn scopes(&self) -> Result<Vec<String>, StoreError> {
        let mut scopes = std::collections::BTreeSet::new();
        self.walk(&self.marks, PAGE_OF_MARKS, &[], |scope, _, _| {
            scopes.insert(scope.to_owned());
        })
        .await?;
        self.walk(&self.offsets, PAGE_OF_OFFSETS, &[], |scope, _, _| {
            scopes.insert(scope.to_owned());
        })
        .await?;
        Ok(scopes.into_iter().collect())
    }

    async fn list(&self, scope: &str) -> Result<Vec<StoredGroup>, StoreError> {
        let prefix = key(scope, "");
        let mut groups = BTreeMap::new();
        let offsets = |_: &str, group: &str, _: &Bytes| drop(groups.insert(group.to_owned(), None));
        self.walk(&self.offsets, PAGE_OF_OFFSETS, &prefix, offsets).await?;
        let marks =
            |_: &str, group: &str, value: &Bytes| drop(groups.insert(group.to_owned(), read_mark(value.clone())));
        self.walk(&self.marks, PAGE_OF_MARKS, &prefix, marks).await?;
        Ok(groups.into_iter().map(|(group, mark)| StoredGroup { group, mark }).collect())
    }

    async fn load(&self, scope: &str, group: &str) -> Result<Vec<StoredOffset>, StoreError> {
        let offsets = self.offsets(scope, group).await?;
        let stored = |((topic, partition), committed)| StoredOffset { topic, partition, committed };
        Ok(offsets.into_iter().map(stored).collect())
    }

    async fn commit(&self, scope: &str, group: &str, offsets: &[StoredOffset]) -> Result<(), StoreError> {
        let mut all = self.offsets(scope, group).await?;
        all.extend(offsets.iter().map(|new| ((new.topic.clone(), new.partition), new.committed.clone())));
        self.put(scope, group, &all).await
    }

    async fn mark(&self, scope: &str, group: &str, mark: &GroupMark) -> Result<(), StoreError> {
        let value = write_mark(mark);
        self.marks.put(&key(scope, group), value, Timestamp::MAX).await.map_err(failed)
    }

    async fn delete_offsets(&self, scope: &str, group: &str, partitions: &[(String, i32)]) -> Result<(), StoreError> {
        let mut all = self.offsets(scope, group).await?;
        for partition in partitions {
            all.remove(partition);
        }
        self.put(scope, group, &all).await
    }

    async fn delete(&self, scope: &str, group: &str) -> Result<(), StoreError> {
        let key = key(scope, group);
        let now = self.hub.now();
        // The mark goes last: as long as it is there, the group is found and can be deleted again.
        self.offsets.delete(&key, now).await.map_err(failed)?;
        self.marks.delete(&key, now).await.map_err(failed)
    }
}

/// Ids of organizations have no NUL.
fn key(scope: &str, group: &str) -> Vec<u8> {
    [scope.as_bytes(), b"\0", group.as_bytes()].concat()
}

fn split(key: &[u8]) -> Option<(&str, &str)> {
    let at = key.iter().position(|&byte| byte == 0)?;
    let (scope, group) = key.split_at_checked(at)?;
    Some((std::str::from_utf8(scope).ok()?, std::str::from_utf8(group.get(1..)?).ok()?))
}

fn write_offsets(offsets: &Partitions) -> Bytes {
    let mut out = Vec::with_capacity(8 + offsets.len() * 48);
    out.put_u8(VERSION);
    out.put_u32(u32::try_from(offsets.len()).unwrap_or(u32::MAX));
    let mut topic_before: Option<&str> = None;
    for ((topic, partition), committed) in offsets {
        // A topic's name is written once: no name means the one before.
        let name = if topic_before == Some(topic) { "" } else { topic };
        topic_before = Some(topic);
        put_text(&mut out, name);
        out.put_i32(*partition);
        out.put_i64(committed.offset);
        out.put_i32(committed.leader_epoch);
        out.put_i64(committed.commit_time);
        put_text(&mut out, &committed.metadata);
    }
    out.into()
}

fn read_offsets(mut value: Bytes) -> Option<Partitions> {
    if value.try_get_u8().ok()? != VERSION {
        return None;
    }
    let count = value.try_get_u32().ok()?;
    let mut offsets = Partitions::new();
    let mut topic = String::new();
    for _ in 0..count {
        let name = get_text(&mut value)?;
        if !name.is_empty() {
            topic = name;
        }
        let partition = value.try_get_i32().ok()?;
        let committed = CommittedOffset {
            offset: value.try_get_i64().ok()?,
            leader_epoch: value.try_get_i32().ok()?,
            commit_time: value.try_get_i64().ok()?,
            metadata: get_text(&mut value)?,
        };
        offsets.insert((topic.clone(), partition), committed);
    }
    value.is_empty().then_some(offsets)
}

fn write_mark(mark: &GroupMark) -> Bytes {
    let mut out = vec![VERSION];
    out.put_i64(mark.emptied_at.unwrap_or(-1));
    put_text(&mut out, &mark.protocol_type);
    out.into()
}

fn read_mark(mut value: Bytes) -> Option<GroupMark> {
    if value.try_get_u8().ok()? != VERSION {
        return None;
    }
    let emptied_at = value.try_get_i64().ok()?;
    let protocol_type = get_text(&mut value)?;
    Some(GroupMark { protocol_type, emptied_at: (emptied_at >= 0).then_some(emptied_at) })
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    // Limits keep every text far below 64 KiB.
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.put_u16(length);
    out.put_slice(text.as_bytes().get(..usize::from(length)).unwrap_or_default());
}

fn get_text(value: &mut Bytes) -> Option<String> {
    let length = usize::from(value.try_get_u16().ok()?);
    if value.len() < length {
        return None;
    }
    String::from_utf8(value.split_to(length).to_vec()).ok()
}

fn failed(error: HubError) -> StoreError {
    StoreError(Box::new(error))
}

fn corrupt() -> StoreError {
    StoreError("a stored group is not as it was written".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committed(offset: i64) -> CommittedOffset {
        CommittedOffset { offset, leader_epoch: -1, metadata: "note".into(), commit_time: 5 }
    }

    #[test]
    fn offsets_and_marks_are_read_as_they_were_written() {
        let places = [("a", 0), ("a", 1), ("b", 0)];
        let all: Partitions = places.map(|(t, p)| ((t.to_owned(), p), committed(i64::from(p) + 7))).into();
        assert_eq!(read_offsets(write_offsets(&all)).unwrap(), all);
        for mark in [GroupMark::default(), GroupMark { protocol_type: "consumer".into(), emptied_at: Some(0) }] {
            assert_eq!(read_mark(write_mark(&mark)).unwrap(), mark);
        }
    }

    #[test]
    fn what_is_cut_off_or_too_long_is_not_read() {
        let all = Partitions::from([(("a".to_owned(), 0), committed(1))]);
        let value = write_offsets(&all);
        for length in 0..value.len() {
            assert_eq!(read_offsets(value.slice(..length)), None);
        }
        assert_eq!(read_offsets(Bytes::from([value.as_ref(), b"x"].concat())), None);
    }

    #[test]
    fn scope_and_group_are_told_apart() {
        assert_eq!(split(&key("org", "a\0b")), Some(("org", "a\0b")));
        assert!(!key("organization", "g").starts_with(&key("org", "")));
    }
}
