import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * The time from sending a record to having it from a poll, at a steady rate, with a topic of one partition: the n-th record that
 * is sent is the n-th that comes.
 *
 * <p>java Latency.java TOPIC LINES RATE SECONDS PRODUCER.properties CONSUMER.properties
 *
 * <p>Prints median, 99th percentile and highest in microseconds. The first third of the time warms everything up and does not count.
 */
public class Latency {
    public static void main(String[] arguments) throws Exception {
        String topic = arguments[0];
        List<String> lines = Files.readAllLines(Path.of(arguments[1]));
        double rate = Double.parseDouble(arguments[2]);
        int count = (int) (rate * Double.parseDouble(arguments[3]));
        byte[][] values = new byte[Math.min(lines.size(), 2_000)][];
        Arrays.setAll(values, n -> lines.get(n).getBytes(StandardCharsets.UTF_8));
        long[] sent = new long[count];
        long[] took = new long[count];
        Thread reader = new Thread(() -> read(topic, properties(arguments[5]), sent, took));
        try (var producer = new KafkaProducer<>(properties(arguments[4]), new ByteArraySerializer(), new ByteArraySerializer())) {
            producer.partitionsFor(topic);
            reader.start();
            synchronized (sent) {
                sent.wait(60_000);
            }
            long begin = System.nanoTime();
            for (int n = 0; n < count; n++) {
                long due = begin + (long) (n * 1e9 / rate);
                long early = due - System.nanoTime();
                if (early > 50_000) {
                    LockSupport.parkNanos(early);
                }
                sent[n] = System.nanoTime();
                producer.send(new ProducerRecord<>(topic, values[n % values.length]), (stored, error) -> {
                    if (error != null) {
                        error.printStackTrace();
                        System.exit(1);
                    }
                });
            }
            producer.flush();
        }
        reader.join();
        long[] counted = Arrays.copyOfRange(took, count / 3, count);
        Arrays.sort(counted);
        System.out.printf("%d %d %d%n", counted[counted.length / 2] / 1_000, counted[(int) (counted.length * 0.99)] / 1_000,
                counted[counted.length - 1] / 1_000);
    }

    private static void read(String topic, Properties properties, long[] sent, long[] took) {
        try (var consumer = new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            var partition = new TopicPartition(topic, 0);
            consumer.assign(List.of(partition));
            consumer.seekToEnd(List.of(partition));
            consumer.position(partition);
            consumer.poll(Duration.ofMillis(500));
            synchronized (sent) {
                sent.notifyAll();
            }
            int n = 0;
            while (n < took.length) {
                int here = consumer.poll(Duration.ofSeconds(20)).count();
                long now = System.nanoTime();
                if (here == 0) {
                    System.err.println("nothing comes any more after " + n + " records");
                    System.exit(1);
                }
                for (int end = Math.min(n + here, took.length); n < end; n++) {
                    took[n] = now - sent[n];
                }
            }
        }
    }

    private static Properties properties(String file) {
        var properties = new Properties();
        try (var reader = Files.newBufferedReader(Path.of(file))) {
            properties.load(reader);
        } catch (java.io.IOException error) {
            throw new java.io.UncheckedIOException(error);
        }
        return properties;
    }
}
