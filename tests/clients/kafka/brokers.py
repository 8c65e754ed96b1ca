"""Apache Kafka for the tests: brokers on loopback, as tools/kafka/kafka.py runs them, for as long as a `with` lasts."""

import contextlib
import json
import pathlib
import subprocess
import sys

TOOL = pathlib.Path(__file__).resolve().parents[3] / "tools/kafka/kafka.py"


class Brokers:
    """Running brokers. `facts` is what the tool says of them: bootstrap, plain, data, user, password, ..."""

    def __init__(self, directory, *options):
        self.directory = str(directory)
        command = [sys.executable, str(TOOL), "run", str(directory), *options]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        assert line, "the brokers did not start"
        self.facts = json.loads(line)

    def tell(self, *words):
        """`kill`, `stop` or `start` brokers by their numbers; returns when it is done."""
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        said = self.process.stdout.readline()
        assert said.strip() == "done", said or "the brokers have ended"

    def stop(self):
        self.process.stdin.close()
        self.process.wait(90)


@contextlib.contextmanager
def kafka(directory, *options):
    brokers = Brokers(directory, *options)
    try:
        yield brokers
    finally:
        brokers.stop()
