"""The panel of new pictures: sliders, the model's own pictures beside those of the evidence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from transflow.app import bounds, markup, recipes
from transflow.app.bundle import Made, folder_of, posterior_of
from transflow.app.drawing import WAYS, New, Settings, conditioned, draw, prior
from transflow.app.gathering import encoded, is_encoded, seen
from transflow.app.page_results import again, shown
from transflow.app.page_sets import SetPanel, after
from transflow.app.wiring import Asked, Wires

TITLES = {title: way for way, title in WAYS.items()}
FOUR = "four parents"
WORDS = (
    "The evidence as the model saw it, the new pictures one by one, the new model (`mine.safetensors`), and code. That "
    "file holds latents of the evidence, which the model turns into the pictures again: it is not anonymous."
)


@dataclass(frozen=True, eq=False)
class Sliders:
    """The components that say how to draw.

    Attributes:
        components: in the order of `settings_of`.
    """

    components: list[Any]


def settings_of(
    way: str, novel: bool, novelty: float, covariance: float, typical: bool, noise: float, t: float, n: float, seed: Any
) -> Settings:
    """Return what the components' values mean."""
    return Settings(
        way=TITLES.get(way, way),
        novelty=round(float(novelty), 3) if novel else None,
        covariance=round(float(covariance), 3),
        noise=None if typical else round(float(noise), 3),
        temperature=round(float(t), 3),
        n=int(n),
        seed=int(seed or 0),
    )


