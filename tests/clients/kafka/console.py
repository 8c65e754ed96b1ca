"""Kafka's command-line tools, as a partner's administrator runs them."""

import json
import pathlib
import subprocess
import sys

from hub import OWNER, READER

TOOL = pathlib.Path(__file__).resolve().parents[3] / "tools/kafka/kafka.py"
TOPIC, GROUP = "console-main", "console"
CLIENT = "console tools"


def console(table, hub, kafka, work):
    files = {}
    for who in (OWNER, READER):
        files[who] = pathlib.Path(work) / (who + ".properties")
        files[who].write_text("\n".join([
            "security.protocol=SASL_SSL", "ssl.truststore.type=PEM", "ssl.truststore.location=" + hub.ca, "sasl.mechanism=PLAIN",
            'sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username="any" password="%s";'
            % hub.key(who), "default.api.timeout.ms=30000", "session.timeout.ms=6000", ""]))

    def tool(who, name, *arguments, give=None, fails=False):
        command = [sys.executable, TOOL, "tool", kafka, name, "--bootstrap-server", hub.kafka, "--command-config", files[who]]
        done = subprocess.run([*command, *arguments], input=give, capture_output=True, text=True, timeout=120)
        assert fails or done.returncode == 0, "%s: %s %s" % (name, done.stdout[-800:], done.stderr[-800:])
        return done.stdout + (done.stderr if fails else "")

    def topics():
        mine = tool(READER, "topics", "--list").split()
        assert TOPIC in mine, mine
        described = tool(READER, "topics", "--describe", "--topic", TOPIC)
        assert "PartitionCount: 3" in described and "Leader" in described, described

    def producer_and_consumer():
        lines = "".join("k%d\t%s\n" % (n, json.dumps({"id": "o-%d" % n, "n": n, "lane": "open", "secret": "SECRET"})) for n in range(20))
        tool(OWNER, "console-producer", "--topic", TOPIC, "--reader-property", "parse.key=true", give=lines)
        read = tool(READER, "console-consumer", "--topic", TOPIC, "--group", GROUP, "--from-beginning", "--max-messages", "20",
                    "--timeout-ms", "40000", "--formatter-property", "print.key=true")
        assert read.count("k") >= 20 and "SECRET" not in read, read

    def consumer_groups():
        assert GROUP in tool(READER, "consumer-groups", "--list")
        described = tool(READER, "consumer-groups", "--describe", "--group", GROUP)
        rows = [line.split() for line in described.splitlines() if TOPIC in line]
        assert len(rows) == 3 and sum(int(row[3]) for row in rows) == 20 and all(row[5] == "0" for row in rows), described
        tool(READER, "consumer-groups", "--reset-offsets", "--to-earliest", "--execute", "--group", GROUP, "--topic", TOPIC)
        described = tool(READER, "consumer-groups", "--describe", "--group", GROUP)
        rows = [line.split() for line in described.splitlines() if TOPIC in line]
        assert sum(int(row[5]) for row in rows) == 20, described

    def newer_groups():
        if not hub.has_transactions:
            return "- the embedded engine has the classic protocol"
        newer = pathlib.Path(work) / "newer.properties"
        given = files[READER].read_text().replace("session.timeout.ms=6000", "group.protocol=consumer")
        newer.write_text(given)
        command = [sys.executable, TOOL, "tool", kafka, "console-consumer", "--bootstrap-server", hub.kafka, "--command-config", newer,
                   "--topic", TOPIC, "--group", "newer", "--from-beginning", "--timeout-ms", "60000"]
        reading = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            for _ in range(20):
                described = tool(READER, "consumer-groups", "--describe", "--members", "--verbose", "--group", "newer", fails=True)
                if "%s:0,1,2" % TOPIC in described:
                    break
            assert "%s:0,1,2" % TOPIC in described and "hub." not in described.replace(hub.kafka, ""), described
            state = tool(READER, "consumer-groups", "--describe", "--state", "--group", "newer")
            assert "uniform" in state and "Stable" in state, state
        finally:
            reading.terminate()
            reading.wait()

    def get_offsets():
        found = tool(READER, "get-offsets", "--topic", TOPIC)
        assert sum(int(line.split(":")[2]) for line in found.split() if line.startswith(TOPIC + ":")) == 20, found

    def configs():
        assert "cleanup.policy" in tool(READER, "configs", "--describe", "--all", "--entity-type", "topics", "--entity-name", TOPIC)

    def api_versions():
        found = tool(READER, "broker-api-versions")
        assert "Produce(0)" in found and "Fetch(1)" in found, found

    def refused():
        told = tool(READER, "topics", "--create", "--topic", "mine", "--partitions", "1", fails=True)
        assert "UnsupportedVersion" in told or "uthoriz" in told, told

    for name, function in (("topics", topics), ("produce, consume", producer_and_consumer), ("groups", consumer_groups), ("newer groups", newer_groups),
                           ("get-offsets", get_offsets), ("configs", configs), ("api-versions", api_versions), ("create refused", refused)):
        table.attempt(CLIENT, name, function)
