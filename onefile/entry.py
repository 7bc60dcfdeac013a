"""Where the one-file program begins (make dist): `bot`, on a machine that may have little of its own."""

import os
import ssl
from pathlib import Path

import certifi

# What is unpacked beside it is for itself, not for the programs that it starts, like sqlite3.
if own := os.environ.pop("LD_LIBRARY_PATH_ORIG", ""):
    os.environ["LD_LIBRARY_PATH"] = own
else:
    os.environ.pop("LD_LIBRARY_PATH", None)
# A machine's own certificates are the newer ones; some have none.
if not Path(ssl.get_default_verify_paths().openssl_capath, "ca-certificates.crt").is_file():
    os.environ.setdefault("SSL_CERT_FILE", certifi.where())

from bot.__main__ import main

main()
