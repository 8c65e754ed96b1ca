"""What the drivers in Python have in common: settings in, lines of JSON in and out, an end."""

import json
import os
import sys
import threading

settings = json.loads(os.environ["SETTINGS"])
_ended = threading.Event()
_lock = threading.Lock()


def say(what):
    with _lock:
        print(json.dumps(what), flush=True)


def lines():
    return [json.loads(line) for line in sys.stdin]


def still():
    return not _ended.is_set()


def main(produce, consume):
    if sys.argv[1] == "produce":
        return produce()
    threading.Thread(target=lambda: (sys.stdin.read(), _ended.set()), daemon=True).start()
    consume()
