#!/usr/bin/env python3
"""Replication of granted topics into a partner's own cluster, with stock MirrorMaker 2 as the client.

    examples/kafka-mirror/run.py --tradelane target/release/tradelane --kafka DIR

DIR is what `tools/kafka/kafka.py fetch DIR` made. Starts a hub with the demo's organizations, the partner's cluster and
MirrorMaker beside it, and shows what arrives: the partner's view, kept up to date, until the grant ends.
"""

import argparse
import contextlib
import json
import os
import pathlib
import signal
import string
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
KAFKA = [sys.executable, str(ROOT / "tools/kafka/kafka.py")]
TOPIC, HIDDEN = "acme-stock", "northline-cold-chain"


@contextlib.contextmanager
def hub(tradelane):
    """The demo's hub, which stays: it says where it is and gives everyone's keys."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRADELANE_")}
    process = subprocess.Popen([tradelane, "--json", "demo", "--keep", "--load", "0"], stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True, env=environment)
    try:
        text = ""
        for line in process.stdout:
            text += line
            with contextlib.suppress(json.JSONDecodeError):
                yield json.loads(text)["keep"] | {"environment": environment}
                break
        else:
            sys.exit("the hub ended before it said where it is")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


@contextlib.contextmanager
def own_cluster(directory):
    process = subprocess.Popen([*KAFKA, "run", directory], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait(60)


@contextlib.contextmanager
def mirror_maker(directory, folder, values):
    # `$` of MirrorMaker's own would be doubled; there is none.
    text = string.Template((HERE / "mirror.properties").read_text()).substitute(values)
    (folder / "mirror.properties").write_text(text)
    with open(folder / "mirror.log", "wb") as log:
        process = subprocess.Popen([*KAFKA, "tool", directory, "mirror-maker", str(folder / "mirror.properties")],
                                   stdout=log, stderr=log)
    try:
        yield lambda: (folder / "mirror.log").read_text(errors="replace")[-3000:]
    finally:
        process.terminate()
        process.wait(60)


def publish(tradelane, keep, lines):
    key = keep["keys"]["acme-desk"]
    environment = keep["environment"] | {"TRADELANE_URL": keep["url"], "TRADELANE_CA": keep["ca"], "TRADELANE_KEY": key}
    done = subprocess.run([tradelane, "publish", TOPIC, "-"], input=lines, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


def arrived(directory, cluster, topic, at_least):
    """Records of the partner's own cluster."""
    reading = ["--bootstrap-server", cluster["bootstrap"], "--topic", topic, "--from-beginning"]
    read = subprocess.run([*KAFKA, "tool", directory, "console-consumer", *reading, "--timeout-ms", "8000",
                           "--max-messages", str(at_least)], capture_output=True, text=True)
    return [json.loads(line) for line in read.stdout.splitlines() if line.startswith("{")]


def topics(directory, cluster):
    listed = subprocess.run([*KAFKA, "tool", directory, "topics", "--bootstrap-server", cluster["bootstrap"], "--list"],
                            capture_output=True, text=True)
    return set(listed.stdout.split())


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--tradelane", default="target/release/tradelane")
    arguments.add_argument("--kafka", required=True)
    options = arguments.parse_args()
    tradelane, directory = str(pathlib.Path(options.tradelane).resolve()), str(pathlib.Path(options.kafka).resolve())
    stock = (ROOT / "examples/json/acme-stock.ndjson").read_text()
    count = len(stock.splitlines())
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tradelane-mirror-")))
        keep = stack.enter_context(hub(tradelane))
        cluster = stack.enter_context(own_cluster(directory))
        publish(tradelane, keep, stock)
        values = dict(HUB=keep["kafka"], KEY=keep["keys"]["corner-desk"], CA=keep["ca"], MINE=cluster["bootstrap"])
        log = stack.enter_context(mirror_maker(directory, folder, values))
        end = time.monotonic() + 150
        while TOPIC not in topics(directory, cluster):
            assert time.monotonic() < end, "no topic was made: " + log()
            time.sleep(2)
        found = arrived(directory, cluster, TOPIC, count)
        while len(found) < count:
            assert time.monotonic() < end, "%d of %d arrived: %s" % (len(found), count, log())
            found = arrived(directory, cluster, TOPIC, count)
        print("%d records of %s are in the partner's own cluster; the first:" % (len(found), TOPIC))
        print("  " + json.dumps(found[0]))
        assert all(event["onHand"] % 100 == 0 for event in found), "stock is granted in steps of a hundred only"
        publish(tradelane, keep, stock)
        more = arrived(directory, cluster, TOPIC, 2 * count)
        while len(more) < 2 * count:
            assert time.monotonic() < end, "what was published later does not arrive: " + log()
            more = arrived(directory, cluster, TOPIC, 2 * count)
        print("%d after more was published" % len(more))
        assert HIDDEN not in topics(directory, cluster), "what is not granted is not there"
    print("1 passed, 0 failed")


if __name__ == "__main__":
    main()
