"""The panel of one picture changed: towards the evidence, or in an attribute, at a strength that a slider moves."""

from __future__ import annotations

from typing import Any

from transflow.app import markup, recipes
from transflow.app.bundle import Made, folder_of, one
from transflow.app.changing import FARTHEST, Changed, attribute, one_of, towards
from transflow.app.gathering import Seen, seen
from transflow.app.page_results import again, shown
from transflow.app.page_sets import SetPanel, after, set_panel
from transflow.app.wiring import Asked, Wires

LEARNS = {"all that it is": "covariance", "what it has in common": "mean"}
WORDS = "The picture as the model saw it, the changed one, the sets of pictures, and code."


def picture_panel(wires: Wires, model: Any) -> tuple[SetPanel, Any]:
    """Build the components of the picture that is changed or completed; return its set, and which of it."""
    gr = wires.gr
    pictures = set_panel(wires, "picture", "A picture of your own", model, camera=True)
    which = gr.Dropdown([], label="Which of them", elem_id="which", visible=False)

    def offer(asked: Asked, name: str) -> Any:
        some = seen(wires.shelf, asked.session, "picture", wires.shelf.model(asked.session, name))
        return gr.update(choices=list(some.names), value=some.names[0] if len(some) else None, visible=len(some) > 1)

    for change in pictures.changes:
        wires.then(change, offer, [model], [which])
    return pictures, which


def edit_panel(wires: Wires, model: Any, evidence: SetPanel, pictures: SetPanel, which: Any) -> None:
    """Build the two ways of changing where the page is being built."""
    gr = wires.gr
    with gr.Tab("Towards the evidence"):
        learn = gr.Radio(list(LEARNS), value="all that it is", label="Of the evidence", elem_id="edit-learn")
        strength = gr.Slider(0, FARTHEST / 2, 0.5, step=0.05, label="Strength", elem_id="edit-strength")
        changed = gr.HTML(elem_id="edited", padding=False)
        code = again(wires, "edit", WORDS)

    def move(asked: Asked, name: str, chosen: str | None, of: str, by: float) -> list[Any]:
        session, found, work = asked.session, wires.shelf.model(asked.session, name), asked.work("edit")
        picture, some = _both(wires, asked, found, chosen, "evidence")
        if picture is None or not len(some):
            return [markup.note("Give a picture, and the evidence, and the picture changed appears here."), "", ""]
        way, by = LEARNS.get(of, of), round(float(by), 3)
        result = towards(session, found, picture, some, by, way, work)
        recipe = recipes.towards(found.name, way, by)
        own = wires.shelf.beside(session, name)
        made = Made(lambda: {**_files(picture, result), **folder_of(some, "evidence")}, recipe, own)
        return [_figure(result), *shown(asked, "edit", made)]

    inputs, outputs = [model, which, learn, strength], [changed, *code.code]
    moved = [which.change, learn.input, strength.input]
    wires.on(moved, move, inputs, outputs, trigger_mode="always_last")
    after(wires, [pictures, evidence], move, inputs, outputs)

    with gr.Tab("More of an attribute"):
        gr.Markdown("Two sets, one with more of it and one otherwise alike. Some ten pictures each are a beginning.")
        with gr.Row():
            with gr.Column(min_width=240):
                more = set_panel(wires, "with", "Pictures with it", model)
            with gr.Column(min_width=240):
                less = set_panel(wires, "without", "Pictures without it", model)
        amount = gr.Slider(-FARTHEST, FARTHEST, 1, step=0.1, label="How much more", elem_id="attribute-strength")
        with_more = gr.HTML(elem_id="attributed", padding=False)
        code_2 = again(wires, "attribute", WORDS)

    def give(asked: Asked, name: str, chosen: str | None, by: float) -> list[Any]:
        session, found, work = asked.session, wires.shelf.model(asked.session, name), asked.work("attribute")
        picture, first = _both(wires, asked, found, chosen, "with")
        last = seen(wires.shelf, session, "without", found, work)
        if picture is None or not len(first) or not len(last):
            return [markup.note("Give a picture, and both sets, and the picture changed appears here."), "", ""]
        by = round(float(by), 3)
        result = attribute(session, found, picture, first, last, by, work)
        own = wires.shelf.beside(session, name)
        sets = {**folder_of(first, "with"), **folder_of(last, "without")}
        made = Made(lambda: {**_files(picture, result), **sets}, recipes.attribute(found.name, by), own)
        return [_figure(result), *shown(asked, "attribute", made)]

    inputs_2, outputs_2 = [model, which, amount], [with_more, *code_2.code]
    wires.on([which.change, amount.input], give, inputs_2, outputs_2, trigger_mode="always_last")
    after(wires, [more, less, pictures], give, inputs_2, outputs_2)


def _both(wires: Wires, asked: Asked, model: Any, chosen: str | None, key: str) -> tuple[Seen | None, Seen]:
    """The picture, None where there is none; and a set."""
    own = seen(wires.shelf, asked.session, "picture", model)
    chosen = chosen if chosen in own.names else None  # of a set that has just been changed
    return (one_of(own, chosen) if len(own) else None), seen(wires.shelf, asked.session, key, model)


def _files(picture: Seen, result: Changed) -> dict[str, bytes]:
    return {"picture.png": one(picture.pixels[0]), "page/edited.png": one(result.pictures[1])}


def _figure(result: Changed) -> str:
    return markup.sheet(result.pictures, "the picture, and the picture changed", result.note, 2)
