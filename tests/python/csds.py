"""Asks a control plane what its clients have, with the stubs that are published for Envoy's protocols.

    csds.py ADDRESS   prints a line for each resource: node, type, name, status
"""

import sys

import grpc
from envoy.admin.v3 import config_dump_shared_pb2
from envoy.service.status.v3 import csds_pb2, csds_pb2_grpc

STATUS = config_dump_shared_pb2.ClientResourceStatus


def main(address):
    with grpc.insecure_channel(address) as channel:
        stub = csds_pb2_grpc.ClientStatusDiscoveryServiceStub(channel)
        answer = stub.FetchClientStatus(csds_pb2.ClientStatusRequest(), timeout=10)
        (streamed,) = stub.StreamClientStatus(iter([csds_pb2.ClientStatusRequest()]), timeout=10)
    if len(streamed.config) != len(answer.config):
        sys.exit("the two methods differ")
    for config in answer.config:
        for resource in config.generic_xds_configs:
            kind = resource.type_url.rpartition(".")[2]
            print(config.node.id, kind, resource.name, STATUS.Name(resource.client_status))


if __name__ == "__main__":
    main(sys.argv[1])
