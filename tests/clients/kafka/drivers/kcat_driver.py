"""kcat (librdkafka 2.0.2 in Debian), driven as README.md says."""

import json
import os
import re
import subprocess
import sys

from shared import lines, main, say, settings, still


def common():
    options = {"security.protocol": "SASL_SSL", "ssl.ca.location": settings["ca"], "sasl.mechanisms": settings["mechanism"],
               "sasl.username": settings["user"], "sasl.password": settings["password"], "message.max.bytes": 4000000,
               # It tries the first address of a name only.
               "broker.address.family": "v4", "reconnect.backoff.max.ms": 500}
    return ["kcat", "-b", settings["bootstrap"]] + [part for name, value in options.items() for part in ("-X", "%s=%s" % (name, value))]


def produce():
    """A call has one set of headers and one partition: a call for each."""
    if "transaction" in settings:
        # It has none: what it is to read of them comes from a later librdkafka.
        os.execv(sys.executable, [sys.executable, os.path.join(os.path.dirname(__file__), "librdkafka.py"), "produce"])
    sent = lines()
    calls = {}
    for index, one in enumerate(sent):
        calls.setdefault((one.get("partition"), tuple(one.get("headers", {}).items())), []).append((index, one))
    told = [None] * len(sent)
    for (partition, headers), records in calls.items():
        command = common() + ["-P", "-t", settings["topic"], "-K", "\t", "-z", settings.get("codec", "none"),
                              "-X", "message.timeout.ms=20000"]
        command += [] if partition is None else ["-p", str(partition)]
        command += [part for name, value in headers for part in ("-H", "%s=%s" % (name, value))]
        text = "".join("%s\t%s\n" % (one.get("key") or "", one["value"]) for _, one in records)
        done = subprocess.run(command, input=text, capture_output=True, text=True)
        for index, _ in records:
            told[index] = {} if done.returncode == 0 else {"error": "kcat", "message": done.stderr}
    for one in told:
        say(one)


def consume():
    command = common() + ["-X", "session.timeout.ms=6000", "-X", "heartbeat.interval.ms=1000", "-X", "auto.commit.interval.ms=500",
                          "-X", "isolation.level=" + settings.get("isolation", "read_committed"),
                          "-X", "auto.offset.reset=earliest", # Without -E it ends when no broker can be reached for a moment.
                          "-E", "-J", "-u", "-G", settings["group"], settings["topic"]]
    kcat = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    import threading

    def remarks():
        for line in kcat.stderr:
            if "assigned:" in line:
                say({"held": [int(number) for number in re.findall(r"\[(\d+)\]", line.split("assigned:")[1])]})
            elif "ERROR" in line and not re.search("transport|All broker|Broker: Coordinator|resolve", line):
                say({"error": "kcat", "message": line.strip()})

    def wait():
        while still() and kcat.poll() is None:
            threading.Event().wait(0.1)
        if kcat.poll() is None:
            kcat.terminate()

    for one in (remarks, wait):
        threading.Thread(target=one, daemon=True).start()
    for line in kcat.stdout:
        one = json.loads(line)
        headers = dict(zip(one.get("headers", [])[::2], one.get("headers", [])[1::2]))
        say({"partition": one["partition"], "offset": one["offset"], "key": one["key"] or None, "value": one["payload"], "headers": headers})
    if still():
        say({"error": "kcat", "message": "it ended by itself"})
        sys.exit(1)


main(produce, consume)
