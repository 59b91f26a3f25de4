"""``python -m sglang.launch_server``: answers on /health, and on /speed for the stand-in of its client."""

from __future__ import annotations

import http.server
import os

from sglang._arguments import parser
from sglang._engine import Engine, speed


def main() -> None:
    options = parser()
    options.add_argument("--host", default="127.0.0.1")
    options.add_argument("--port", type=int, default=30000)
    arguments = options.parse_args()
    engine = Engine(arguments)
    if os.environ.get("FAKE_FAILS"):
        engine.shutdown()
        raise RuntimeError("CUDA out of memory")

    cold = [float(os.environ.get("FAKE_COLD", "1"))]  # the first client finds a slower server

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            factor = cold.pop() if cold and self.path == "/speed" else 1.0
            body = str(factor * speed(arguments)).encode() if self.path == "/speed" else b""
            self.send_response(200 if self.path in ("/health", "/speed") else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    http.server.ThreadingHTTPServer((arguments.host, arguments.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
