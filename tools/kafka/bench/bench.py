#!/usr/bin/env python3
"""What standing in front of Apache Kafka costs: Kafka's own load tools, straight to a broker, through the hub, to a hub that
keeps the events itself, and through Kroxylicious, one after the other in one run on one machine.

    tools/kafka/bench/bench.py --tradelane target/release/tradelane --kafka DIR [--kroxylicious DIR] [--folder DISK]

DIR is what `tools/kafka/kafka.py fetch` made; that of --kroxylicious is filled with its jars if it is empty (Maven). The broker
stores what it is given durably when its system does, as Kafka does by default; the hub's records of access are synchronous, and what
its embedded engine stores without a cluster is on disk before it is acknowledged.
Everything speaks plain TCP on loopback, so that TLS is in no side of a ratio. All share the machine's cores: whoever needs more of
them leaves less to the client.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(ROOT / "tests/clients/kafka"))
import hub as clients  # noqa: E402

PRODUCT, RAW = "bench-shipments", "raw"
BROKER_JVM = "-Xms1g -Xmx1g -XX:+UseG1GC"
CLIENT_JVM = ["-Xms512m", "-Xmx512m", "-XX:+UseG1GC"]
# As people set them who want throughput; latency is measured without lingering.
PRODUCER = {"acks": "all", "batch.size": 131072, "linger.ms": 5, "buffer.memory": 67108864}
CONSUMER = {"auto.offset.reset": "earliest", "fetch.min.bytes": 1, "max.poll.records": 2000, "check.crcs": "true"}
HUB = """
data = "%(folder)s/data"
root_key = "%(folder)s/root.key"
[listen]
address = "127.0.0.1:%(http)d"
[kafka]
enabled = true
engine = "%(engine)s"
address = "127.0.0.1:%(port)d"
plain_loopback = true
advertised_host = "localhost"
# No quota in the way.
bytes_in_per_credential = 4000000000
bytes_in_per_organization = 4000000000
bytes_out_per_credential = 4000000000
bytes_out_per_organization = 4000000000
requests_per_credential = 1000000
requests_per_organization = 1000000
"""
CLUSTER = """
[cluster]
bootstrap = ["%(bootstrap)s"]
topic_prefix = "hub."
nodes = 1
"""
KROXYLICIOUS = """
virtualClusters:
  - name: bench
    targetCluster:
      bootstrapServers: "%(bootstrap)s"
    gateways:
      - name: default
        portIdentifiesNode:
          bootstrapAddress: "localhost:%(port)d"
"""
ENCRYPTION = """
filterDefinitions:
  - name: encryption
    type: RecordEncryption
    config:
      kms: UnitTestingKmsService
      kmsConfig:
        numIvBytes: 12
        numAuthBits: 128
        existingKeks:
          - uuid: 7e3c3b7a-6a0c-4a8e-9b1c-1d6f6c1f0a11
            key: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=
            algorithm: AES
            alias: all
      selector: TemplateKekSelector
      selectorConfig:
        template: all
defaultFilters: [encryption]
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tradelane", required=True)
    parser.add_argument("--kafka", required=True, type=pathlib.Path)
    parser.add_argument("--kroxylicious", type=pathlib.Path, help="where its jars are, or are to be put; left out: not measured")
    parser.add_argument("--folder", help="where servers keep their files: a disk, or figures of durability mean nothing")
    parser.add_argument("--records", type=int, default=400_000)
    parser.add_argument("--rounds", type=int, default=2, help="times that each load is run; the best counts")
    parser.add_argument("--seconds", type=int, default=15, help="of a latency run")
    parser.add_argument("--rate", type=int, default=0, help="records a second of a latency run; 0: half of what the slowest way takes")
    parser.add_argument("--only", default="", help="only these parts, with commas: produce, consume, groups, latency")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="tradelane-bench-") as folder:
        figures = Bench(options, pathlib.Path(folder)).run()
    if options.json:
        return print(json.dumps(figures, indent=2))
    width = max(len(figure["name"]) for figure in figures)
    for figure in figures:
        print(f"{figure['name']:<{width}}  {figure['value']:>8}  {figure['target']:>8}  {figure['made of']}")


