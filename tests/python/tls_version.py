"""A TLS handshake with one version only.

tls_version.py PORT NAME CA VERSION: prints the version that was agreed on, or why none was.
"""

import socket
import ssl
import sys
import warnings


def main(port, name, ca, version):
    warnings.simplefilter("ignore")  # that old versions are old
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca)
    # Otherwise the library itself would refuse the old versions.
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    try:
        with socket.create_connection(("127.0.0.1", int(port)), 10) as plain:
            with context.wrap_socket(plain, server_hostname=name) as secure:
                print(secure.version())
    except ssl.SSLError as error:
        print(error.reason)


main(*sys.argv[1:])
