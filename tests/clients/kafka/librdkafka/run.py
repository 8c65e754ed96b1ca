#!/usr/bin/env python3
"""librdkafka's own integration tests, from the npm package node-rdkafka, against a hub.

    tests/clients/kafka/librdkafka/run.py --tradelane target/debug/tradelane [--engine kafka --kafka DIR] [TEST...]

Fetches and builds them (gcc, make, OpenSSL's headers, npm), which takes some minutes the first time. Where a hub is meant to
differ from a broker the tests are adapted (adapt() below): topics are there before, values are JSON. What comes of each test is
compared with findings.txt; a test that passes there and does not pass here is a failure.
"""

import argparse
import base64
import concurrent.futures
import contextlib
import hashlib
import inspect
import os
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from brokers import kafka  # noqa: E402
from hub import OWNER, Hub  # noqa: E402

PACKAGE, VERSION = "node-rdkafka", "3.6.1"
SHA512 = "sfpTbrT35429cs0RE8Yb9avGX9BiRRvpV7aweQsghKTjtrVZP3jBrKOPItWXAqHb8doyh3SkuGuUVBLgig1SRg=="
FINDINGS = HERE / "findings.txt"
# A hub with the engine, and Kafka with groups of KIP-848; what comes of a test there.
WAYS = ("embedded", "kafka", "consumer")
HOW = {"whole", "slow", "fails", "skips", "same", "local"}
# The partitions of topics that a test counts on, in the order in which it names them; none, where it makes one itself. A test that makes
# topics has none before, and another one four of four.
TOPICS = {
    "0011_produce_batch": [4, 4, 4, 0, 4], "0030_offset_commit": [4], "0042_many_topics": [4] * 20, "0048_partitioner": [0, 4],
    "0050_subscribe_adds": [4] * 9, "0061_consumer_lag": [4, 4], "0103_transactions": [4, 0, 0, 0, 0, 4, 4, 4],
} | {name: [4] * 4 for name in (
    "0019_list_groups", "0022_consume_batch", "0031_get_offsets", "0034_offset_reset", "0040_io_event", "0076_produce_retry", "0083_cb_event",
    "0094_idempotence_msg_timeout")}

CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: rdk
version: 1.0.0
status: active
name: What librdkafka's tests send
tenant: maker
schema:
  - name: message
    logicalType: object
    properties:
      - {name: m, logicalType: string, classification: public}
slaProperties:
  - {property: retention, value: 400, unit: d}
customProperties:
  - {property: tradelane, value: {format: json, region: eu, purposes: [tests], records: {key: {class: public}}}}
"""
PRODUCT = """---
apiVersion: tradelane/v1
kind: Product
spec: {id: %s, owner: maker, name: %s, contract: rdk, partitions: %d}
"""
# Makes the products that a test calls for, and waits for their topics: how many partitions, and the names.
MAKE = """#!/bin/sh
set -eu
unset LD_LIBRARY_PATH
partitions=$1
shift
manifests=$(mktemp -d "%(folder)s/made.XXXXXX")
for name; do
    cat <<PRODUCT
%(product)sPRODUCT
done >"$manifests/products.yaml"
exec >"$manifests/said" 2>&1
"%(tradelane)s" --url "%(url)s" --ca "%(ca)s" --key-file "%(folder)s/%(owner)s.key" apply -y -f "$manifests"
%(wait)s
"""
WAIT = """
"%s" - "$partitions" "$@" <<'PYTHON'
import sys
sys.path[:0] = %r
import run
run.wait_for_topics(%r, [(name, int(sys.argv[1])) for name in sys.argv[2:]])
PYTHON
"""


def build(folder):
    """The tests' program; built if it is not there."""
    tests = folder / "package/deps/librdkafka/tests"
    wanted = hashlib.sha512("".join([SHA512, LEFT_OUT, MAKE_TOPIC, *INSTEAD.values(), inspect.getsource(adapt)]).encode()).hexdigest()
    if (folder / "built").exists() and (folder / "built").read_text() == wanted:
        return tests
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    quiet = dict(check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["npm", "pack", "--silent", "%s@%s" % (PACKAGE, VERSION)], cwd=folder, **quiet)
    archive = folder / ("%s-%s.tgz" % (PACKAGE, VERSION))
    assert base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode() == SHA512, "not the package that was tried"
    subprocess.run(["tar", "xzf", archive.name], cwd=folder, check=True)
    archive.unlink()
    adapt(tests)
    with open(folder / "build.log", "w") as log:
        for command in (["./configure", "--disable-optimization", "--disable-gssapi", "--disable-curl"], ["make", "-j2", "-C", "src"],
                        ["make", "-j2", "-C", "src-cpp"], ["make", "-j2", "-C", "tests", "test-runner"]):
            done = subprocess.run(command, cwd=tests.parent, stdout=log, stderr=log)
            assert done.returncode == 0, "%s: see %s" % (command, log.name)
    (folder / "built").write_text(wanted)
    return tests


