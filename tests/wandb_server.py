"""A W&B server on this machine, as much of one as wandb needs to log a run to it.

It keeps what it is sent: the upserts of runs, the lines of their history by offset, the files.
"""

import json
import re
import sys
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class WandbServer(ThreadingHTTPServer):
    """Answers on a free port of 127.0.0.1 until it is told to answer with an error.

    `status` is what it answers from now on: 200, or an error's number.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.upserts: list[dict] = []
        self.history: dict[str, dict[int, dict]] = defaultdict(dict)
        self.files: list[str] = []
        self.errors: list[BaseException | None] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_: object) -> None:
        """Keep an error for the test: printed, it could come when the test's stderr is closed.

        A client that hangs up before its answer, as wandb does when it is told to end, makes none.
        """
        error = sys.exception()
        if not isinstance(error, ConnectionError):
            self.errors.append(error)

    def answer(self, path: str, body: bytes) -> dict:
        if path == "/graphql":
            return {"data": self._graphql(json.loads(body))}
        if stream := re.match(r"/files/.*/([^/]+)/file_stream", path):
            sent = json.loads(body).get("files", {}).get("wandb-history.jsonl", {})
            for i, line in enumerate(sent.get("content", [])):
                self.history[stream[1]][sent["offset"] + i] = json.loads(line)
            return {}
        self.files.append(path)
        return {}

    def _graphql(self, request: dict) -> dict:
        name, variables = request["operationName"], request.get("variables") or {}
        if name == "Viewer":
            viewer = {"id": "1", "entity": "me", "username": "me", "email": "", "flags": "{}"}
            return {"viewer": {**viewer, "teams": {"edges": []}}}
        if name == "UpsertBucket":
            self.upserts.append(variables)
            return {"upsertBucket": {"bucket": self._bucket(variables["name"]), "inserted": True}}
        if name == "RunResumeStatus":
            lines = self.history.get(variables["name"])
            return {
                "model": {"id": "1", "name": "metaloop", "bucket": self._resumed(variables)}
            } | ({} if lines else {"model": {"id": "1", "name": "metaloop", "bucket": None}})
        if name == "CreateRunFiles":
            files = [{"name": n, "uploadUrl": f"{self.url}/upload/{n}"} for n in variables["files"]]
            return {"createRunFiles": {"runID": "1", "uploadHeaders": [], "files": files}}
        return {}

    def _bucket(self, run_id: str) -> dict:
        entity = {"id": "1", "name": "me"}
        project = {"id": "1", "name": "metaloop", "entity": entity}
        own = {"id": "1", "name": run_id, "displayName": run_id, "config": "{}"}
        return {**own, "project": project, "historyLineCount": len(self.history[run_id])}

    def _resumed(self, variables: dict) -> dict:
        lines = self.history.get(variables["name"]) or {}
        last = lines[max(lines)] if lines else {}
        return {
            **self._bucket(variables["name"]),
            "summaryMetrics": json.dumps(last),
            "logLineCount": 0,
            "eventsLineCount": 0,
            "historyTail": json.dumps([json.dumps(last)]),
            "eventsTail": "[]",
            "tags": [],
            "wandbConfig": json.dumps({"t": 1}),
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: WandbServer

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status = self.server.status
        answer = self.server.answer(self.path, body) if status == 200 else {"error": "no luck"}
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
