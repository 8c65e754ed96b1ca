//! The shapes of the requests that are served, from Kafka's message definitions
//! (<https://github.com/apache/kafka/tree/trunk/clients/src/main/resources/common/message>), for the served versions.

use super::schema::Kind::{Array, Blob, Fixed, Optional, Struct, Text};
use super::schema::{Field, Kind, Schema};

/// A field of all versions.
const fn f(kind: Kind) -> Field {
    Field { from: 0, to: i16::MAX, kind }
}

/// A field from a version on.
const fn since(from: i16, kind: Kind) -> Field {
    Field { from, to: i16::MAX, kind }
}

/// A field up to a version.
const fn until(to: i16, kind: Kind) -> Field {
    Field { from: 0, to, kind }
}

/// A field of some versions.
const fn from_to(from: i16, to: i16, kind: Kind) -> Field {
    Field { from, to, kind }
}

const I8: Kind = Fixed(1);
const I16: Kind = Fixed(2);
const I32: Kind = Fixed(4);
const I64: Kind = Fixed(8);
const UUID: Kind = Fixed(16);
const BOOL: Kind = Fixed(1);
const TEXTS: Kind = Array(&Text);
const NUMBERS: Kind = Array(&I32);
const NEVER: i16 = i16::MAX;

const fn schema(flexible: i16, fields: &'static [Field]) -> Schema {
    Schema { flexible, fields, brokers_tags: 0 }
}

pub(crate) static PRODUCE: Schema = schema(
    9,
    &[
        since(3, Text),
        f(I16),
        f(I32),
        f(Array(&Struct(&[until(12, Text), since(13, UUID), f(Array(&Struct(&[f(I32), f(Blob)])))]))),
    ],
);

pub(crate) static FETCH: Schema = Schema {
    flexible: 12,
    // Of a request: the cluster's id and the replica's state; of a partition: the replica's directory.
    brokers_tags: 2,
    fields: &[
        until(14, I32),
        f(I32),
        f(I32),
        f(I32),
        f(I8),
        since(7, I32),
        since(7, I32),
        f(Array(&Struct(&[
            until(12, Text),
            since(13, UUID),
            f(Array(&Struct(&[f(I32), since(9, I32), f(I64), since(12, I32), since(5, I64), f(I32)]))),
        ]))),
        since(7, Array(&Struct(&[until(12, Text), since(13, UUID), f(NUMBERS)]))),
        since(11, Text),
    ],
};

pub(crate) static LIST_OFFSETS: Schema = schema(
    6,
    &[f(I32), since(2, I8), f(Array(&Struct(&[f(Text), f(Array(&Struct(&[f(I32), since(4, I32), f(I64)])))])))],
);

pub(crate) static METADATA: Schema =
    schema(9, &[f(Array(&Struct(&[since(10, UUID), f(Text)]))), since(4, BOOL), from_to(8, 10, BOOL), since(8, BOOL)]);

pub(crate) static OFFSET_COMMIT: Schema = schema(
    8,
    &[
        f(Text),
        f(I32),
        f(Text),
        since(7, Text),
        until(4, I64),
        f(Array(&Struct(&[f(Text), f(Array(&Struct(&[f(I32), f(I64), since(6, I32), f(Text)])))]))),
    ],
);

pub(crate) static OFFSET_FETCH: Schema = schema(
    6,
    &[
        until(7, Text),
        until(7, Array(&Struct(&[f(Text), f(NUMBERS)]))),
        since(8, Array(&Struct(&[f(Text), since(9, Text), since(9, I32), f(Array(&Struct(&[f(Text), f(NUMBERS)])))]))),
        since(7, BOOL),
    ],
);

pub(crate) static FIND_COORDINATOR: Schema = schema(3, &[until(3, Text), since(1, I8), since(4, TEXTS)]);

pub(crate) static JOIN_GROUP: Schema = schema(
    6,
    &[
        f(Text),
        f(I32),
        since(1, I32),
        f(Text),
        since(5, Text),
        f(Text),
        f(Array(&Struct(&[f(Text), f(Blob)]))),
        since(8, Text),
    ],
);

