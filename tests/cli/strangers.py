"""Strangers at a port, until they are told to stop: what anybody who reaches a port can do to it.

usage: strangers.py KIND PORT SECONDS [COUNT]     on 127.0.0.1; one line at the end: how many connections were made

kinds:
  silent     COUNT connections that say nothing; one that is ended is replaced
  half       the same, each with the first bytes of a hello
  storm      connections as fast as they can be made and left
  random     connections that send 4 KiB of noise
  slow       COUNT connections that send a byte of a hello each tenth of a second
  crafted    headers of CAF's protocol: a handshake without a payload, a length of 4 GB
  hello      a true hello, then noise instead of a proof
  tls        the start of a TLS handshake, then noise
"""

import os
import random
import resource
import selectors
import socket
import sys
import time

HELLO = b"COLLIE\0\1" + bytes(32) + b"0.1.0 (messages 2)".ljust(24, b"\0")
CLIENT_HELLO = bytes.fromhex("16030100f8010000f40303") + bytes(237)


def words(kind):
    if kind == "half":
        return HELLO[:10]
    if kind == "random":
        return random.randbytes(4096)
    if kind == "crafted":
        return random.choice([bytes(8) + b"A" * 24, bytes(4) + b"\xff" * 4 + b"A" * 24, b"\xff" * 36])
    if kind == "hello":
        return HELLO + random.randbytes(185)
    if kind == "tls":
        return random.choice([CLIENT_HELLO, CLIENT_HELLO[:40], CLIENT_HELLO + random.randbytes(500)])
    return b""


def begin(port):
    stranger = socket.socket()
    stranger.setblocking(False)
    try:
        stranger.connect(("127.0.0.1", port))
    except BlockingIOError:
        pass
    return stranger


def keep(kind, port, end, count):
    """COUNT connections at a time."""
    made, selector, sent = 0, selectors.DefaultSelector(), {}
    while time.monotonic() < end:
        while len(sent) < count:
            try:
                stranger = begin(port)
            except OSError:
                break
            selector.register(stranger, selectors.EVENT_READ | (0 if kind == "silent" else selectors.EVENT_WRITE))
            sent[stranger] = 0
            made += 1
        if kind == "slow":
            time.sleep(0.1)
        for key, events in selector.select(0.05):
            stranger = key.fileobj
            over = False
            try:
                if events & selectors.EVENT_WRITE:
                    if kind == "slow":
                        stranger.send(HELLO[sent[stranger] % 64:][:1])
                        sent[stranger] += 1
                    else:
                        stranger.send(words(kind))
                        selector.modify(stranger, selectors.EVENT_READ)
                if events & selectors.EVENT_READ:
                    over = not stranger.recv(4096)
            except BlockingIOError:
                pass
            except OSError:
                over = True
            if over:
                selector.unregister(stranger)
                stranger.close()
                del sent[stranger]
    return made


def storm(port, end):
    made = 0
    while time.monotonic() < end:
        try:
            stranger = socket.create_connection(("127.0.0.1", port), 0.2)
            stranger.close()
            made += 1
        except OSError:
            pass
    return made


def main():
    kind, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    count = int(sys.argv[4]) if len(sys.argv) > 4 else 64
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = count + 64
    if most != resource.RLIM_INFINITY and most < wanted and os.geteuid() == 0:
        most = wanted
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, most), max(wanted, most)))
    except (ValueError, OSError):
        pass
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # strangers are confined to one processor
    random.seed(1)
    end = time.monotonic() + seconds
    made = storm(port, end) if kind == "storm" else keep(kind, port, end, count)
    print(f"{kind}: {made} connections", flush=True)


main()
