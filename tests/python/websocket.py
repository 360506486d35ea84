"""A WebSocket server that sends everything back, and a client of it through a proxy.

websocket.py PORT ALLOWED REFUSED: serves on PORT, asks at the URL ALLOWED, which has to lead here, and at REFUSED, which must not.
"""

import sys
import threading

from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.sync.server import serve


def echo(connection):
    for message in connection:
        connection.send(message)


def main(port, allowed, refused):
    with serve(echo, "127.0.0.1", int(port)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with connect(allowed, proxy=None) as connection:
            for message in ["hello", bytes(range(256)) * 1024, ""]:
                connection.send(message)
                assert connection.recv(timeout=10) == message, "not what was sent"
            assert connection.ping().wait(10), "no pong"
        assert connection.protocol.close_code == 1000, connection.protocol.close_code
        print("echoed")
        try:
            with connect(refused, proxy=None):
                print("upgraded")
        except InvalidStatus as error:
            print("refused with", error.response.status_code)


main(*sys.argv[1:])
