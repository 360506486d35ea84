"""A gRPC service that says its name in `x-upstream`, and its health as a file has it.

health.py PORT NAME FILE: grpc.health.v1.Health answers with the number in FILE: 1 is SERVING, 2 is NOT_SERVING.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import grpc


class Service(grpc.GenericRpcHandler):
    def __init__(self, name, file):
        self.name, self.file = name, file

    def service(self, call):
        if call.method == "/grpc.health.v1.Health/Check":
            return grpc.unary_unary_rpc_method_handler(self.check)
        return grpc.unary_unary_rpc_method_handler(self.answer)

    def check(self, _request, _context):
        with open(self.file, encoding="ascii") as file:
            # HealthCheckResponse: field 1, a varint.
            return bytes([0x08, int(file.read())])

    def answer(self, _request, context):
        context.send_initial_metadata([("x-upstream", self.name)])
        return b""


def main(port, name, file):
    server = grpc.server(ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers([Service(name, file)])
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    print("serving", flush=True)
    server.wait_for_termination()


main(*sys.argv[1:])