LEFT_OUT = """static int test_left_out(const char *subtest) {
        char *parts = rd_strdup(test_getenv("TEST_PARTS_WITHOUT", "")), *next = parts, *part;
        int found = 0;
        while ((part = strsep(&next, ";")))
                found = found || (*part && strstr(subtest, part));
        rd_free(parts);
        return found;
}

"""


MAKE_TOPIC = """
static void test_make_topics(char **topics, size_t count, int partitions) {
        char command[16384];
        size_t next, length = rd_snprintf(command, sizeof(command), "%s %d", test_getenv("TEST_MAKE_TOPICS", "false"), partitions);
        for (next = 0; next < count; next++) {
                fprintf(stderr, "\\nMADE %s %d\\n", topics[next], partitions);
                length += rd_snprintf(command + length, sizeof(command) - length, " %s", topics[next]);
                TEST_ASSERT(length < sizeof(command), "too many topics at once");
        }
        TEST_ASSERT(!system(command), "there are no products for %s and others", topics[0]);
}
"""
# What functions of test.c begin with.
INSTEAD = {
    "void test_create_topic(": """        if (1) {
                test_make_topics((char **)&topicname, 1, partition_cnt);
                return;
        }
""",
    "rd_kafka_resp_err_t test_CreateTopics_simple(": """        if (!useq) {
                test_make_topics(topics, topic_cnt, num_partitions);
                return RD_KAFKA_RESP_ERR_NO_ERROR;
        }
""",
    "rd_kafka_resp_err_t test_DeleteTopics_simple(": """        if (!useq)
                return RD_KAFKA_RESP_ERR_NO_ERROR;
""",
    "void test_delete_topic(": "        if (1)\n                return;\n",
}


