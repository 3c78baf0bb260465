"""How a device's file is run: by the daemon over standard input and output, or on a socket of its own."""

import argparse
import os
import socket
import sys
import threading
import traceback

from .device import Refused
from .link import BINARY, PROTOCOL, TEXT, Gone, Link, ProtocolError


def _converse(cls, link, form):
    """One device over one link, from hello to the end."""
    hello = link.receive()
    if hello.get("op") != "hello" or hello.get("protocol") != PROTOCOL:
        raise ProtocolError(f"protocol {PROTOCOL} begins with a hello, not with {hello}")
    try:
        device = cls(link, hello)
        device.open()
    except Refused as err:
        link.send({"op": "error", "text": str(err)})
        return
    except Exception as err:    # pylint: disable=broad-except
        traceback.print_exc()
        link.send({"op": "error", "text": f"{type(err).__name__}: {err}"})
        return
    link.send(device.describe(form))
    link.use(form)
    device.serve()


def _on_standard_io(cls, form):
    """What the device prints must not get among the messages: it goes to standard error, which is the log."""
    reading, writing = os.dup(0), os.dup(1)
    os.dup2(2, 1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    _converse(cls, Link(reading, writing), form)


def _on_connection(cls, sock, form):
    with sock:
        try:
            _converse(cls, Link(sock.fileno(), sock.fileno()), form)
        except ProtocolError as err:
            print(f"{sys.argv[0]}: {err}", file=sys.stderr)
        except Gone:
            pass


def _listen(cls, sock, form):
    """Each connection is a device of its own, in a thread of its own."""
    with sock:
        while True:
            connection, _ = sock.accept()
            threading.Thread(target=_on_connection, args=(cls, connection, form), daemon=True).start()


def _unix_socket(path):
    sock = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o177)
    try:
        sock.bind(path)
    finally:
        os.umask(mask)
    sock.listen()
    return sock


def _tcp_socket(text):
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text} is not HOST:PORT")
    host = host.strip("[]") or "127.0.0.1"
    return socket.create_server((host, int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET)


def run(cls, argv=None):
    """Be a device of class `cls`, as the command line says; the last statement of a device's file."""
    parser = argparse.ArgumentParser(description=cls.__doc__, epilog="Without --unix or --tcp it is spoken to by "
                                     "standard input and output: that is what outboard run --device does.")
    parser.add_argument("--unix", metavar="PATH", help="listen on this socket")
    parser.add_argument("--tcp", metavar="HOST:PORT", help="listen there")
    parser.add_argument("--text", action="store_true", help="messages as lines of JSON, for people")
    args = parser.parse_args(argv)
    form = TEXT if args.text or os.environ.get("OUTBOARD_TEXT") else BINARY
    try:
        if args.unix:
            _listen(cls, _unix_socket(args.unix), form)
        elif args.tcp:
            _listen(cls, _tcp_socket(args.tcp), form)
        else:
            _on_standard_io(cls, form)
    except Gone:
        pass
    except (ProtocolError, OSError, argparse.ArgumentTypeError) as err:
        sys.exit(f"{sys.argv[0]}: {err}")
    except KeyboardInterrupt:
        sys.exit(130)
