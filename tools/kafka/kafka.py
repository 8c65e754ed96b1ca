#!/usr/bin/env python3
"""Apache Kafka for tests, examples and users without Docker: fetched from Maven Central, run on loopback.

    tools/kafka/kafka.py fetch DIR                  all jars into DIR/libs (needs Maven and Java 17)
    tools/kafka/kafka.py run DIR [options]          one or three KRaft brokers, until standard input ends or a signal comes
    tools/kafka/kafka.py tool DIR NAME [ARGUMENT]   a command-line tool of Kafka's: topics, console-producer, ...

`run` prints one line of JSON when the brokers take requests:
    {"bootstrap": "127.0.0.1:19092", "plain": "...", "brokers": {"0": 19092}, "data": "...", "ca": "...", "user": "hub", ...}
A line of standard input, such as `kill 0`, `stop 1 2` or `start 0 1 2`, does that to brokers and is answered with `done`.
`bootstrap` is the listener that the option --security names; `plain` one without security, for looking behind it.
DIR may come from KAFKA_FOR_TESTS instead: write `-` for it.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
TOOLS = {
    "topics": "org.apache.kafka.tools.TopicCommand",
    "configs": "kafka.admin.ConfigCommand",
    "reassign-partitions": "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
    "leader-election": "org.apache.kafka.tools.LeaderElectionCommand",
    "console-producer": "org.apache.kafka.tools.ConsoleProducer",
    "console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
    "consumer-groups": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    "transactions": "org.apache.kafka.tools.TransactionsCommand",
    "delete-records": "org.apache.kafka.tools.DeleteRecordsCommand",
    "get-offsets": "org.apache.kafka.tools.GetOffsetShell",
    "delete-records": "org.apache.kafka.tools.DeleteRecordsCommand",
    "acls": "org.apache.kafka.tools.AclCommand",
    "dump-log": "org.apache.kafka.tools.DumpLogSegments",
    "cluster": "org.apache.kafka.tools.ClusterTool",
    "broker-api-versions": "org.apache.kafka.tools.BrokerApiVersionsCommand",
    "producer-perf-test": "org.apache.kafka.tools.ProducerPerformance",
    "consumer-perf-test": "org.apache.kafka.tools.ConsumerPerformance",
    "mirror-maker": "org.apache.kafka.connect.mirror.MirrorMaker",
}
# A test's broker starts often and lives briefly.
JVM = ["-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]
LOGGING = """<Configuration><Appenders><Console name="o" target="SYSTEM_ERR"><PatternLayout pattern="%d %p %c{1} %m%n"/></Console>
</Appenders><Loggers><Root level="WARN"><AppenderRef ref="o"/></Root></Loggers></Configuration>"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("fetch").add_argument("dir")
    run = commands.add_parser("run")
    run.add_argument("dir")
    run.add_argument("--data", help="where the brokers keep their files; a folder that goes with them if left out")
    run.add_argument("--brokers", type=int, choices=(1, 3), default=1)
    run.add_argument("--ports", help="client ports, one for each broker, with commas; free ones if left out")
    run.add_argument("--security", choices=("plaintext", "sasl", "sasl-tls"), default="plaintext")
    run.add_argument("--user", default="hub")
    run.add_argument("--password", default="hub-secret")
    run.add_argument("--acls", action="store_true", help="deny what no access rule allows; --user may do everything")
    run.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the brokers")
    run.add_argument("--jvm", help="other options of the Java machine, in one string")
    tool = commands.add_parser("tool")
    tool.add_argument("dir")
    tool.add_argument("name", choices=sorted(TOOLS))
    tool.add_argument("arguments", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    directory = pathlib.Path(os.environ["KAFKA_FOR_TESTS"] if options.dir == "-" else options.dir).resolve()
    if options.command == "fetch":
        return fetch(directory)
    if not (directory / "libs").is_dir():
        sys.exit(f"{directory} holds no Kafka: tools/kafka/kafka.py fetch {directory}")
    if options.command == "tool":
        command = java(directory, ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"], TOOLS[options.name])
        os.execvp(command[0], command + options.arguments)
    Cluster(directory, options).run()


def fetch(directory):
    """Complete or not there: what an interrupted run left is fetched again."""
    if (directory / "complete").is_file() and (directory / "complete").read_text() == (HERE / "pom.xml").read_text():
        print(f"Kafka is in {directory}")
        return
    shutil.rmtree(directory / "libs", ignore_errors=True)
    directory.mkdir(parents=True, exist_ok=True)
    maven = ["mvn", "-B", "-q", "-C", "-f", str(HERE / "pom.xml"), "dependency:copy-dependencies"]
    maven += ["-DincludeScope=runtime", f"-DoutputDirectory={directory / 'libs'}"]
    for attempt in (1, 2, 3):
        if subprocess.run(maven).returncode == 0:
            break
        print(f"attempt {attempt} did not fetch everything", file=sys.stderr)
    else:
        sys.exit("Kafka could not be fetched from Maven Central")
    (directory / "log4j2.xml").write_text(LOGGING)
    (directory / "complete").write_text((HERE / "pom.xml").read_text())
    print(f"Kafka is in {directory}")


def java(directory, options, main_class):
    logging = f"-Dlog4j2.configurationFile={directory / 'log4j2.xml'}"
    return ["java", *options, logging, "-cp", str(directory / "libs" / "*"), main_class]


class Cluster:
    """Brokers that are controllers as well, in one data folder."""

    def __init__(self, directory, options):
        self.directory, self.options = directory, options
        self.temporary = None if options.data else tempfile.mkdtemp(prefix="tradelane-kafka-")
        self.data = pathlib.Path(options.data or self.temporary).resolve()
        self.data.mkdir(parents=True, exist_ok=True)
        self.processes = {}
        self.told = False
        self.stopping = threading.Event()
        count = options.brokers
        drawn = free_ports(3 * count)
        ports = [int(port) for port in options.ports.split(",")] if options.ports else drawn[:count]
        if len(ports) != count:
            sys.exit(f"{count} brokers need {count} ports")
        self.secure = options.security != "plaintext"
        plain = drawn[count:2 * count] if self.secure else ports
        controllers = drawn[2 * count:]
        self.ports, self.plain, self.controllers = self.kept_ports(ports, plain, controllers)

    def kept_ports(self, *ports):
        """A data folder that was there before keeps its ports: they are in its configuration and its quorum."""
        file = self.data / "ports.json"
        if file.exists():
            return json.loads(file.read_text())
        file.write_text(json.dumps(ports))
        return ports

    def run(self):
        signal.signal(signal.SIGTERM, lambda *_: self.stopping.set())
        signal.signal(signal.SIGINT, lambda *_: self.stopping.set())
        try:
            ca = self.certificates() if self.options.security == "sasl-tls" else None
            for node in range(self.options.brokers):
                self.prepare(node, ca)
            for node in range(self.options.brokers):
                self.start(node)
            for port in [*self.ports, *self.plain]:
                self.await_port(port)
            self.await_brokers()
            at = lambda ports: ",".join(f"127.0.0.1:{port}" for port in ports)
            facts = {"bootstrap": at(self.ports), "plain": at(self.plain), "data": str(self.data), "ca": ca}
            facts |= {"user": self.options.user, "password": self.options.password, "security": self.options.security}
            facts |= {"brokers": dict(enumerate(self.ports)), "pids": [process.pid for process in self.processes.values()]}
            print(json.dumps(facts), flush=True)
            threading.Thread(target=self.until_input_ends, daemon=True).start()
            while not self.stopping.wait(0.2):
                if not self.told and all(process.poll() is not None for process in self.processes.values()):
                    sys.exit("all brokers have ended by themselves")
        finally:
            self.stop()

    def until_input_ends(self):
        # From a terminal or a supervisor without input, only a signal ends it.
        if sys.stdin is None or sys.stdin.isatty():
            return
        for line in sys.stdin:
            self.tell(*line.split())
            print("done", flush=True)
        self.stopping.set()

    def tell(self, what, *nodes):
        """Ends or starts brokers; returns when they are gone, or take requests."""
        self.told, nodes = True, [int(node) for node in nodes]
        for node in nodes:
            {"start": lambda: self.start(node), "kill": self.processes[node].kill, "stop": self.processes[node].terminate}[what]()
        for node in nodes:
            if what == "start":
                self.await_port(self.ports[node])
                self.await_port(self.plain[node])
            else:
                self.processes[node].wait()

    def prepare(self, node, ca):
        folder = self.data / f"broker-{node}"
        config = folder / "server.properties"
        if config.exists():
            return
        folder.mkdir()
        config.write_text("".join(f"{name}={value}\n" for name, value in self.settings(node, folder, ca).items()))
        command = java(self.directory, JVM, "kafka.tools.StorageTool")
        command += ["format", "-t", "dHJhZGVsYW5lLXRlc3RzIQ", "-c", str(config)]
        if self.secure:
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
                user = f"{mechanism}=[name={self.options.user},password={self.options.password}]"
                command += ["--add-scram", user]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"the storage of broker {node} cannot be prepared: {done.stdout}{done.stderr}")

    def settings(self, node, folder, ca):
        options, replicas = self.options, self.options.brokers
        listeners = [f"CONTROLLER://127.0.0.1:{self.controllers[node]}", f"PLAIN://127.0.0.1:{self.plain[node]}"]
        protocols = ["CONTROLLER:PLAINTEXT", "PLAIN:PLAINTEXT"]
        settings = {
            "node.id": node,
            "process.roles": "broker,controller",
            "controller.quorum.voters": ",".join(f"{n}@127.0.0.1:{p}" for n, p in enumerate(self.controllers)),
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAIN",
            "log.dirs": folder / "log",
            "num.partitions": 1,
            "auto.create.topics.enable": "false",
            # Records of tests bear times of long ago.
            "log.retention.ms": -1,
            "offsets.topic.replication.factor": replicas,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.num.partitions": 4,
            "transaction.state.log.min.isr": 1,
            "share.coordinator.state.topic.replication.factor": replicas,
            "share.coordinator.state.topic.min.isr": 1,
            "default.replication.factor": replicas,
            "group.initial.rebalance.delay.ms": 0,
            "controlled.shutdown.max.retries": 1,
            "log.cleaner.dedupe.buffer.size": 4 << 20,
            "log.cleaner.backoff.ms": 500,
            "num.network.threads": 2,
            "num.io.threads": 2,
        }
        if self.secure:
            listeners.append(f"SECURE://127.0.0.1:{self.ports[node]}")
            protocols.append("SECURE:" + ("SASL_SSL" if ca else "SASL_PLAINTEXT"))
            login = "org.apache.kafka.common.security"
            secret = f'username="{options.user}" password="{options.password}"'
            settings |= {
                "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
                "listener.name.secure.plain.sasl.jaas.config":
                    f'{login}.plain.PlainLoginModule required {secret} user_{options.user}="{options.password}";',
                "listener.name.secure.scram-sha-256.sasl.jaas.config": f"{login}.scram.ScramLoginModule required;",
                "listener.name.secure.scram-sha-512.sasl.jaas.config": f"{login}.scram.ScramLoginModule required;",
            }
        if ca:
            settings |= {
                "listener.name.secure.ssl.keystore.type": "PEM",
                "listener.name.secure.ssl.keystore.location": self.data / "broker.pem",
            }
        if options.acls:
            settings |= {
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": f"User:ANONYMOUS;User:{options.user}",
            }
        settings |= {"listeners": ",".join(listeners), "listener.security.protocol.map": ",".join(protocols)}
        settings |= dict(setting.split("=", 1) for setting in options.set)
        return settings

    def certificates(self):
        """A development authority, and a certificate of it for localhost."""
        ca, broker = self.data / "ca.pem", self.data / "broker.pem"
        if broker.exists():
            return str(ca)
        ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
        quiet = {"check": True, "cwd": self.data, "capture_output": True}
        subprocess.run(["openssl", "req", "-x509", *ec, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Test CA"], **quiet)
        subprocess.run(["openssl", "req", *ec[:-2], "-keyout", "key.pem", "-out", "csr.pem", "-subj", "/CN=localhost"], **quiet)
        (self.data / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        subprocess.run(["openssl", "x509", "-req", "-in", "csr.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                        "-days", "30", "-extfile", "names", "-out", "cert.pem"], **quiet)
        broker.write_text((self.data / "key.pem").read_text() + (self.data / "cert.pem").read_text() + ca.read_text())
        return str(ca)

    def start(self, node):
        folder = self.data / f"broker-{node}"
        options = self.options.jvm.split() if self.options.jvm else JVM
        command = java(self.directory, options, "kafka.Kafka") + [str(folder / "server.properties")]
        with open(folder / "output", "ab") as output:
            self.processes[node] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    def await_port(self, port):
        deadline = time.monotonic() + 180
        while not self.stopping.is_set():
            try:
                return socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                pass
            if time.monotonic() > deadline or all(process.poll() is not None for process in self.processes.values()):
                sys.exit(f"no broker listens on {port}: {self.output()}")
            time.sleep(0.1)

    def await_brokers(self):
        """A port is open before its broker leads anything: until all brokers are in each one's list."""
        deadline = time.monotonic() + 120
        while not self.stopping.is_set():
            if all(brokers_known_to(port) == self.options.brokers for port in self.plain):
                return
            if time.monotonic() > deadline:
                sys.exit(f"the brokers do not find each other: {self.output()}")
            time.sleep(0.2)

    def output(self):
        texts = [(self.data / f"broker-{n}" / "output").read_text(errors="replace") for n in range(len(self.processes))]
        return "\n".join(text[-2000:] for text in texts)

    def stop(self):
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self.temporary:
            shutil.rmtree(self.temporary, ignore_errors=True)


def brokers_known_to(port):
    """Metadata v0 of no topic but one that cannot be: the answer begins with the list of brokers."""
    name = b"no/topic"
    body = (3).to_bytes(2, "big") + bytes(2) + (7).to_bytes(4, "big") + b"\xff\xff" + (1).to_bytes(4, "big")
    body += len(name).to_bytes(2, "big") + name
    try:
        with socket.create_connection(("127.0.0.1", port), 2) as connection:
            connection.settimeout(5)
            connection.sendall(len(body).to_bytes(4, "big") + body)
            with connection.makefile("rb") as answer:
                length = int.from_bytes(answer.read(4), "big")
                return int.from_bytes(answer.read(length)[4:8], "big")
    except OSError:
        return 0


def free_ports(count):
    """Ports that nobody listens at, and none of those that the system gives to connections: such a one could be taken by the
    time that a broker starts."""
    ports = []
    while len(ports) < count:
        port = random.randrange(15_000, 32_000)
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in ports:
            ports.append(port)
    return ports


if __name__ == "__main__":
    main()