pub(crate) static HEARTBEAT: Schema = schema(4, &[f(Text), f(I32), f(Text), since(3, Text)]);

pub(crate) static LEAVE_GROUP: Schema =
    schema(4, &[f(Text), until(2, Text), since(3, Array(&Struct(&[f(Text), f(Text), since(5, Text)])))]);

pub(crate) static SYNC_GROUP: Schema = schema(
    4,
    &[f(Text), f(I32), f(Text), since(3, Text), since(5, Text), since(5, Text), f(Array(&Struct(&[f(Text), f(Blob)])))],
);

pub(crate) static DESCRIBE_GROUPS: Schema = schema(5, &[f(TEXTS), since(3, BOOL)]);

pub(crate) static LIST_GROUPS: Schema = schema(3, &[since(4, TEXTS), since(5, TEXTS)]);

pub(crate) static SASL_HANDSHAKE: Schema = schema(NEVER, &[f(Text)]);

pub(crate) static API_VERSIONS: Schema = schema(3, &[since(3, Text), since(3, Text)]);

pub(crate) static INIT_PRODUCER_ID: Schema = schema(2, &[f(Text), f(I32), since(3, I64), since(3, I16)]);

pub(crate) static OFFSET_FOR_LEADER_EPOCH: Schema =
    schema(4, &[since(3, I32), f(Array(&Struct(&[f(Text), f(Array(&Struct(&[f(I32), f(I32), f(I32)])))])))]);

pub(crate) static ADD_PARTITIONS_TO_TXN: Schema =
    schema(3, &[f(Text), f(I64), f(I16), f(Array(&Struct(&[f(Text), f(NUMBERS)])))]);

pub(crate) static ADD_OFFSETS_TO_TXN: Schema = schema(3, &[f(Text), f(I64), f(I16), f(Text)]);

pub(crate) static END_TXN: Schema = schema(3, &[f(Text), f(I64), f(I16), f(BOOL)]);

pub(crate) static TXN_OFFSET_COMMIT: Schema = schema(
    3,
    &[
        f(Text),
        f(Text),
        f(I64),
        f(I16),
        since(3, I32),
        since(3, Text),
        since(3, Text),
        f(Array(&Struct(&[f(Text), f(Array(&Struct(&[f(I32), f(I64), since(2, I32), f(Text)])))]))),
    ],
);

pub(crate) static DESCRIBE_CONFIGS: Schema =
    schema(4, &[f(Array(&Struct(&[f(I8), f(Text), f(TEXTS)]))), f(BOOL), since(3, BOOL)]);

pub(crate) static SASL_AUTHENTICATE: Schema = schema(2, &[f(Blob)]);

pub(crate) static DELETE_GROUPS: Schema = schema(2, &[f(TEXTS)]);

pub(crate) static OFFSET_DELETE: Schema =
    schema(NEVER, &[f(Text), f(Array(&Struct(&[f(Text), f(Array(&Struct(&[f(I32)])))])))]);

pub(crate) static DESCRIBE_CLUSTER: Schema = schema(0, &[f(BOOL), since(1, I8), since(2, BOOL)]);

pub(crate) static CONSUMER_GROUP_HEARTBEAT: Schema = schema(
    0,
    &[
        f(Text),
        f(Text),
        f(I32),
        f(Text),
        f(Text),
        f(I32),
        f(TEXTS),
        since(1, Text),
        f(Text),
        f(Array(&Struct(&[f(UUID), f(NUMBERS)]))),
    ],
);

pub(crate) static CONSUMER_GROUP_DESCRIBE: Schema = schema(0, &[f(TEXTS), f(BOOL)]);

pub(crate) static DESCRIBE_TOPIC_PARTITIONS: Schema =
    schema(0, &[f(Array(&Struct(&[f(Text)]))), f(I32), f(Optional(&[f(Text), f(I32)]))]);