def new_panel(wires: Wires, model: Any, evidence: SetPanel, opens: Any) -> Sliders:
    """Build the panel where the page is being built.

    Args:
        wires: to the framework.
        model: the component that has the model's name.
        evidence: the evidence's components.
        opens: the event of the page's opening.
    """
    gr = wires.gr
    way = gr.Radio(list(TITLES), value=WAYS["parents"], label="New pictures are made of", elem_id="way")
    with gr.Row():
        novel = gr.Checkbox(False, label="Choose how new (else four parents)", elem_id="novel", min_width=220)
        novelty = gr.Slider(
            0, 1, 0.6, step=0.05, label="Novelty: 0 the evidence, 1 all mixed", visible=False, elem_id="novelty"
        )
        covariance = gr.Slider(0, 1, 0.75, step=0.05, label="How much covariance", visible=False, elem_id="covariance")
        typical = gr.Checkbox(
            True, label="Noise as the model likes it", visible=False, elem_id="typical", min_width=220
        )
        noise = gr.Slider(
            0.05, 3, 0.5, step=0.05, label="Noise (in m, the number of pictures)", visible=False, elem_id="noise"
        )
    with gr.Row():
        t = gr.Slider(0, 1.5, 1.0, step=0.05, label="Temperature", elem_id="temperature")
        n = gr.Slider(1, bounds.NUMBER, 16, step=1, label="Number", elem_id="number")
        with gr.Column(min_width=160):
            seed = gr.Number(0, precision=0, minimum=0, maximum=2**31 - 1, label="Seed of the draws", elem_id="seed")
            with gr.Row():
                other = gr.Button("Other draws", size="sm", min_width=90, elem_id="other-draws")
                stop = gr.Button("Stop", size="sm", min_width=60, elem_id="new-stop")
    with gr.Row():
        with gr.Column(min_width=280):
            gr.Markdown("### The model itself")
            before = gr.HTML(elem_id="prior", padding=False, min_height=96)
        with gr.Column(min_width=280):
            gr.Markdown("### Conditioned on your pictures")
            drawn = gr.HTML(elem_id="new", padding=False, min_height=96)
    code = again(wires, "new", WORDS)
    sliders = [way, novel, novelty, covariance, typical, noise, t, n, seed]
    inputs = [model, *sliders]
    outputs = [drawn, *code.code]

    def redraw(asked: Asked, name: str, *values: Any) -> Iterator[list[Any]]:
        settings = settings_of(*values)
        session, found = asked.session, wires.shelf.model(asked.session, name)
        work = asked.work("new")
        some = seen(wires.shelf, session, "evidence", found, work)
        if session.encoding and not is_encoded(session, found, some):
            yield [gr.skip()] * 3  # they are drawn once they are encoded
            return
        if not len(some):
            session.results.pop("new", None)
            yield [markup.note("Give some pictures, and new ones like them appear here."), "", ""]
            return
        own = conditioned(session, found, some, settings, work)
        for part in draw(own, settings, some.names, work):
            last = part
            yield [_figure(part, f"{part.wanted} new pictures"), gr.skip(), gr.skip()]

        def files() -> dict[str, bytes]:
            posterior = {"mine.safetensors": posterior_of(own), "page/new.png": markup.png(last.pictures, zoom=4)}
            return {**folder_of(some, "evidence"), **folder_of(last.pictures, "page/new"), **posterior}

        made = Made(files, recipes.new(found.name, settings), wires.shelf.beside(session, name))
        yield [gr.skip(), *shown(asked, "new", made)]

    def encode(asked: Asked, name: str) -> Any:
        session, found, work = asked.session, wires.shelf.model(asked.session, name), asked.work("new")
        some = seen(wires.shelf, session, "evidence", found, work)
        session.encoding = True
        try:
            if len(some):
                encoded(session, found, some, work)
        finally:
            session.encoding = False
        return gr.skip()

    def draw_encoded(asked: Asked, name: str, *values: Any) -> Iterator[list[Any]]:
        found = wires.shelf.model(asked.session, name)
        if is_encoded(asked.session, found, seen(wires.shelf, asked.session, "evidence", found)):
            yield from redraw(asked, name, *values)
        else:  # it was stopped
            yield [gr.skip()] * 3

    def of_the_model(asked: Asked, name: str, number: float, chosen: Any) -> Iterator[str]:
        found = wires.shelf.model(asked.session, name)
        work = asked.work("prior")
        for part in prior(asked.session, found, int(number), int(chosen or 0), work):
            yield _figure(part, f"{part.wanted} pictures of the model itself")

    def visible(asked: Asked, title: str, chooses: bool, likes: bool) -> list[Any]:
        kind = TITLES.get(title, title)
        newer = kind in ("parents", "mixture")
        return [
            gr.update(visible=newer),
            gr.update(visible=newer and chooses),
            gr.update(visible=kind == "covariance"),
            gr.update(visible=kind == "mean"),
            gr.update(visible=kind == "mean" and not likes),
        ]

    def another(asked: Asked, chosen: Any) -> int:
        return (int(chosen or 0) + 1) % 2**31

    def fewer(asked: Asked, name: str, number: float) -> Any:
        large = wires.shelf.model(asked.session, name).dim > bounds.LARGE
        return min(int(number), 8) if large else number

    wires.on([way.input, novel.input, typical.input], visible, [way, novel, typical],
             [novel, novelty, covariance, typical, noise], group="at once")  # fmt: skip
    moved = [part.input for part in sliders]
    wires.on(moved, redraw, inputs, outputs, trigger_mode="always_last")
    wires.on([n.input, seed.input], of_the_model, [model, n, seed], [before], group="prior", trigger_mode="always_last")
    pressed = wires.on(other.click, another, [seed], [seed], group="at once")
    wires.then(pressed, redraw, inputs, outputs)
    wires.then(pressed, of_the_model, [model, n, seed], [before], group="prior")
    for ready in after(wires, [evidence], encode, [model], [drawn]):
        wires.then(ready, draw_encoded, inputs, outputs, shows="minimal", trigger_mode="always_last")
    wires.on(opens, of_the_model, [model, n, seed], [before], group="prior", shows="minimal")
    changed = wires.on(model.change, fewer, [model, n], [n], group="at once")
    wires.then(changed, of_the_model, [model, n, seed], [before], group="prior", shows="minimal")
    wires.stopper(stop, "new")
    return Sliders(sliders)


def _figure(part: New, words: str) -> str:
    return markup.sheet(part.pictures, words, part.note, wanted=part.wanted)
