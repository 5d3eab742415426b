"""An S3 server for tests: moto with a bucket, behind a delay. Arguments: port, delay in milliseconds."""

import logging
import sys
import time

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3.models import s3_backends
from moto.core import DEFAULT_ACCOUNT_ID
from werkzeug.serving import WSGIRequestHandler, run_simple

port, delay = int(sys.argv[1]), int(sys.argv[2]) / 1000
s3_backends[DEFAULT_ACCOUNT_ID]["aws"].create_bucket("castback", "us-east-1")
moto = DomainDispatcherApplication(create_backend_app)


def slow(environ, start_response):
    time.sleep(delay)
    return moto(environ, start_response)


# Connections are kept; one line a request would be too many.
WSGIRequestHandler.protocol_version = "HTTP/1.1"
logging.getLogger("werkzeug").setLevel(logging.ERROR)
run_simple("127.0.0.1", port, slow, threaded=True)