def adapt(tests):
    """Topics have names that a product can have, and are made as products and not removed; values are JSON."""
    for file in set(tests.glob("0*.c")):
        text = file.read_text()
        json = re.sub(r'"((?:%s:)?%s test message #%i(?: \(acks=%i\))?)"', r'"{\\"m\\":\\"\1\\"}"', text)
        json = re.sub(r'"testid=%" (PRIu64|SCNu64) ", partition=%i, msg=%i"', r'"{\\"m\\":\\"testid=%" \1 ", partition=%i, msg=%i\\"}"', json)
        # A value that is taken for text ends with a zero.
        json = json.replace("sizeof(value), key, sizeof(key));", "sizeof(value) - 1, key, sizeof(key));\n                value[sizeof(value) - 1] = '\\0';")
        json = json.replace('"^.*topic_regex.*"', '"^rdk-0045-resubscribe-with-regex-[01]$"')
        if json != text:
            file.write_text(json)
    file = tests / "test.c"
    text = file.read_text()
    text = re.sub(r'sscanf\((buf|val), "testid=', r'sscanf(strstr(\1, "testid=") ? strstr(\1, "testid=") : \1, "testid=', text)

    def instead(old, new):
        nonlocal text
        assert old in text, old
        text = text.replace(old, new, 1)

    instead("        if (test_topic_random || randomized)\n", """        static int topics = 0;
        char *at;
        (void)randomized;
        rd_snprintf(ret, sizeof(ret), "rdk-%s-%d", test_curr->name, topics++);
        for (at = ret; *at; at++)
                *at = *at == '_' ? '-' : *at;
        fprintf(stderr, "\\nNAMED %s\\n", ret);
        return ret;
        if (0)
""")
    instead("        while (of < val_size) {\n                /* Copy-repeat", """        if (val_size >= 2 && val_size < 9) {
                memset(val, ' ', val_size);
                memcpy(val, "{}", 2);
                return;
        }
        if (val_size >= 9) {
                memset(val, 'x', val_size);
                memcpy(val, "{\\"m\\":\\"", 6);
                if (val_size >= 8 + strcspn(key, "\\n"))
                        memcpy(val + 6, key, strcspn(key, "\\n"));
                memcpy(val + val_size - 2, "\\"}", 2);
                return;
        }
        while (of < val_size) {
                /* Copy-repeat""")
    # One test at a time, by its whole name, and without the parts that the findings name.
    instead("!strstr(tests_to_run, testnum)", "strcmp(tests_to_run, test->name)")
    instead("        if (subtests_to_run && !strstr(test_curr->subtest, subtests_to_run)) {", """        if (test_left_out(test_curr->subtest)) {
                *test_curr->subtest = '\\0';
                return 0;
        }
        if (subtests_to_run && !strstr(test_curr->subtest, subtests_to_run)) {""")
    at = text.index("/**\n * @brief Start a sub-test.")
    text = text[:at] + LEFT_OUT + text[at:]
    at = text.index("\n/**", text.index("\nvoid test_kafka_topics("))
    text = text[:at] + MAKE_TOPIC + text[at:]
    for function, then in INSTEAD.items():
        at = text.index("{\n", text.index("\n" + function)) + 2
        text = text[:at] + then + text[at:]
    file.write_text(text)


def known(tests):
    """The names of all tests, as test.c lists them, and whether each asks a broker."""
    listed = re.findall(r"^\s+_TEST\((\w+),\s*([^)]*)", (tests / "test.c").read_text(), re.M)
    return {name: not re.search(r"LOCAL|MANUAL|KNOWN_ISSUE\b", flags) and "mock" not in name for name, flags in listed}


class Finding:
    """What is known of one test: how it is run with each engine, and why not, or not as a whole."""

    def __init__(self, how, why):
        self.how, self.why, self.without = dict(zip(WAYS, how)), why, {way: [] for way in WAYS}


