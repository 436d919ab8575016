"""A stand-in of the Hugging Face hub's HTTP interface: repositories in a dictionary, on a port of this machine."""

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0" * 39 + "1"
FILE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")


class Hub(BaseHTTPRequestHandler):
    """What the hub answers to downloads, to a new repository and to a commit."""

    protocol_version = "HTTP/1.1"
    repos: dict[str, dict[str, bytes]]
    asked: list[str]
    token = "hf_right"

    def log_message(self, *_):
        pass

    def answer(self, status, content=b"", headers=None, *, body=True):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def json(self, value, status=200):
        self.answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def file(self, body):
        self.asked.append(f"{self.command} {self.path}")
        found = FILE.fullmatch(self.path.split("?")[0])
        repo = self.repos.get(found["repo"]) if found else None
        if repo is None:
            return self.answer(404, headers={"X-Error-Code": "RepoNotFound"}, body=body)
        if found["revision"] not in ("main", COMMIT):
            return self.answer(404, headers={"X-Error-Code": "RevisionNotFound"}, body=body)
        if found["file"] not in repo:
            return self.answer(404, headers={"X-Error-Code": "EntryNotFound"}, body=body)
        content = repo[found["file"]]
        etag = hashlib.sha256(content).hexdigest()
        return self.answer(200, content, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}, body=body)

    def do_HEAD(self):
        self.file(body=False)

    def do_GET(self):
        self.file(body=True)

    def do_POST(self):
        self.asked.append(f"POST {self.path}")
        given = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if self.headers.get("Authorization") != f"Bearer {self.token}":
            return self.json({"error": "Invalid username or password."}, 401)
        address = f"http://{self.headers['Host']}"
        if self.path == "/api/repos/create":
            asked = json.loads(given)
            name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
            if name in self.repos:
                return self.json({"url": f"{address}/{name}"}, 409)
            self.repos[name] = {}
            return self.json({"url": f"{address}/{name}"})
        if self.path == "/api/validate-yaml":
            return self.json({"errors": [], "warnings": []})
        name = "/".join(self.path.split("/")[3:5])
        if "/preupload/main" in self.path:
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                for file in json.loads(given)["files"]
            ]
            return self.json({"files": files})
        for line in given.decode().splitlines():  # of a commit
            part = json.loads(line)
            if part["key"] == "file":
                self.repos[name][part["value"]["path"]] = base64.b64decode(part["value"]["content"])
        commit = {"commitUrl": f"{address}/{name}/commit/{COMMIT}", "commitOid": COMMIT, "pullRequestUrl": None}
        return self.json({**commit, "success": True})


@contextmanager
def hub_stand_in():
    """A hub of its own, as its handler's class with `repos` and `asked`, and its address."""
    handler = type("OwnHub", (Hub,), {"repos": {}, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield handler, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
