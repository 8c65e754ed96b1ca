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
import os
import pathlib
import re
import shutil
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
# Products for each test, and their partitions: as many as the tests use.
TOPICS, PARTITIONS = 8, {"0048": 7, "0090": 1}

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


def build(folder):
    """The tests' program; built if it is not there."""
    tests = folder / "package/deps/librdkafka/tests"
    if (folder / "built").exists():
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
    (folder / "built").touch()
    return tests


def adapt(tests):
    """Topics have the names of products that are there, and are neither made nor removed; values are JSON."""
    for file in set(tests.glob("0*.c")):
        text = file.read_text()
        json = re.sub(r'"((?:%s:)?%s test message #%i(?: \(acks=%i\))?)"', r'"{\\"m\\":\\"\1\\"}"', text)
        json = re.sub(r'"testid=%" (PRIu64|SCNu64) ", partition=%i, msg=%i"', r'"{\\"m\\":\\"testid=%" \1 ", partition=%i, msg=%i\\"}"', json)
        # A value that is taken for text ends with a zero.
        json = json.replace("sizeof(value), key, sizeof(key));", "sizeof(value) - 1, key, sizeof(key));\n                value[sizeof(value) - 1] = '\\0';")
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
        (void)randomized;
        rd_snprintf(ret, sizeof(ret), "rdk-%.4s-%d", test_curr->name, topics++);
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
    for function in ("void test_create_topic(", "void test_delete_topic("):
        at = text.index("\n" + function)
        at = text.index("{\n", at) + 2
        text = text[:at] + "        if (1)\n                return;\n" + text[at:]
    file.write_text(text)


def known(tests):
    """The names of the tests that ask a broker, as test.c lists them."""
    listed = re.findall(r"^\s+_TEST\((\w+),\s*([^)]*)", (tests / "test.c").read_text(), re.M)
    return [name for name, flags in listed if not re.search("LOCAL|MANUAL|KNOWN_ISSUE", flags) and "mock" not in name]


def findings(engine):
    found = {}
    for line in FINDINGS.read_text().splitlines():
        if line and not line.startswith("#"):
            name, embedded, cluster, *why = line.split(None, 3)
            found[name] = ({"embedded": embedded, "kafka": cluster}[engine], why[0] if why else "")
    return found


class Runner:
    def __init__(self, tests, hub, folder, seconds):
        self.tests, self.hub, self.folder, self.seconds = tests, hub, folder, seconds

    def settings(self, name):
        path = self.folder / (name + ".conf")
        path.write_text("\n".join([
            "metadata.broker.list=" + self.hub.kafka, "security.protocol=SASL_SSL", "ssl.ca.location=" + self.hub.ca,
            "sasl.mechanisms=PLAIN", "sasl.username=any", "sasl.password=" + self.hub.key(OWNER), "broker.address.family=v4", ""]))
        return path

    def run(self, name):
        """passes, skips, fails or hangs; and the words on it."""
        environment = {**os.environ, "TESTS": name, "RDKAFKA_TEST_CONF": str(self.settings(name)), "TEST_KAFKA_VERSION": "4.0.0",
                       "CI": "1", "LD_LIBRARY_PATH": "../src:../src-cpp"}
        output = self.folder / (name + ".log")
        with open(output, "wb") as log:
            process = subprocess.Popen(["./test-runner", "-p1", "-Q"], cwd=self.tests, env=environment, stdin=subprocess.DEVNULL,
                                       stdout=log, stderr=log, start_new_session=True)
            try:
                status = process.wait(self.seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                return "hangs", last_words(output)
        text = plain(output)
        if re.search(r"\|\s*%s\s*\|\s*SKIPPED" % re.escape(name), text):
            return "skips", last_words(output)
        return ("passes" if status == 0 else "fails"), last_words(output)


def plain(output):
    return re.sub(r"\x1b\[[0-9;]*m", "", output.read_text(errors="replace"))


def last_words(output):
    """Why it failed or was skipped, as it says."""
    found = re.findall(r"^### Test [^\n]*\n([^\n]*)|SKIPPING TEST: ([^\n]*)", plain(output), re.M)
    return next((one or other for one, other in found), "")[:160]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tradelane", default="target/debug/tradelane")
    parser.add_argument("--engine", choices=("embedded", "kafka"), default="embedded")
    parser.add_argument("--kafka", default=os.environ.get("KAFKA_FOR_TESTS"))
    parser.add_argument("--build", default=os.path.join(os.environ.get("TRADELANE_CI_DIR", "target"), "librdkafka"))
    parser.add_argument("--jobs", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=90, help="time for one test")
    parser.add_argument("--logs", help="where to leave what each test says")
    parser.add_argument("--all", action="store_true", help="also what findings.txt does not expect to pass")
    parser.add_argument("test", nargs="*")
    options = parser.parse_args()
    tests = build(pathlib.Path(options.build).resolve())
    before = findings(options.engine) if FINDINGS.exists() else {}
    names = [name for name in known(tests) if not options.test or any(name.startswith(word) for word in options.test)]
    if not options.all and not options.test:
        names = [name for name in names if before.get(name, ("",))[0] == "passes"]
    results, lock = {}, threading.Lock()
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tradelane-librdkafka-")))
        cluster = stack.enter_context(kafka(options.kafka, "--security", "sasl")).facts if options.engine == "kafka" else None
        hub = Hub(options.tradelane, folder, cluster)
        stack.callback(hub.stop)
        hub.start()
        hub.people()
        numbers = sorted({name[:4] for name in names})
        topics = ["rdk-%s-%d" % (number, index) for number in numbers for index in range(TOPICS)]
        hub.apply(OWNER, rdk__odcs=CONTRACT, rdk="".join(PRODUCT % (name, name, PARTITIONS.get(name[4:8], 4)) for name in topics))
        runner = Runner(tests, hub, folder, options.seconds)

        def one(name):
            begin = time.monotonic()
            result, words = runner.run(name)
            with lock:
                results[name] = (result, words)
                print("%-52s %-7s %5.1f s  %s" % (name, result, time.monotonic() - begin, words if result != "passes" else ""), flush=True)

        # Tests of one number share their topics: one after the other.
        def those(number):
            for name in names:
                if name.startswith(number):
                    one(name)

        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            list(pool.map(those, numbers))
        if options.logs:
            shutil.copytree(folder, options.logs, ignore=lambda _, names: [name for name in names if not name.endswith(".log")])
        if "panicked" in (folder / "hub.log").read_text(errors="replace"):
            sys.exit("the hub panicked: " + hub.log())
    worse = [name for name, (result, _) in results.items() if before.get(name, ("",))[0] == "passes" and result != "passes"]
    better = [name for name, (result, _) in results.items() if result == "passes" and before.get(name, ("",))[0] != "passes"]
    print("%d of %d pass; not expected to: %s" % (sum(result == "passes" for result, _ in results.values()), len(results), better or "none"))
    sys.exit("passed before: %s" % worse if worse else 0)


if __name__ == "__main__":
    main()