class Bench:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.libs = str(options.kafka.resolve() / "libs" / "*")
        self.figures = []

    def run(self):
        documents = self.folder / "documents"
        documents.mkdir()
        subprocess.run([self.options.tradelane, "bench", "documents", documents], check=True)
        self.lines = documents / "events.ndjson"
        with contextlib.ExitStack() as stack:
            self.broker = stack.enter_context(broker(self.options.kafka, self.folder / "kafka"))
            self.direct = Way("the broker", self.broker["plain"], RAW, self.broker["pids"])
            self.topic(RAW)
            self.ways = {"direct": self.direct}
            self.hubs = {
                name: stack.enter_context(running(Hub(self.options.tradelane, self.folder / name, documents, cluster)))
                for name, cluster in (("hub", self.broker["plain"]), ("embedded", None))
            }
            self.ways |= {name: hub.way("bench.owner") for name, hub in self.hubs.items()}
            if self.options.kroxylicious:
                for name, filters in (("kroxylicious", ""), ("kroxylicious encrypting", ENCRYPTION)):
                    proxy = Kroxylicious(self.options.kroxylicious, self.folder, self.broker["plain"], filters)
                    stack.enter_context(running(proxy))
                    topic = name.replace(" ", "-")
                    self.topic(topic)
                    self.ways[name] = Way(name, f"localhost:{proxy.port}", topic, [proxy.process.pid])
            wanted = [part for part in self.options.only.split(",") if part]
            for part in ("produce", "consume", "groups", "latency"):
                if not wanted or part in wanted:
                    getattr(self, part)()
        return self.figures

    def tool(self, main, *arguments):
        log = f"-Dlog4j2.configurationFile={self.options.kafka.resolve() / 'log4j2.xml'}"
        command = ["java", *CLIENT_JVM, log, "-cp", self.libs, main, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
        return done.stdout

    def topic(self, name):
        self.tool("org.apache.kafka.tools.TopicCommand", "--bootstrap-server", self.broker["plain"],
                  "--create", "--topic", name, "--partitions", 1)

    def settings(self, way, **more):
        file = self.folder / "client.properties"
        lines = {"bootstrap.servers": way.bootstrap, **way.login, **{k.replace("_", "."): v for k, v in more.items()}}
        file.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
        return file

    def send(self, way):
        """Records per second, as Kafka's own tool counts them."""
        file = self.settings(way)
        with file.open("a") as more:
            more.writelines(f"{name}={value}\n" for name, value in PRODUCER.items())
        told = self.tool("org.apache.kafka.tools.ProducerPerformance", "--topic", way.topic, "--num-records",
                         self.options.records, "--throughput", -1, "--payload-file", self.lines, "--producer.config", file)
        return float(re.findall(r"([\d.]+) records/sec", told)[-1])

    def drain(self, way, records):
        """The same for a consumer in a group of its own, from the beginning."""
        file = self.settings(way)
        with file.open("a") as more:
            more.writelines(f"{name}={value}\n" for name, value in CONSUMER.items())
        told = self.tool("org.apache.kafka.tools.ConsumerPerformance", "--bootstrap-server", way.bootstrap, "--topic", way.topic,
                         "--messages", records, "--consumer.config", file, "--timeout", 60_000, "--group", f"g{time.time_ns()}")
        fields = [field.strip() for field in told.strip().splitlines()[-1].split(",")]
        assert int(fields[4]) >= records, told
        return float(fields[-1])

    def produce(self):
        best = {}
        for round_ in range(self.options.rounds):
            for name, way in self.ways.items():
                before = cpu(way.pids)
                rate = self.send(way)
                spent = cpu(way.pids) - before
                self.say(f"produce {name}: {rate:,.0f}/s, {spent * 1e6 / self.options.records:.2f} us of processor time each")
                best[name] = max(best.get(name, 0), rate)
        self.produced = best
        self.ratio("producer, validated and sealed, beside the broker itself", best, "hub", ">= 0.8")
        for name in list(self.ways)[2:]:
            self.ratio(f"producer, {name}", best, name, "")

    def fill(self):
        if not hasattr(self, "produced"):
            for way in self.ways.values():
                self.send(way)

    def consume(self):
        self.fill()
        best = {}
        for round_ in range(self.options.rounds):
            for name, way in self.ways.items():
                # A partner that nothing was rendered for yet, in each round.
                way = self.hubs[name].way(f"partner-{round_}.app") if name in self.hubs else way
                before = cpu(way.pids)
                rate = self.drain(way, self.options.records)
                spent = cpu(way.pids) - before
                self.say(f"consume {name}: {rate:,.0f}/s, {spent * 1e6 / self.options.records:.2f} us of processor time each")
                best[name] = max(best.get(name, 0), rate)
        self.ratio("consumer drain, everything masked, beside the broker itself", best, "hub", ">= 0.9")
        for name in list(self.ways)[2:]:
            self.ratio(f"consumer drain, {name}", best, name, "")

    def groups(self):
        """Processor time of the hub's process for the first group that reads, and for others with an equal view."""
        self.fill()
        records = min(self.options.records, 200_000)
        hub = self.hubs["hub"]
        # What was rendered for the first is still there for the others: 64 MiB unless it is said.
        hub.restart("[storage]\nrender_cache_mib = 512\n")
        spent = []
        for _ in range(4):
            way = hub.way("partner-7.app")
            before = cpu(way.pids)
            self.drain(way, records)
            spent.append((cpu(way.pids) - before) * 1e6 / records)
        more = min(spent[1:])
        self.add("CPU of a further group with an equal view", f"{more / spent[0]:.2f}x", "<= 0.25",
                 f"{spent[0]:.2f} us per record for the first, {more:.2f} us for the next")
        for name, way in self.ways.items():
            if not name.startswith("kroxylicious"):
                continue
            spent = []
            for _ in range(3):
                before = cpu(way.pids)
                self.drain(way, records)
                spent.append((cpu(way.pids) - before) * 1e6 / records)
            self.add(f"CPU of a further group, {name}", f"{min(spent[1:]) / spent[0]:.2f}x", "",
                     f"{spent[0]:.2f} us per record for the first, {min(spent[1:]):.2f} us for the next")

    def latency(self):
        rate = self.options.rate or min(getattr(self, "produced", {"hub": 20_000}).values()) / 2
        found = {}
        for name, way in self.ways.items():
            producer = self.settings(way, acks="all", linger_ms=0).rename(self.folder / "producer.properties")
            reads = self.hubs[name].way("partner-6.app") if name in self.hubs else way
            consumer = self.settings(reads, auto_offset_reset="latest", fetch_min_bytes=1).rename(self.folder / "consumer.properties")
            told = self.tool(HERE / "Latency.java", way.topic, self.lines, rate, self.options.seconds, producer, consumer)
            found[name] = [float(value) / 1_000 for value in told.split()]
            self.say(f"latency {name} at {rate:,.0f}/s: {found[name]} ms (median, p99, highest)")
        direct = found["direct"]
        for name, (median, high, _) in found.items():
            if name != "direct":
                target = ("<= 0.5 ms", "<= 2 ms") if name == "hub" else ("", "")
                self.add(f"added latency at {rate:,.0f}/s, median, {name}", f"{median - direct[0]:.2f} ms", target[0],
                         f"{median:.2f} ms, {direct[0]:.2f} ms")
                self.add(f"added latency at {rate:,.0f}/s, p99, {name}", f"{high - direct[1]:.2f} ms", target[1],
                         f"{high:.2f} ms, {direct[1]:.2f} ms")

    def ratio(self, name, rates, way, target):
        self.add(name, f"{rates[way] / rates['direct']:.2f}x", target, f"{rates[way]:,.0f}/s, {rates['direct']:,.0f}/s")

    def add(self, name, value, target, made_of):
        self.figures.append({"name": name, "value": value, "target": target, "made of": made_of})

    def say(self, text):
        print(text, file=sys.stderr, flush=True)


class Way:
    """Where a client connects, to which topic, as whom, and whose processor time it is."""

    def __init__(self, name, bootstrap, topic, pids, login=None):
        self.name, self.bootstrap, self.topic, self.pids, self.login = name, bootstrap, topic, pids, login or {}


class Hub(clients.Hub):
    def __init__(self, tradelane, folder, documents, bootstrap):
        folder.mkdir()
        super().__init__(tradelane, folder)
        self.documents = documents
        # None: it keeps the events itself.
        values = dict(folder=folder, http=self.http, port=self.port, bootstrap=bootstrap, engine="kafka" if bootstrap else "embedded")
        (folder / "hub.toml").write_text((HUB + (CLUSTER if bootstrap else "")) % values)

    def start(self):
        super().start()
        for _ in range(100):
            if (self.folder / "operator.key").exists():
                break
            time.sleep(0.1)

    def prepare(self):
        self.tell("operator", "apply", "-y", "-f", self.documents / "people")
        for who in ["bench.owner", *(f"partner-{n}.app" for n in range(8))]:
            self.tell("operator", "keys", "issue", who, "-o", self.folder / (who + ".key"))
        self.tell("bench.owner", "apply", "-y", "-f", self.documents / "network")

    def restart(self, more_settings):
        self.stop()
        with (self.folder / "hub.toml").open("a") as settings:
            settings.write(more_settings)
        self.start()

    def way(self, who):
        login = 'org.apache.kafka.common.security.plain.PlainLoginModule required username="x" password="%s";' % self.key(who)
        login = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.jaas.config": login}
        return Way("the hub", self.kafka, PRODUCT, [self.process.pid], login)


class Kroxylicious:
    def __init__(self, libs, folder, bootstrap, filters):
        if not libs.is_dir() or not any(libs.iterdir()):
            maven = ["mvn", "-B", "-q", "-C", "-f", str(HERE / "pom.xml"), "dependency:copy-dependencies"]
            subprocess.run([*maven, f"-DoutputDirectory={libs.resolve()}"], check=True)
        # Brokers have the ports after the first.
        self.port = next(port for port in iter(clients.free_port, None) if port < 60_000)
        self.libs, self.output = libs.resolve() / "*", open(folder / f"kroxylicious-{self.port}.log", "ab")
        self.config = folder / f"kroxylicious-{self.port}.yaml"
        self.config.write_text(KROXYLICIOUS % dict(bootstrap=bootstrap, port=self.port) + filters)
        self.process = None

    def start(self):
        command = ["java", "-Xms512m", "-Xmx512m", "-XX:+UseG1GC", "-cp", str(self.libs), str(HERE / "Proxy.java"), str(self.config)]
        self.process = subprocess.Popen(command, stdout=self.output, stderr=self.output, stdin=subprocess.DEVNULL)
        until = time.monotonic() + 60
        while True:
            if self.process.poll() is not None or time.monotonic() > until:
                sys.exit("Kroxylicious does not start: " + pathlib.Path(self.output.name).read_text()[-2000:])
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            time.sleep(0.2)

    def prepare(self):
        pass

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def running(server):
    server.start()
    try:
        server.prepare()
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def broker(directory, folder):
    command = [sys.executable, str(ROOT / "tools/kafka/kafka.py"), "run", str(directory), "--data", str(folder), "--jvm", BROKER_JVM]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


def cpu(pids):
    """Seconds of processor time that these processes have used. Of their threads, which are counted in nanoseconds: `stat`
    of a process has hundredths of a second. What a thread used that has ended since is not in it: hubs keep theirs for seconds."""
    nanoseconds = 0
    for pid in pids:
        for thread in pathlib.Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError):
                nanoseconds += int((thread / "schedstat").read_text().split()[0])
    return nanoseconds / 1e9


if __name__ == "__main__":
    main()
