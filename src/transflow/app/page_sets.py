"""A set of pictures in the page: dropped files, the camera, or a sample set; shown as the model sees them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from transflow.app import markup
from transflow.app.gathering import seen
from transflow.app.sessions import PictureSet
from transflow.app.shelf import SAMPLES
from transflow.app.uploads import take
from transflow.app.wiring import Asked, Wires

KINDS = {title: kind for kind, title in SAMPLES.items()}
FIRST = SAMPLES["drawn"]  # the sample set with which a page opens


@dataclass(frozen=True, eq=False)
class SetPanel:
    """The components of a set.

    Attributes:
        key: of the set, in a session.
        strip: shows the pictures.
        left_out: chooses which of them are passed over.
        changes: events after which the set is another.
    """

    key: str
    strip: Any
    left_out: Any
    changes: tuple[Any, ...]


def set_panel(
    wires: Wires,
    key: str,
    label: str,
    model: Any,
    *,
    camera: bool = False,
    opens: Any = None,
) -> SetPanel:
    """Build a set's components where the page is being built, and wire them.

    Args:
        wires: to the framework.
        key: of the set.
        label: what the pictures are.
        model: the component that has the model's name.
        camera: offer the camera, too.
        opens: the event of the page's opening, with which the first sample set is taken; None to begin without.
    """
    gr = wires.gr
    files = gr.File(label=label, file_count="multiple", height=150, elem_id=f"{key}-files")
    with gr.Row():
        sample = gr.Dropdown(
            list(KINDS), value=None, label="or take a sample set", min_width=160, scale=2, elem_id=f"{key}-sample"
        )
        clear = gr.Button("Clear", size="sm", min_width=80, scale=0, elem_id=f"{key}-clear")
    aligned = gr.Checkbox(False, label="Find the faces and turn them upright", visible=wires.align is not None)
    strip = gr.HTML(markup.evidence(), elem_id=f"{key}-strip", padding=False)
    words = "Leave some out, or use the camera" if camera else "Leave some out"
    with gr.Accordion(words, open=False, elem_id=f"{key}-more"):
        left_out = gr.Dropdown([], value=[], multiselect=True, label="Leave out", elem_id=f"{key}-out")
        if camera:
            photo = gr.Image(sources=["webcam"], type="filepath", label="Camera", height=240, elem_id=f"{key}-camera")
            use = gr.Button("Add this picture", size="sm", elem_id=f"{key}-use")
    outputs = [strip, left_out]

    def shown(asked: Asked, name: str, words: str = "") -> list[Any]:
        found = wires.shelf.model(asked.session, name)
        given = asked.session.set_of(key)
        some = seen(wires.shelf, asked.session, key, found, asked.work(key))
        every = sorted({*some.names, *given.left_out}, key=_natural)
        choices = gr.update(choices=every, value=sorted(given.left_out, key=_natural))
        return [markup.note(words) + markup.evidence(some), choices]

    def add(asked: Asked, paths: list[str] | None, name: str, turn: bool) -> list[Any]:
        session = asked.session
        before = session.set_of(key)
        taken = take(session, paths or [], have=len(before.pictures), align=wires.align if turn else None)
        with session.lock:
            session.sets[key] = session.set_of(key).with_more(taken.pictures)
        return [None, None, *shown(asked, name, taken.note)]

    def choose(asked: Asked, title: str | None, name: str) -> list[Any]:
        if title not in KINDS:
            return [gr.skip()] * 2
        asked.session.sets[key] = PictureSet(sample=KINDS[title])
        return shown(asked, name)

    def empty(asked: Asked, name: str) -> list[Any]:
        asked.session.sets.pop(key, None)
        return [None, *shown(asked, name)]

    def leave(asked: Asked, names: list[str] | None, name: str) -> list[Any]:
        session = asked.session
        with session.lock:
            session.sets[key] = replace(session.set_of(key), left_out=frozenset(names or []))
        return [shown(asked, name)[0]]

    cleared = [None, gr.skip(), gr.skip(), gr.skip()]  # the files, whatever became of them
    changes = [
        wires.on(files.upload, add, [files, model, aligned], [files, sample, *outputs], shows="full", failed=cleared),
        wires.on(sample.input, choose, [sample, model], outputs, shows="full"),
        wires.on(clear.click, empty, [model], [sample, *outputs]),
        wires.on(left_out.input, leave, [left_out, model], [strip]),
        wires.on(model.change, shown, [model], outputs),
    ]
    if opens is not None:

        def begin(asked: Asked, name: str) -> list[Any]:
            if key not in asked.session.sets:
                asked.session.sets[key] = PictureSet(sample=KINDS[FIRST])
            return [FIRST, *shown(asked, name)]

        changes.append(wires.on(opens, begin, [model], [sample, *outputs], shows="full"))
    if camera:

        def add_photo(asked: Asked, path: str | None, name: str, turn: bool) -> list[Any]:
            return [None, *add(asked, [path] if path else [], name, turn)[1:]]

        changes.append(
            wires.on(
                use.click, add_photo, [photo, model, aligned], [photo, sample, *outputs], shows="full", failed=cleared
            )
        )
    return SetPanel(key, strip, left_out, tuple(changes))


def after(wires: Wires, panels: Iterable[SetPanel], function: Any, inputs: list[Any], outputs: list[Any]) -> list[Any]:
    """Call a function whenever one of these sets has become another, and has to be encoded; return the events."""
    how = {"group": "encode", "shows": "minimal", "trigger_mode": "always_last"}
    return [wires.then(change, function, inputs, outputs, **how) for panel in panels for change in panel.changes]


def _natural(name: str) -> tuple[Any, ...]:
    """A key by which "face 10" comes after "face 9"."""
    parts = "".join(c if c.isdigit() else " " for c in name).split()
    return (*(int(part) for part in parts[-1:]), name)
