//! Produce: each batch is checked and sealed by the hub, and what the cluster gets is the sealed batch with the producer's
//! own id, epoch and sequence. What breaks the contract is refused here; the cluster never hears of it. The producer hears
//! that a batch is stored when the cluster has said so and that is on record.

use std::collections::HashSet;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{LeaderIdAndEpoch, PartitionProduceResponse};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};
use tradelane_hub::{PublishRecords, SealOutcome};
use tradelane_model::ProductId;

use super::cluster::BY_NAME;
use super::{Down, Failed, Passing};
use crate::apis::Answer;
use crate::apis::produce::{answered, by_id, meant, message, refused_records, why};
use crate::codes;
use crate::names::transaction;
use crate::quota::Of;

/// Partitions whose batches are sealed at once.
const AT_ONCE: usize = 8;
/// The cluster said nothing of a partition.
const UNKNOWN_SERVER_ERROR: i16 = -1;

/// A partition's batch, and what became of it here.
struct Place {
    topic: usize,
    index: i32,
    verdict: Verdict,
}

enum Verdict {
    Sealed { product: ProductId, batch: Bytes, count: u32 },
    Refused(Box<PartitionProduceResponse>),
}

impl Passing<'_> {
    pub(super) async fn produce(&mut self) -> Result<Answer, Failed> {
        let mut request: ProduceRequest = self.ask.request.decode()?;
        self.ask.charge(Of::BytesIn, self.ask.request.body.len(), self.quiet);
        let places = self.sealed(&mut request).await;
        let failed = places.iter().any(|place| matches!(place.verdict, Verdict::Refused(_)));
        let inner = self.inner(&request, &places);
        let version = self.ask.request.version.min(BY_NAME);
        let link = if inner.topic_data.is_empty() { None } else { Some(self.link().await?) };
        if !self.turn.comes().await {
            return Err(Failed::Down(Down::Ended));
        }
        if request.acks == 0 {
            if let Some(link) = link {
                link.tell(version, &inner)?;
            }
            self.turn.over();
            let told = self.record_untold(&places).await;
            // There is no answer that could tell of a failure: the end of the connection does (as in Kafka).
            return Ok(Answer { rope: None, end: failed || !told });
        }
        let pending = link.map(|link| link.ask(version, &inner)).transpose()?;
        self.turn.over();
        drop(inner);
        let answer = match pending {
            Some(pending) => pending.answer().await?,
            None => ProduceResponse::default(),
        };
        let throttle = self.throttle(answer.throttle_time_ms);
        let mut topics: Vec<_> = request.topic_data.iter().map(answered).collect();
        let mut ended = false;
        // Their leaves are written as one group.
        let outcomes = join_all(places.into_iter().map(|place| self.outcome(place, &answer))).await;
        for (topic, response) in outcomes {
            ended |= response.error_code == codes::SASL_AUTHENTICATION_FAILED;
            if let Some(topic) = topics.get_mut(topic) {
                topic.partition_responses.push(response);
            }
        }
        let response = ProduceResponse::default().with_responses(topics).with_throttle_time_ms(throttle);
        Ok(Answer { rope: Some(self.ask.request.reply(&response)?), end: ended })
    }

    /// Every partition's batch, sealed or refused. Takes the records out of the request.
    async fn sealed(&self, request: &mut ProduceRequest) -> Vec<Place> {
        let partitions: usize = request.topic_data.iter().map(|topic| topic.partition_data.len()).sum();
        let all = match request.acks {
            -1..=1 if partitions <= self.ask.shared.limits.partitions => None,
            -1..=1 => Some(codes::INVALID_REQUEST),
            _ => Some(codes::INVALID_REQUIRED_ACKS),
        };
        let mut seen = HashSet::new();
        let mut work = Vec::with_capacity(partitions);
        for (topic, data) in request.topic_data.iter_mut().enumerate() {
            let product = meant(self.ask, data);
            for partition in &mut data.partition_data {
                let twice = !seen.insert((data.name.clone(), data.topic_id, partition.index));
                let refused = all.or(twice.then_some(codes::INVALID_REQUEST));
                work.push((topic, product.clone(), partition.index, partition.records.take(), refused));
            }
        }
        let work = work.into_iter().map(|(topic, product, index, records, refused)| async move {
            let verdict = match refused {
                Some(code) => Verdict::refused(index, code),
                None => self.seal(product, index, records.unwrap_or_default()).await,
            };
            Place { topic, index, verdict }
        });
        futures_util::stream::iter(work).buffered(AT_ONCE).collect().await
    }

    async fn seal(&self, product: Option<ProductId>, index: i32, batch: Bytes) -> Verdict {
        let named = |code| if by_id(self.ask) { codes::by_id(code) } else { code };
        let (Some(product), Ok(partition)) = (product, u32::try_from(index)) else {
            return Verdict::refused(index, named(codes::UNKNOWN_TOPIC_OR_PARTITION));
        };
        let publish = PublishRecords { product: product.clone(), partition, batch: batch.clone() };
        let response = || PartitionProduceResponse::default().with_index(index).with_base_offset(-1);
        match self.ask.shared.hub.seal_records(self.ask.caller, publish).await {
            Ok(SealOutcome::Sealed(sealed)) => Verdict::Sealed { product, batch: sealed.batch, count: sealed.count },
            Ok(SealOutcome::Refused(records)) => {
                Verdict::Refused(Box::new(refused_records(response(), &self.ask.name_of(&product), records)))
            }
            Err(error) => {
                let code = named(why(self.ask, &product, &batch, &error));
                let response = response().with_error_code(code).with_error_message(message(code, &error));
                Verdict::Refused(Box::new(response))
            }
        }
    }

    /// What the cluster is sent: what was sealed, under the topics' own names.
    fn inner(&self, request: &ProduceRequest, places: &[Place]) -> ProduceRequest {
        let mut topics: Vec<TopicProduceData> = Vec::new();
        let mut last = usize::MAX;
        for place in places {
            let Verdict::Sealed { product, batch, .. } = &place.verdict else { continue };
            if last != place.topic {
                last = place.topic;
                topics.push(TopicProduceData::default().with_name(self.way.cluster.names.topic(product)));
            }
            let data = PartitionProduceData::default().with_index(place.index).with_records(Some(batch.clone()));
            if let Some(topic) = topics.last_mut() {
                topic.partition_data.push(data);
            }
        }
        let transactional = request.transactional_id.as_ref();
        ProduceRequest::default()
            .with_transactional_id(transactional.map(|name| transaction(self.organization(), name)))
            .with_acks(request.acks)
            .with_timeout_ms(request.timeout_ms)
            .with_topic_data(topics)
    }

    /// What the producer hears of one partition.
    async fn outcome(&self, place: Place, answer: &ProduceResponse) -> (usize, PartitionProduceResponse) {
        let (product, count) = match place.verdict {
            Verdict::Refused(response) => return (place.topic, *response),
            Verdict::Sealed { product, count, .. } => (product, count),
        };
        let name = self.way.cluster.names.topic(&product);
        let topic = answer.responses.iter().filter(|topic| topic.name == name);
        let found = topic.flat_map(|topic| &topic.partition_responses).find(|found| found.index == place.index);
        let Some(found) = found else {
            return (place.topic, refusal(place.index, UNKNOWN_SERVER_ERROR));
        };
        let mut response = found.clone();
        response.current_leader = LeaderIdAndEpoch::default();
        if response.error_code == codes::NONE {
            let base = u64::try_from(response.base_offset).ok();
            let partition = place.index.unsigned_abs();
            let recorded =
                self.ask.shared.hub.record_published(self.ask.caller, &product, partition, base, count).await;
            if let Err(error) = recorded {
                let code = codes::of(&error);
                response = refusal(place.index, code).with_error_message(message(code, &error));
            }
        }
        (place.topic, response)
    }

    /// Puts on record what the cluster was given and says nothing about; false if that cannot be.
    async fn record_untold(&self, places: &[Place]) -> bool {
        let leaves = places.iter().filter_map(|place| match &place.verdict {
            Verdict::Sealed { product, count, .. } => {
                let partition = place.index.unsigned_abs();
                Some(self.ask.shared.hub.record_published(self.ask.caller, product, partition, None, *count))
            }
            Verdict::Refused(_) => None,
        });
        join_all(leaves).await.iter().all(Result::is_ok)
    }
}

impl Verdict {
    fn refused(index: i32, code: i16) -> Self {
        Self::Refused(Box::new(refusal(index, code)))
    }
}

fn refusal(index: i32, code: i16) -> PartitionProduceResponse {
    PartitionProduceResponse::default().with_index(index).with_base_offset(-1).with_error_code(code)
}
