#!/usr/bin/env python3
"""Runs a command beside a hub full of the demo's organizations, keys and events, and ends the hub with it.

    tools/with-hub.py [--tradelane target/release/tradelane] COMMAND...

The command finds in its environment:
    HUB_URL               https://127.0.0.1:PORT
    HUB_KAFKA             localhost:PORT, for Kafka clients
    HUB_CA                the development authority's certificate, PEM
    HUB_KEY_<PRINCIPAL>   an API key of each principal of the demo: HUB_KEY_ACME_DESK, ...
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--tradelane", default="target/release/tradelane")
    arguments.add_argument("command", nargs=argparse.REMAINDER)
    options = arguments.parse_args()

    # A hub's settings can come from TRADELANE_*; none of ours are meant for it.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRADELANE_")}
    demo = [options.tradelane, "--json", "demo", "--keep", "--load", "0"]
    hub = subprocess.Popen(demo, stdout=subprocess.PIPE, env=environment, text=True)
    watchdog = threading.Timer(120, hub.kill)
    watchdog.start()
    try:
        facts = first_value(hub.stdout)
        watchdog.cancel()
        # What it says from here on is not ours to read, but its pipe must not fill up.
        threading.Thread(target=hub.stdout.read, daemon=True).start()
        keep = facts["keep"]
        # Node has no other way to be told whom to trust.
        environment.update(HUB_URL=keep["url"], HUB_KAFKA=keep["kafka"], HUB_CA=keep["ca"], NODE_EXTRA_CA_CERTS=keep["ca"])
        for principal, key in keep["keys"].items():
            environment["HUB_KEY_" + principal.upper().replace("-", "_")] = key
        status = subprocess.run(options.command, env=environment).returncode
        if hub.poll() is not None:
            sys.exit(f"the hub ended before the command did, with {hub.returncode}")
        sys.exit(status)
    finally:
        watchdog.cancel()
        hub.send_signal(signal.SIGINT)
        try:
            hub.wait(30)
        except subprocess.TimeoutExpired:
            hub.kill()
            sys.exit("the hub did not end within 30 seconds of being asked")


def first_value(lines):
    """The first whole JSON value of a stream that does not end."""
    text = ""
    for line in lines:
        text += line
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            continue
    sys.exit(f"the hub ended before it said where it is: {text[:2000]}")


if __name__ == "__main__":
    main()
