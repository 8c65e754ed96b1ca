import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.serialization.*;

/** kafka-clients of Apache Kafka, driven as drivers/README.md says. */
public class Driver {
    static final ObjectMapper JSON = new ObjectMapper();
    static JsonNode settings;
    static volatile boolean ended;

    public static void main(String[] arguments) throws Exception {
        settings = JSON.readTree(System.getenv("SETTINGS"));
        if (arguments[0].equals("produce")) produce();
        else consume();
    }

    static synchronized void say(Map<String, Object> what) throws Exception {
        System.out.println(JSON.writeValueAsString(what));
        System.out.flush();
    }

    static Properties properties() {
        Properties all = new Properties();
        String mechanism = settings.get("mechanism").asText(), login;
        all.put("bootstrap.servers", settings.get("bootstrap").asText());
        all.put("security.protocol", "SASL_SSL");
        all.put("ssl.truststore.type", "PEM");
        all.put("ssl.truststore.location", settings.get("ca").asText());
        all.put("sasl.mechanism", mechanism);
        if (mechanism.equals("OAUTHBEARER")) {
            login = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;";
            all.put("sasl.login.callback.handler.class", "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler");
            all.put("sasl.oauthbearer.token.endpoint.url", "file://" + settings.get("token_file").asText());
        } else {
            String module = mechanism.equals("PLAIN") ? "plain.Plain" : "scram.Scram";
            login = "org.apache.kafka.common.security." + module + "LoginModule required username=\"" + settings.get("user").asText()
                + "\" password=\"" + settings.get("password").asText() + "\";";
        }
        all.put("sasl.jaas.config", login);
        all.put("reconnect.backoff.max.ms", "500");
        return all;
    }

    static void produce() throws Exception {
        Properties all = properties();
        all.put("compression.type", settings.path("codec").asText("none"));
        all.put("linger.ms", "20");
        all.put("delivery.timeout.ms", "30000");
        all.put("request.timeout.ms", "10000");
        all.put("max.block.ms", "20000");
        all.put("max.request.size", "4000000");
        JsonNode transaction = settings.get("transaction");
        if (transaction != null) all.put("transactional.id", transaction.get("id").asText());
        List<JsonNode> given = new ArrayList<>();
        var lines = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
        for (String line; (line = lines.readLine()) != null; ) given.add(JSON.readTree(line));
        try (var producer = new KafkaProducer<>(all, new StringSerializer(), new StringSerializer())) {
            if (transaction != null) {
                try {
                    producer.initTransactions();
                } catch (org.apache.kafka.common.KafkaException error) {
                    for (int count = given.size(); count > 0; count--) say(failure(error));
                    return;
                }
                producer.beginTransaction();
            }
            List<Object> sent = new ArrayList<>();
            for (JsonNode one : given) {
                Integer partition = one.hasNonNull("partition") ? one.get("partition").asInt() : null;
                var record = new ProducerRecord<String, String>(settings.get("topic").asText(), partition, one.path("key").asText(null), one.get("value").asText());
                for (var header : one.path("headers").properties())
                    record.headers().add(header.getKey(), header.getValue().asText().getBytes("UTF-8"));
                sent.add(producer.send(record));
            }
            producer.flush();
            if (transaction != null) end(producer, transaction);
            for (Object one : sent) {
                try {
                    RecordMetadata at = (RecordMetadata) ((Future<?>) one).get();
                    say(Map.of("partition", at.partition(), "offset", at.offset()));
                } catch (java.util.concurrent.ExecutionException error) {
                    say(failure(error.getCause()));
                }
            }
        }
    }

    static void end(KafkaProducer<String, String> producer, JsonNode transaction) {
        if (transaction.hasNonNull("group")) {
            Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
            for (var one : transaction.get("offsets").properties())
                offsets.put(new TopicPartition(settings.get("topic").asText(), Integer.parseInt(one.getKey())), new OffsetAndMetadata(one.getValue().asLong()));
            producer.sendOffsetsToTransaction(offsets, new ConsumerGroupMetadata(transaction.get("group").asText()));
        }
        if (transaction.get("end").asText().equals("commit")) producer.commitTransaction();
        else producer.abortTransaction();
    }

    static Map<String, Object> failure(Throwable error) {
        return Map.of("error", error.getClass().getSimpleName(), "message", String.valueOf(error.getMessage()));
    }

    static void consume() throws Exception {
        Properties all = properties();
        all.put("group.id", settings.get("group").asText());
        all.put("auto.offset.reset", "earliest");
        all.put("isolation.level", settings.path("isolation").asText("read_committed"));
        if (settings.hasNonNull("protocol")) {
            all.put("group.protocol", settings.get("protocol").asText());
        } else {
            all.put("session.timeout.ms", "6000");
            all.put("heartbeat.interval.ms", "1000");
        }
        all.put("auto.commit.interval.ms", "500");
        all.put("max.partition.fetch.bytes", "4000000");
        Thread end = new Thread(() -> {
            try {
                while (System.in.read() >= 0) { }
            } catch (Exception gone) { }
            ended = true;
        });
        end.setDaemon(true);
        end.start();
        try (var consumer = new KafkaConsumer<>(all, new StringDeserializer(), new StringDeserializer())) {
            var listener = new ConsumerRebalanceListener() {
                public void onPartitionsRevoked(Collection<TopicPartition> of) {
                    if (settings.hasNonNull("protocol")) held(of);
                }
                public void onPartitionsAssigned(Collection<TopicPartition> of) {
                    held(List.of());
                }
                void held(Collection<TopicPartition> but) {
                    try {
                        say(Map.of("held", consumer.assignment().stream().filter(one -> !but.contains(one)).map(TopicPartition::partition).sorted().toList()));
                    } catch (Exception error) {
                        throw new RuntimeException(error);
                    }
                }
            };
            if (settings.hasNonNull("pattern")) consumer.subscribe(new SubscriptionPattern(settings.get("pattern").asText()), listener);
            else consumer.subscribe(List.of(settings.get("topic").asText()), listener);
            while (!ended) {
                try {
                    for (var one : consumer.poll(Duration.ofMillis(200))) {
                        Map<String, Object> record = new HashMap<>(Map.of("partition", one.partition(), "offset", one.offset(), "value", one.value()));
                        record.put("key", one.key());
                        Map<String, String> headers = new HashMap<>();
                        for (var header : one.headers()) headers.put(header.key(), new String(header.value(), "UTF-8"));
                        record.put("headers", headers);
                        say(record);
                    }
                } catch (RetriableException again) {
                } catch (org.apache.kafka.common.KafkaException error) {
                    say(failure(error));
                    Thread.sleep(500);
                }
            }
        }
    }
}
