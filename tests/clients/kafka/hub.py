"""A hub of its own for the clients: products with hidden rows and hidden fields, on a port that a restart keeps."""

import base64
import contextlib
import json
import os
import pathlib
import random
import signal
import socket
import ssl
import subprocess
import time
import urllib.parse
import urllib.request

OWNER, READER = "maker-desk", "buyer-desk"

PEOPLE = """
apiVersion: tradelane/v1
kind: Organization
spec: {id: maker, name: Maker}
---
apiVersion: tradelane/v1
kind: Organization
spec: {id: buyer, name: Buyer}
---
apiVersion: tradelane/v1
kind: Principal
spec: {id: maker-desk, organization: maker, kind: user, roles: [admin, data-owner, publisher, consumer, auditor]}
---
apiVersion: tradelane/v1
kind: Principal
spec: {id: buyer-desk, organization: buyer, kind: user, roles: [admin, data-owner, publisher, consumer, auditor]}
---
apiVersion: tradelane/v1
kind: Principal
spec: {id: maker-app, organization: maker, kind: service, roles: [publisher, consumer]}
---
apiVersion: tradelane/v1
kind: Principal
spec: {id: buyer-app, organization: buyer, kind: service, roles: [consumer]}
"""

CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: %(name)s
version: 1.0.0
status: active
name: %(name)s
tenant: maker
dataProduct: %(name)s
schema:
  - name: order
    logicalType: object
    properties:
      - {name: id, logicalType: string, required: true, classification: public}
      - {name: n, logicalType: integer, required: true, classification: public}
      - {name: lane, logicalType: string, required: true, classification: public}
      - {name: secret, logicalType: string, required: true, classification: confidential}
      - {name: note, logicalType: string, classification: public}
slaProperties:
  - {property: retention, value: 400, unit: d}
customProperties:
  - {property: tradelane, value: {format: json, region: eu, purposes: [replenishment], records: {key: {class: public}, headers: {codec: public}}}}
"""

PRODUCT = """
apiVersion: tradelane/v1
kind: Product
spec: {id: %(name)s, owner: maker, name: %(name)s, contract: %(name)s, partitions: %(partitions)d}
---
apiVersion: tradelane/v1
kind: Grant
spec:
  id: %(name)s-buyer
  product: %(name)s
  consumer: buyer
  purpose: replenishment
  filter: "event.lane in reader.lanes"
  attributes: {lanes: [open]}
  view: {classes: {confidential: drop}}
  topic: %(topic)s
"""

CONFIG = """
data = "%(folder)s/data"
root_key = "%(folder)s/root.key"
[listen]
address = "127.0.0.1:%(http)d"
[kafka]
enabled = true
engine = "%(engine)s"
address = "127.0.0.1:%(kafka)d"
advertised_host = "localhost"
"""


CLUSTER = """
[cluster]
bootstrap = ["%(bootstrap)s"]
mechanism = "SCRAM-SHA-512"
username = "%(user)s"
password_file = "%(folder)s/password"
topic_prefix = "hub."
nodes = 1
first_node_port = %(node)d
"""


class Hub:
    """`cluster`: what brokers.py says of the broker that keeps the records; none: the hub keeps them itself."""

    def __init__(self, tradelane, folder, cluster=None):
        self.tradelane, self.folder = str(pathlib.Path(tradelane).resolve()), pathlib.Path(folder)
        self.http, self.port = free_port(), free_port()
        self.kafka, self.url = "localhost:%d" % self.port, "https://localhost:%d" % self.http
        self.ca = str(self.folder / "data/tls/development-ca.pem")
        self.process, self.output = None, open(self.folder / "hub.log", "ab")
        values = dict(folder=self.folder, http=self.http, kafka=self.port)
        text = CONFIG % dict(values, engine="kafka" if cluster else "embedded")
        if cluster:
            (self.folder / "password").write_text(cluster["password"] + "\n")
            # Ports that clients are told of stay over a restart.
            text += CLUSTER % dict(cluster, folder=self.folder, node=free_port())
        self.has_transactions = cluster is not None
        (self.folder / "hub.toml").write_text(text)
        # A hub's settings can come from TRADELANE_*; none of ours are meant for it.
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("TRADELANE_")}

    def start(self):
        command = [self.tradelane, "serve", "-c", self.folder / "hub.toml"]
        operator = self.folder / "operator.key"
        if not operator.exists():
            command += ["--operator-key-file", operator]
        self.process = subprocess.Popen(command, stdout=self.output, stderr=self.output, env=self.environment)
        end = time.monotonic() + 90
        while True:
            assert self.process.poll() is None, "the hub ended: " + self.log()
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                # It listens for a moment before it has said who its operator is.
                if operator.exists():
                    return
            assert time.monotonic() < end, "the hub does not listen: " + self.log()
            time.sleep(0.1)

    def log(self):
        return (self.folder / "hub.log").read_text(errors="replace")[-2000:]

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.process.kill()
                raise

    def tell(self, who, *arguments):
        command = [self.tradelane, "--json", "--url", self.url, "--ca", self.ca,
                   "--key-file", self.folder / (who + ".key"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment, timeout=90)
        assert done.returncode == 0, "%s: %s %s" % (arguments, done.stdout, done.stderr)
        return json.loads(done.stdout) if done.stdout.strip() else None

    def key(self, who):
        return (self.folder / (who + ".key")).read_text().strip()

    def apply(self, who, **files):
        folder = self.folder / "manifests" / who
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        for name, text in files.items():
            (folder / (name.replace("__", ".") + ".yaml")).write_text(text)
        self.tell(who, "apply", "-y", "-f", folder)

    def people(self):
        self.apply("operator", people=PEOPLE)
        for who in (OWNER, READER):
            self.tell("operator", "keys", "issue", who, "-o", self.folder / (who + ".key"))

    def products(self, partitions_by_name, prefix=""):
        """Products, and grants by which the reader finds them under their names with that prefix, and under no other."""
        files = {}
        for name, partitions in partitions_by_name.items():
            files[name + "__odcs"] = CONTRACT % dict(name=name)
            files[name] = PRODUCT % dict(name=name, partitions=partitions, topic=prefix + name)
        self.apply(OWNER, **files)

    def revoke(self, name):
        self.tell(OWNER, "grants", "revoke", name + "-buyer", "--reason", "the test says so")

    def token(self, who, scope):
        """An access token of a service, for OAUTHBEARER."""
        secret = self.folder / (who + ".secret")
        if not secret.exists():
            self.tell("operator", "keys", "issue", who, "--kind", "client-secret", "-o", secret)
        form = urllib.parse.urlencode({"grant_type": "client_credentials", "scope": scope}).encode()
        request = urllib.request.Request(self.url + "/oauth/token", data=form)
        text = secret.read_text().strip()
        basic = base64.b64encode((text.split("_")[1] + ":" + text).encode()).decode()
        request.add_header("Authorization", "Basic " + basic)
        with urllib.request.urlopen(request, context=ssl.create_default_context(cafile=self.ca), timeout=30) as answer:
            return json.load(answer)["access_token"]


DRAWN = set()


def free_port():
    """A port that nobody listens at, which was not drawn before, and none of those that the system gives to connections."""
    while True:
        port = random.randrange(10_000, 15_000)
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in DRAWN:
            DRAWN.add(port)
            return port
