"""Proves that Thaw and Python find what the other downloaded. Run by hand, with the program built:

    python hub/testdata/interop.py bin/thaw

A small server stands in for Hugging Face's hub, with a tiny BERT in one file and in shards, as transformers saves it.
"""

import hashlib
import http.server
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import urllib.parse

work = pathlib.Path(tempfile.mkdtemp())
os.environ["HF_HOME"] = str(work / "unused")
os.environ["HF_HUB_DISABLE_XET"] = "1"
thaw = os.path.abspath(sys.argv[1])
commit = "0123456789abcdef0123456789abcdef01234567"

repos = {}  # name: {file: bytes}


class Hub(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, code, body=b"", headers={}):
        self.send_response(code)
        for k, v in headers.items():
            self.send_header(k, v)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        path = urllib.parse.unquote(urllib.parse.urlparse(self.path).path)
        if path.startswith("/cdn/"):
            _, _, org, name, file = path.split("/", 4)
            return self.answer(200, repos[org + "/" + name][file], {"ETag": '"cdn"'})
        if path.startswith("/api/models/"):
            repo, _, rest = path.removeprefix("/api/models/").partition("/tree/" if "/tree/" in path else "/revision/")
            if repo not in repos:
                return self.answer(404, b"", {"X-Error-Code": "RepoNotFound"})
            files = repos[repo]
            if "/tree/" in path:
                tree = [{"type": "file", "path": f, "size": len(d), "oid": blob(d), **({"lfs": {"oid": etag(f, d), "size": len(d), "pointerSize": 134}} if large(f) else {})} for f, d in files.items()]
                return self.answer(200, json.dumps(tree).encode(), {"Content-Type": "application/json"})
            info = {"id": repo, "sha": commit, "siblings": [{"rfilename": f} for f in files], "tags": [], "downloads": 0, "likes": 0, "private": False}
            return self.answer(200, json.dumps(info).encode(), {"Content-Type": "application/json"})
        repo, _, rest = path[1:].partition("/resolve/")
        file = rest.partition("/")[2]
        if file not in repos.get(repo, {}):
            return self.answer(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        data = repos[repo][file]
        headers = {"X-Repo-Commit": commit, "ETag": f'"{etag(file, data)}"'}
        if large(file):
            headers |= {"X-Linked-Etag": headers["ETag"], "X-Linked-Size": str(len(data)), "Location": f"http://localhost:{port}/cdn/{repo}/{file}"}
            return self.answer(302, b"", headers)
        self.answer(200, data, headers)

    do_HEAD = do_GET


def blob(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def large(file):
    return file.endswith((".safetensors", ".bin"))


def etag(file, data):
    return hashlib.sha256(data).hexdigest() if large(file) else blob(data)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
port = server.server_address[1]
threading.Thread(target=server.serve_forever, daemon=True).start()
endpoint = f"http://127.0.0.1:{port}"

import torch
import torchvision
import transformers

config = transformers.BertConfig(vocab_size=100, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
model = transformers.BertModel(config).eval()
for repo, options in [("org/tiny", {}), ("org/shards", {"max_shard_size": "20KB"})]:
    folder = work / repo
    model.save_pretrained(folder, **options)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "world"]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    repos[repo] = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def run(command, **env):
    got = subprocess.run(command, env=os.environ | env, capture_output=True, text=True, timeout=120)
    assert got.returncode == 0, (command, got.stdout, got.stderr)
    return got.stdout.strip().split("\n")[-1]


LOAD = """
import sys, torch, transformers, huggingface_hub
from huggingface_hub import snapshot_download, try_to_load_from_cache, scan_cache_dir
repo = sys.argv[1]
folder = snapshot_download(repo)
assert try_to_load_from_cache(repo, "config.json") == folder + "/config.json"
report = scan_cache_dir()
assert not report.warnings, report.warnings
assert [r.repo_id for r in report.repos] == [repo]
model = transformers.AutoModel.from_pretrained(repo).eval()
tokens = transformers.AutoTokenizer.from_pretrained(repo)("hello world", return_tensors="pt")
assert tokens["input_ids"].tolist() == [[2, 5, 6, 3]], tokens
with torch.no_grad():
    print(folder, model(**tokens).last_hidden_state.double().sum().item())
"""
tokens = torch.tensor([[2, 5, 6, 3]])
with torch.no_grad():
    want = model(tokens).last_hidden_state.double().sum().item()

nowhere = "http://127.0.0.1:1"
for repo in repos:
    cache = str(work / "by-thaw" / repo)
    at = run([thaw, "download", repo], HF_HOME=cache, HF_ENDPOINT=endpoint)
    folder, got = run([sys.executable, "-c", LOAD, repo], HF_HOME=cache, HF_ENDPOINT=nowhere, HF_HUB_OFFLINE="1").split()
    assert folder == at and float(got) == want, (folder, at, got, want)
    print(f"{repo}: downloaded by thaw, loaded by transformers offline: the same outputs")

    cache = str(work / "by-python" / repo)
    folder = run([sys.executable, "-c", f"from huggingface_hub import snapshot_download; print(snapshot_download({repo!r}))"], HF_HOME=cache, HF_ENDPOINT=endpoint)
    at = run([thaw, "download", repo], HF_HOME=cache, HF_ENDPOINT=nowhere, HF_HUB_OFFLINE="1")
    assert folder == at, (folder, at)
    print(f"{repo}: downloaded by huggingface_hub, found by thaw offline: {at.removeprefix(str(work))}")

    # Both layouts are the same, link by link.
    def links(cache):
        root = pathlib.Path(cache) / "hub"
        return {str(p.relative_to(root)): os.readlink(p) for p in root.rglob("*") if p.is_symlink()}

    ours, theirs = links(work / "by-thaw" / repo), links(work / "by-python" / repo)
    assert ours and ours.items() <= theirs.items(), (ours, theirs)

torch_home = work / "torch"
(torch_home / "hub/checkpoints").mkdir(parents=True)
expected = {}
for name, weights in [("resnet18", torchvision.models.ResNet18_Weights.DEFAULT), ("resnet50", torchvision.models.ResNet50_Weights.DEFAULT)]:
    m = torchvision.models.get_model(name)
    at = str(torch_home / "hub/checkpoints" / os.path.basename(weights.url))
    torch.save(m.state_dict(), at)  # stands in for the published weights: torchvision hashes only what it downloads
    assert run([thaw, "download", "--offline", name], TORCH_HOME=str(torch_home)) == at
    os.environ["TORCH_HOME"] = str(torch_home)
    loaded = torchvision.models.get_model(name, weights="DEFAULT")
    assert all(torch.equal(a, b) for a, b in zip(m.state_dict().values(), loaded.state_dict().values()))
    print(f"{name}: thaw and torchvision name the same file: {os.path.basename(at)}")
print("huggingface_hub", __import__("huggingface_hub").__version__, "transformers", transformers.__version__, "torchvision", torchvision.__version__)
