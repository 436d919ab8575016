"""Models on the hub: sent, fetched once, found offline; and one line for what goes wrong."""

import copy
import html
import os
import re
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from transflow import load, wrap
from transflow.conditioning import published
from transflow.conditioning.published import card
from transflow.store.hub import HubName, download, upload

pytest.importorskip("huggingface_hub")
from hub_stand_in import Hub, hub_stand_in

CODE = """
import sys, transflow
try:
    {code}
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.fixture
def run(tmp_path):
    """Runs a line of Python in a process that knows the stand-in alone."""

    def run(code, address, *, offline=False, token=Hub.token):
        own = {
            "HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1" if offline else "0",
            "HF_TOKEN": token, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "*",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }  # fmt: skip
        found = subprocess.run(
            [sys.executable, "-c", CODE.format(code=code)], env={**os.environ, **own}, capture_output=True, text=True
        )
        assert "Traceback" not in found.stderr, found.stderr
        return found.stdout.strip()

    return run


def test_a_model_goes_to_the_hub_and_comes_back(run, model_file, tmp_path):
    own = load(model_file)
    with hub_stand_in() as (hub, address):
        sent = run(f"print(transflow.load({str(model_file)!r}).push_to_hub('ann/tiny'))", address)
        assert sent == f"{address}/ann/tiny"
        assert hub.repos["ann/tiny"]["model.safetensors"] == model_file.read_bytes()
        assert b'transflow.load("hf://ann/tiny")' in hub.repos["ann/tiny"]["README.md"]
        show = "m = transflow.load('hf://ann/tiny'); print(m.name, m.fingerprint)"
        assert run(show, address) == f"hf://ann/tiny {own.fingerprint}"
        before = len([line for line in hub.asked if line.startswith("GET")])
        run(show, address)
        assert len([line for line in hub.asked if line.startswith("GET")]) == before  # from the cache
    assert run(show, address, offline=True) == f"hf://ann/tiny {own.fingerprint}"  # the hub is gone
    assert run(show, address) == f"hf://ann/tiny {own.fingerprint}"


def test_what_goes_wrong_is_one_line(run, model_file):
    with hub_stand_in() as (hub, address):
        hub.repos["ann/empty"] = {}
        for name, words in {
            "hf://ann/none": "no such repository",
            "hf://ann/empty": "a repository without this file",
            "hf://ann/empty@v9": "no such revision",
        }.items():
            said = run(f"transflow.load({name!r})", address)
            assert said.startswith("FileNotFoundError Expected the model"), said
            assert words in said
            assert "\n" not in said
        refused = run(f"transflow.load({str(model_file)!r}).push_to_hub('ann/x')", address, token="hf_wrong")
        assert refused.startswith("OSError Expected to write to the repository ann/x"), refused
    gone = run("transflow.load('hf://ann/tiny')", address)
    assert "no answer from the hub" in gone
    assert "\n" not in gone


def test_a_posterior_does_not_decide_what_is_downloaded(run, model_file, pixels, tmp_path):
    path = tmp_path / "p.safetensors"
    model = load(model_file)
    type(model)(model.source, "hf://ann/tiny").condition(pixels).save(path)
    with hub_stand_in() as (hub, address):
        hub.repos["ann/tiny"] = {"model.safetensors": model_file.read_bytes()}
        said = run(f"transflow.load_posterior({str(path)!r})", address)
        assert "a file does not decide what is downloaded" in said
        assert not hub.asked
        run("transflow.load('hf://ann/tiny')", address)
        asked = len(hub.asked)
        hub.repos["ann/tiny"]["model.safetensors"] = b"other weights by now"
        assert run(f"print(transflow.load_posterior({str(path)!r}).model.name)", address) == "hf://ann/tiny"
        assert len(hub.asked) == asked  # of the cache alone


def test_a_folder_with_a_model_is_one(model_file, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(model_file.read_bytes())
    assert load(tmp_path).fingerprint == load(model_file).fingerprint


@pytest.mark.parametrize("name", ["hf://", "hf://ann", "hf://ann/../x", "hf://ann/x/y.bin", "hf://ann/x@", "hf:ann/x"])
def test_names(name):
    with pytest.raises(ValueError, match=r"Expected hf://user/repo"):
        HubName.parse(name)


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"pip install 'transflow\[hub\]'"):
        download("hf://ann/tiny")


def test_cards_and_other_models(model_file):
    shown = card(load(model_file), "ann/tiny")
    head = shown.split("---")[1]
    assert "library_name: transflow" in head
    assert 'license_name: "none"' in head
    other = wrap(encode=lambda x: 2 * x.flatten(1), decode=lambda z: z.view(-1, 1, 2, 2) / 2, shape=(1, 2, 2))
    with pytest.raises(TypeError, match="own families"):
        other.push_to_hub("ann/other")


@pytest.fixture
def sent(monkeypatch, tmp_path):
    """Reads what a model sends to the hub."""

    def read(model):
        files = {}
        monkeypatch.setattr(published, "upload", lambda repo, given, **_: files.update(given))
        model.push_to_hub("ann/tiny")
        (tmp_path / "sent.safetensors").write_bytes(files["model.safetensors"])
        return load(tmp_path / "sent.safetensors")

    return read


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_a_model_of_any_precision_is_sent_as_itself(sent, model_file, dtype):
    model = load(model_file, dtype=dtype)
    assert sent(model).fingerprint == model.fingerprint
    assert sent(replace(model, file=None)).fingerprint == model.fingerprint


def test_a_stopped_pyramid_is_not_sent_as_the_whole(sent):
    model = load("faces-64")
    found = sent(model)
    assert found.shape == (3, 64, 64)
    assert found.fingerprint == model.fingerprint


def test_weights_that_are_not_those_of_the_file(sent, model_file):
    """Trained on, and so of single precision; and a file that was replaced."""
    model = load(model_file)
    source = copy.deepcopy(model.source)
    with torch.no_grad():
        next(p for p in source.flow.parameters() if p.ndim > 1).add_(1e-5)
    changed = replace(model, source=type(source)(source.flow, source.pixels, source.card))
    assert changed.fingerprint != model.fingerprint
    assert sent(changed).fingerprint == changed.fingerprint


@pytest.mark.parametrize(
    "text",
    ['a "b": c', "yes", "null", "1.0", "x # y", "? a", "@a", "`a`", "> x", "a\nb: c", "---\nlicense: mit\n---",
     "don't: x\\", "é😀", "~", "2024-01-01"],
)  # fmt: skip
def test_what_a_card_says_stays_one_value(model, text):
    hub, yaml = pytest.importorskip("huggingface_hub"), pytest.importorskip("yaml")
    said = replace(model, source=_saying(model.source, licence=text, name=text))
    shown = card(said, "ann/tiny")
    found = hub.ModelCard(shown).data.to_dict()
    assert found == yaml.safe_load(shown.split("\n---\n")[0])
    assert re.fullmatch(r"[a-z0-9.-]+", found["license_name"])
    assert f"| licence | {html.escape(' '.join(text.split()), quote=False).replace('|', chr(92) + '|')} |" in shown
    assert found["library_name"] == "transflow"
    assert found["license"] == "other"


def test_what_a_card_says_is_no_markup(model):
    said = _saying(model.source, name="<script>x</script>\ud800\x07", data={"a|b": "<b>c|d", "n": True})
    shown = card(replace(model, source=said), "ann/tiny")
    shown.encode()
    assert "<script>" not in shown
    assert "| trained on | a\\|b: &lt;b&gt;c\\|d, n: True |" in shown


def _saying(source, **words):
    return type(source)(source.flow, source.pixels, {**source.card, **words})


@pytest.mark.parametrize("repo", ["ann/x@v2", "ann/x/other.safetensors", "hf://ann/x", "ann", "ann/x--y", None])
def test_where_nothing_can_be_sent(repo):
    with pytest.raises(ValueError, match="Expected user/repo to send to"):
        upload(repo, {"a": b""}, private=None, token="hf_right", message="m")


@pytest.mark.parametrize("token", ["hf_secret\n", "hf_secret é"])
def test_a_token_is_never_shown(token):
    with pytest.raises(ValueError, match="Expected a token") as raised:
        upload("ann/x", {"a": b""}, private=None, token=token, message="m")
    assert "secret" not in repr(raised.value)


def test_a_name_that_the_hub_does_not_take():
    with pytest.raises(FileNotFoundError, match="a name that the hub does not take"):
        download("hf://ann/x--y")
