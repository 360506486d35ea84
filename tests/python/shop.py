"""A gRPC service, and a client that finds it over xDS. Messages are bytes, so that nothing has to be generated.

    shop.py serve PORT NAME     answers every call with NAME
    shop.py call TARGET METHOD  calls for ever on one channel, and prints what answered, one line a call
"""

import sys
import time
from concurrent import futures

import grpc


class Answer(grpc.GenericRpcHandler):
    def __init__(self, name):
        self.name = name.encode()

    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(lambda request, context: self.name)


def serve(port, name):
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4), handlers=[Answer(name)])
    if server.add_insecure_port(f"127.0.0.1:{port}") != int(port):
        sys.exit(f"port {port} is taken")
    server.start()
    print("serving", flush=True)
    server.wait_for_termination()


def call(target, method):
    with grpc.insecure_channel(target) as channel:
        place = channel.unary_unary(method)
        while True:
            try:
                print(place(b"", timeout=10, wait_for_ready=True).decode(), flush=True)
            except grpc.RpcError as error:
                print("error", error.code().name, error.details(), flush=True)
            time.sleep(0.005)


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    {"serve": serve, "call": call}[command](*arguments)
