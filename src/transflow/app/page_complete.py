"""The panel of a picture completed: painted over with a brush, or hidden by a list, for who has no pointer."""

from __future__ import annotations

from typing import Any

import numpy as np

from transflow.app import bounds, markup, recipes
from transflow.app.bundle import Made, folder_of, mask_of, one
from transflow.app.changing import one_of
from transflow.app.completing import HIDDEN, PAINTED, completed, what_is_known
from transflow.app.gathering import posterior, seen
from transflow.app.page_results import again, shown
from transflow.app.page_sets import SetPanel
from transflow.app.wiring import Asked, Wires

SIDE = 384  # pixels of the editor
PRIORS = {"any picture of the model": "", "one of the evidence": "covariance"}
WORDS = "The picture as the model saw it, what was painted over (`mask.png`), the samples, and code."


def complete_panel(wires: Wires, model: Any, pictures: SetPanel, which: Any) -> None:
    """Build the panel where the page is being built."""
    gr = wires.gr
    hidden = gr.Radio(list(HIDDEN), value=PAINTED, label="What is not known", elem_id="hidden")
    editor = gr.ImageEditor(
        label="Paint over what is not known",
        type="numpy",
        image_mode="RGBA",
        sources=(),
        transforms=(),
        layers=False,
        brush=gr.Brush(default_size=40, colors=["#ff00aa"], color_mode="fixed"),
        eraser=gr.Eraser(default_size=40),
        canvas_size=(SIDE, SIDE),
        fixed_canvas=True,
        buttons=[],
        height=480,
        elem_id="editor",
    )
    with gr.Row():
        prior = gr.Radio(list(PRIORS), value=next(iter(PRIORS)), label="Complete it as", elem_id="prior-of")
        n = gr.Slider(1, bounds.COMPLETIONS, 4, step=1, label="Number", elem_id="complete-number")
        seed = gr.Number(0, precision=0, minimum=0, maximum=2**31 - 1, label="Seed", elem_id="complete-seed")
    with gr.Row():
        go = gr.Button("Complete", variant="primary", elem_id="complete-go")
        stop = gr.Button("Stop", elem_id="complete-stop")
    found_there = gr.HTML(elem_id="completed", padding=False, min_height=96)
    code = again(wires, "complete", WORDS)

    def open_in_editor(asked: Asked, name: str, chosen: str | None) -> Any:
        found = wires.shelf.model(asked.session, name)
        some = seen(wires.shelf, asked.session, "picture", found)
        if not len(some):
            return None
        picture = one_of(some, chosen if chosen in some.names else None).pixels[0].expand(3, -1, -1)
        factor = max(1, SIDE // max(picture.shape[1:]))
        large = picture.permute(1, 2, 0).numpy().repeat(factor, 0).repeat(factor, 1)
        return {"background": np.ascontiguousarray(large), "layers": [], "composite": None}

    def search(
        asked: Asked, name: str, chosen: str | None, what: str, painting: Any, like: str, number: float, start: Any
    ) -> list[Any]:
        session, found, work = asked.session, wires.shelf.model(asked.session, name), asked.work("complete")
        own = seen(wires.shelf, session, "picture", found)
        picture = one_of(own, chosen if chosen in own.names else None)
        operator = what_is_known(what, painting, found)
        learn = PRIORS.get(like, "")
        some = seen(wires.shelf, session, "evidence", found, work)
        as_these = posterior(session, found, some, learn, work=work) if learn else None
        count, first = int(number), int(start or 0)
        result = completed(found, picture, operator, count, first, as_these, work)
        recipe = recipes.completion(found.name, result.known is not None, count, first, learn)

        def files() -> dict[str, bytes]:
            mask = {} if result.known is None else {"mask.png": mask_of(result.known)}
            there = folder_of(some, "evidence") if learn else {}
            samples = folder_of(result.sheet[1:-1], "page/completed")
            return {"picture.png": one(picture.pixels[0]), **mask, **samples, **there}

        made = Made(files, recipe, wires.shelf.beside(session, name))
        words = f"what is known, {markup.counted(count, 'completion')}, and their mean"
        return [markup.sheet(result.sheet, words, f"{words}; {result.note}"), *shown(asked, "complete", made)]

    def painted(asked: Asked, what: str) -> Any:
        return gr.update(visible=what == PAINTED)

    wires.on(hidden.input, painted, [hidden], [editor], group="at once")
    wires.on(which.change, open_in_editor, [model, which], [editor])
    for change in pictures.changes:
        wires.then(change, open_in_editor, [model, which], [editor])
    inputs = [model, which, hidden, editor, prior, n, seed]
    wires.on(go.click, search, inputs, [found_there, *code.code], group="long", shows="full")
    wires.stopper(stop, "complete")
