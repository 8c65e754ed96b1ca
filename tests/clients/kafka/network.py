"""For the examples: a cluster with access rules, in which the hub has a user with no more than it needs, and a hub in front of
it with the organizations of examples/network."""

import contextlib
import pathlib
import string
import subprocess
import sys

from brokers import TOOL, kafka
from hub import Hub, free_port

EXAMPLES = pathlib.Path(__file__).resolve().parents[3] / "examples"
DESKS = ("acme-desk", "northline-desk", "medidis-desk", "corner-desk")
PASSWORD = "the-hubs-own-password"


class Network(Hub):
    """A hub whose configuration is an example's."""

    def __init__(self, tradelane, folder, template, cluster):
        super().__init__(tradelane, folder)
        (folder / "password").write_text(PASSWORD + "\n")
        values = dict(FOLDER=folder, HTTP=self.http, KAFKA=self.port, NODE=free_port(), BROKERS=cluster["bootstrap"],
                      CLUSTER_CA=cluster["ca"])
        (folder / "hub.toml").write_text(string.Template(template.read_text()).substitute(values))

    def settle(self):
        """All organizations, their products and grants, and a key for each desk."""
        self.tell("operator", "apply", "-y", "-f", EXAMPLES / "network/organizations.yaml")
        for who in DESKS:
            self.tell("operator", "keys", "issue", who, "-o", self.folder / (who + ".key"))
        for owner in ("acme", "northline"):
            self.tell(owner + "-desk", "apply", "-y", "-f", EXAMPLES / "network" / owner)

    def client(self, who, **more):
        """Settings of librdkafka for that desk."""
        return {"bootstrap.servers": self.kafka, "security.protocol": "SASL_SSL", "ssl.ca.location": self.ca,
                "sasl.mechanisms": "PLAIN", "sasl.username": who, "sasl.password": self.key(who), "log_level": 0,
                "broker.address.family": "v4", **{name.replace("_", "."): value for name, value in more.items()}}


class Cluster:
    """The brokers, and their administrator's tools."""

    def __init__(self, brokers):
        self.facts, self.directory = brokers.facts, brokers.directory

    def tool(self, name, *arguments, give=None):
        command = [sys.executable, TOOL, "tool", self.directory, name, "--bootstrap-server", self.facts["plain"]]
        done = subprocess.run([*command, *arguments], input=give, capture_output=True, text=True, errors="replace", timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def user(self, name, password):
        self.tool("configs", "--alter", "--entity-type", "users", "--entity-name", name,
                  "--add-config", "SCRAM-SHA-512=[iterations=4096,password=%s]" % password)

    def allow(self, name, rules):
        for rule in rules.read_text().splitlines():
            if not rule.startswith("#"):
                self.tool("acls", "--add", "--allow-principal", "User:" + name, *rule.split())

    def client(self, name, password, **more):
        """Settings of librdkafka for somebody who goes to the brokers themselves."""
        return {"bootstrap.servers": self.facts["bootstrap"], "security.protocol": "SASL_SSL", "ssl.ca.location": self.facts["ca"],
                "sasl.mechanisms": "SCRAM-SHA-512", "sasl.username": name, "sasl.password": password, "log_level": 0,
                **{key.replace("_", "."): value for key, value in more.items()}}


@contextlib.contextmanager
def cluster(directory):
    with kafka(directory, "--security", "sasl-tls", "--acls") as brokers:
        yield Cluster(brokers)


@contextlib.contextmanager
def hub_before(tradelane, folder, example, cluster):
    """The hub with that example's configuration and access rules."""
    cluster.user("tradelane", PASSWORD)
    cluster.allow("tradelane", EXAMPLES / example / "acls.txt")
    hub = Network(tradelane, folder, EXAMPLES / example / "tradelane.toml", cluster.facts)
    try:
        hub.start()
        hub.settle()
        yield hub
    finally:
        hub.stop()