def findings():
    found = {}
    for number, line in enumerate(FINDINGS.read_text().splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        if line.startswith("without"):
            _, name, ways, part = line.split(None, 3)
            for way in ways.split(","):
                found[name].without[way].append(part.split(" -- ")[0])
            continue
        name, *how = line.split(None, 4)
        why = how.pop() if len(how) == 4 else ""
        assert len(how) == 3 and set(how) <= HOW, "%s, line %d" % (FINDINGS.name, number)
        assert name not in found, "%s is there twice" % name
        assert why or not set(how) - {"whole", "slow", "same"}, "%s: why not?" % name
        found[name] = Finding(how, why)
    return found


class Runner:
    def __init__(self, tests, hub, folder, options, found, broker):
        self.tests, self.hub, self.folder, self.options, self.found = tests, hub, folder, options, found
        self.way = way_of(options)
        self.make_topics = folder / "make-topics"
        self.make_topics.write_text(MAKE % dict(
            product=PRODUCT.replace("%d", "%s") % ("$name", "$name", "$partitions"), tradelane=hub.tradelane, url=hub.url, ca=hub.ca, folder=folder,
            owner=OWNER, wait=WAIT % (sys.executable, [str(HERE), str(HERE.parent)], broker) if broker else ""))
        self.make_topics.chmod(0o700)

    def products(self, name):
        """Those that have to be there before the test, with their partitions."""
        makes = re.search(r"create_topic|CreateTopics", self.source(name))
        topics = TOPICS.get(name, [] if makes else [4] * 4)
        return [("rdk-%s-%d" % (name.replace("_", "-"), index), partitions) for index, partitions in enumerate(topics) if partitions]

    def source(self, name):
        return next(self.tests.glob(name[:4] + "-*.c*")).read_text()

    def settings(self, name):
        path = self.folder / (name + ".conf")
        path.write_text("\n".join([
            "metadata.broker.list=" + self.hub.kafka, "security.protocol=SASL_SSL", "ssl.ca.location=" + self.hub.ca,
            "sasl.mechanisms=PLAIN", "sasl.username=any", "sasl.password=" + self.hub.key(OWNER), "broker.address.family=v4", ""]))
        return path

    def run(self, name):
        """passes, skips, fails, hangs, or `empty` for one that did nothing; the words on it; and how long it took."""
        finding, begin = self.found[name], time.monotonic()
        environment = {**os.environ, "TESTS": name, "RDKAFKA_TEST_CONF": str(self.settings(name)), "TEST_KAFKA_VERSION": "4.0.0",
                       "TEST_CONSUMER_GROUP_PROTOCOL": self.options.protocol, "CI": "1",
                       "TEST_MAKE_TOPICS": str(self.make_topics), "TEST_PARTS_WITHOUT": ";".join(finding.without[self.way]), "LD_LIBRARY_PATH": "../src:../src-cpp"}
        output = self.folder / (name + ".log")
        with open(output, "wb") as log:
            process = subprocess.Popen(["./test-runner", "-p1"], cwd=self.tests,
                                       env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
            try:
                status = process.wait(self.options.seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                return "hangs", last_words(output), time.monotonic() - begin
        text, result = plain(output), "passes" if status == 0 else "fails"
        state = re.search(r"^\|\s*%s\s*\|\s*(\w+)" % re.escape(name), text, re.M)
        if state and state[1] == "SKIPPED":
            result = "skips"
        elif result == "passes" and "SUB_TEST" in self.source(name) and not re.search(r": PASS \(|Created +kafka instance", text):
            # All of its parts were left out.
            result = "empty"
        return result, last_words(output), time.monotonic() - begin


def plain(output):
    return re.sub(r"\x1b\[[0-9;]*m", "", output.read_text(errors="replace"))


def last_words(output):
    """Why it failed or was skipped, as it says."""
    found = re.findall(r"^### Test [^\n]*\n([^\n]*)|SKIPPING TEST: ([^\n]*)", plain(output), re.M)
    return next((one or other for one, other in found), "")[:160]


def way_of(options):
    return "consumer" if options.protocol == "consumer" else options.engine


def names_to_run(options, found):
    """Those that the findings expect to pass, or those that were asked for."""
    def wanted(name):
        how = found[name].how[way_of(options)]
        if options.test:
            return any(name.startswith(word) for word in options.test)
        return how == "whole" or how == "slow" and not options.quick or options.all and how not in ("local", "same")

    # Long ones first, so that none of them is left at the end.
    return sorted(filter(wanted, found), key=lambda name: (found[name].how[way_of(options)] != "slow", name))


def wait_for_topics(broker, products):
    """Until the broker has them: a hub makes a topic when somebody asks for it. This asks for all of them. What a broker has not finished making
    is in its metadata by then, and assigned to nobody."""
    end = time.monotonic() + 120
    wanted = {"hub.%s-%d" % (product, index) for product, partitions in products for index in range(partitions)}
    with socket.create_connection(("127.0.0.1", broker["port"]), 60) as plain:
        with ssl.create_default_context(cafile=broker["ca"]).wrap_socket(plain, server_hostname="localhost") as connection:
            def ask(key, version, body):
                head = key.to_bytes(2, "big") + version.to_bytes(2, "big") + bytes(4) + b"\xff\xff"
                connection.sendall((len(head) + len(body)).to_bytes(4, "big") + head + body)
                with connection.makefile("rb") as answer:
                    answer.read(int.from_bytes(answer.read(4), "big"))

            words = b"\0any\0" + broker["key"].encode()
            ask(17, 1, b"\0\5PLAIN")  # SaslHandshake
            ask(36, 0, len(words).to_bytes(4, "big") + words)  # SaslAuthenticate
            while not wanted <= {path.name for path in pathlib.Path(broker["data"]).rglob("hub.*-*")}:
                assert time.monotonic() < end, "the cluster does not have the topics"
                ask(3, 1, b"\xff\xff\xff\xff")  # Metadata of all topics
                time.sleep(0.5)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tradelane", default="target/debug/tradelane")
    parser.add_argument("--engine", choices=("embedded", "kafka"), default="embedded")
    parser.add_argument("--protocol", choices=("classic", "consumer"), default="classic", help="of groups; the newer one is KIP-848")
    parser.add_argument("--kafka", default=os.environ.get("KAFKA_FOR_TESTS"))
    parser.add_argument("--build", default=os.path.join(os.environ.get("TRADELANE_CI_DIR", "target"), "librdkafka"))
    parser.add_argument("--build-only", action="store_true")
    parser.add_argument("--jobs", type=int, default=6)
    parser.add_argument("--seconds", type=int, default=400, help="time for one test")
    parser.add_argument("--quick", action="store_true", help="without those that the findings call slow")
    parser.add_argument("--logs", help="where to leave what each test says")
    parser.add_argument("--all", action="store_true", help="also what the findings do not expect to pass")
    parser.add_argument("test", nargs="*")
    options = parser.parse_args()
    if options.protocol == "consumer" and options.engine == "embedded":
        parser.error("the embedded engine has no groups of KIP-848")
    tests = build(pathlib.Path(options.build).resolve())
    found, there = findings(), known(tests)
    wrong = sorted(set(found) ^ set(there)) + [name for name in found if name in there and there[name] == ("local" in found[name].how.values())]
    assert not wrong, "%s and the package disagree on %s" % (FINDINGS.name, wrong)
    if options.build_only:
        return print("librdkafka's tests are built: %d, %d of them ask a broker" % (len(there), sum(there.values())))
    names, results, lock = names_to_run(options, found), {}, threading.Lock()
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tradelane-librdkafka-")))
        # Tests count on members that join together, as a broker's own defaults have it.
        cluster = stack.enter_context(kafka(options.kafka, "--security", "sasl", "--set",
                                             "group.initial.rebalance.delay.ms=3000")).facts if options.engine == "kafka" else None
        hub = Hub(options.tradelane, folder, cluster)
        stack.callback(hub.stop)
        hub.start()
        hub.people()
        broker = cluster and dict(port=hub.port, ca=hub.ca, key=hub.key(OWNER), data=cluster["data"])
        runner = Runner(tests, hub, folder, options, found, broker)
        products = [product for name in names for product in runner.products(name)]
        hub.apply(OWNER, rdk__odcs=CONTRACT, rdk="".join(PRODUCT % (name, name, partitions) for name, partitions in products))
        if broker:
            wait_for_topics(broker, products)

        def one(name):
            result, words, seconds = runner.run(name)
            with lock:
                results[name] = (result, words, seconds)
                print("%-48s %-7s %5.1f s  %s" % (name, result, seconds, "" if result == "passes" else words), flush=True)

        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            list(pool.map(one, names))
        expected = [name for name in names if found[name].how[runner.way] in ("whole", "slow")]
        shaky = [name for name in expected if results[name][0] != "passes"]
        if options.logs:
            shutil.copytree(folder, options.logs, dirs_exist_ok=True, ignore=lambda _, names: [name for name in names if not name.endswith(".log")])
        for name in shaky:
            print("AGAIN, alone, because it did not pass: %s (%s)\n%s" % (name, results[name][1], "\n".join(plain(folder / (name + ".log")).splitlines()[-40:])))
            one(name)
        if "panicked" in (folder / "hub.log").read_text(errors="replace"):
            sys.exit("the hub panicked: " + hub.log())
    conclude(options, found, results, expected, shaky)


def conclude(options, found, results, expected, shaky):
    way = way_of(options)
    failed = [name for name in shaky if results[name][0] != "passes"]
    better = [name for name, (result, *_) in results.items() if result == "passes" and name not in expected]
    hows = [finding.how[way] for finding in found.values()]
    print("\n%-10s %s" % (way, ", ".join("%d %s" % (hows.count(how), how) for how in sorted(set(hows)))))
    print("%d of %d passed" % (sum(results[name][0] == "passes" for name in expected), len(expected)))
    if better:
        print("NOT EXPECTED to pass: %s" % better)
    for name in shaky:
        print("%s: %s" % ("FAILED twice" if name in failed else "FLAKY: passed when it ran alone, and not beside others", name))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
