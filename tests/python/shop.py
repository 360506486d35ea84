"""A gRPC service, and clients of it. Messages are bytes, so that nothing has to be generated.

    shop.py serve PORT NAME [SECONDS]       answers every call with NAME, after a time; tells each time that more calls than before are under way
    shop.py call TARGET METHOD [KEYS]       calls for ever on one channel, and prints what answered, one line a call; with KEYS so many users
                                            call in turn, and each line begins with the user
    shop.py crowd TARGET METHOD CALLS       the same with so many calls at once
    shop.py secure ADDRESS METHOD CA NAME   calls once over TLS, where NAME has to be vouched for by CA
"""

import sys
import threading
import time
from concurrent import futures

import grpc


class Answer(grpc.GenericRpcHandler):
    def __init__(self, name, seconds):
        self.name, self.seconds = name.encode(), seconds
        self.lock, self.under_way, self.most = threading.Lock(), 0, 0

    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(self.answer)

    def answer(self, _request, _context):
        with self.lock:
            self.under_way += 1
            if self.under_way > self.most:
                self.most = self.under_way
                print("at once", self.most, flush=True)
        time.sleep(self.seconds)
        with self.lock:
            self.under_way -= 1
        return self.name


def serve(port, name, seconds="0"):
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16), handlers=[Answer(name, float(seconds))])
    if server.add_insecure_port(f"127.0.0.1:{port}") != int(port):
        sys.exit(f"port {port} is taken")
    server.start()
    print("serving", flush=True)
    server.wait_for_termination()


def ask(method, user=None):
    """What one call is answered with."""
    metadata = [("x-user", user)] if user else []
    try:
        return method(b"", timeout=10, wait_for_ready=True, metadata=metadata).decode()
    except grpc.RpcError as error:
        return f"error {error.code().name} {error.details()}"


def call(target, method, keys="0"):
    users = [f"user-{n}" for n in range(int(keys))] or [None]
    with grpc.insecure_channel(target) as channel:
        place = channel.unary_unary(method)
        while True:
            for user in users:
                answer = ask(place, user)
                print(*([user] if user else []), answer, flush=True)
                time.sleep(0.005)


def crowd(target, method, calls):
    with grpc.insecure_channel(target) as channel, futures.ThreadPoolExecutor(int(calls)) as pool:
        place = channel.unary_unary(method)
        while True:
            for answer in pool.map(lambda _: ask(place), range(int(calls))):
                print(answer, flush=True)
            time.sleep(0.005)


def secure(address, method, ca, name):
    with open(ca, "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    options = [("grpc.ssl_target_name_override", name)]
    with grpc.secure_channel(address, credentials, options) as channel:
        print(ask(channel.unary_unary(method)))


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    {"serve": serve, "call": call, "crowd": crowd, "secure": secure}[command](*arguments)
