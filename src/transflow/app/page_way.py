"""The panel of the way to another new model: an animation from the evidence to other pictures."""

from __future__ import annotations

from typing import Any

from transflow.app import bounds, markup, recipes
from transflow.app.bundle import Made, folder_of, posterior_of
from transflow.app.drawing import conditioned
from transflow.app.gathering import seen
from transflow.app.page_new import Sliders, settings_of
from transflow.app.page_results import again, shown
from transflow.app.page_sets import set_panel
from transflow.app.travelling import Journey, way
from transflow.app.wiring import Asked, Wires
from transflow.pictures.grids import animation, grid

WORDS = "Both sets of pictures as the model saw them, both new models, the animation, its pictures, and code."


def way_panel(wires: Wires, model: Any, sliders: Sliders) -> None:
    """Build the panel where the page is being built."""
    gr = wires.gr
    gr.Markdown(
        "From new pictures of the evidence to new pictures of others, each keeping its random draws all the way."
    )
    set_panel(wires, "other", "Where the way ends", model)
    with gr.Row():
        steps = gr.Slider(2, bounds.STEPS, 12, step=1, label="Steps", elem_id="steps")
        n = gr.Slider(1, bounds.FOLLOWED, 4, step=1, label="Pictures to follow", elem_id="followed")
    with gr.Row():
        go = gr.Button("Go", variant="primary", elem_id="way-go")
        stop = gr.Button("Stop", elem_id="way-stop")
    film = gr.HTML(elem_id="way-film", padding=False, min_height=96)
    code = again(wires, "way", WORDS)

    def travel(asked: Asked, name: str, stops: float, count: float, *values: Any) -> list[Any]:
        settings = settings_of(*values)
        journey = Journey(int(stops), int(count), settings.seed, settings.temperature)
        session, found, work = asked.session, wires.shelf.model(asked.session, name), asked.work("way")
        sets = [seen(wires.shelf, session, key, found, work) for key in ("evidence", "other")]
        for some, where in zip(sets, ("evidence to begin with", "pictures where the way ends"), strict=True):
            if not len(some):
                raise ValueError(f"Expected {where}; got none. Drop some, or take a sample set.")
        first, last = (conditioned(session, found, some, settings, work) for some in sets)
        frames = way(first, last, journey, work)

        def files() -> dict[str, bytes]:
            film = animation([grid(frame, journey.n) for frame in frames])
            ends = {"first.safetensors": posterior_of(first), "last.safetensors": posterior_of(last)}
            rows = folder_of(frames.transpose(0, 1).flatten(0, 1), "page/way")
            given = {**folder_of(sets[0], "evidence"), **folder_of(sets[1], "other")}
            return {**given, **ends, **rows, "page/way.gif": film}

        made = Made(files, recipes.way(found.name, settings, journey), wires.shelf.beside(session, name))
        words = f"{journey.n} pictures in {journey.steps} steps from the evidence to the others"
        return [markup.moving(frames, words), *shown(asked, "way", made)]

    wires.on(go.click, travel, [model, steps, n, *sliders.components], [film, *code.code], group="long", shows="full")
    wires.stopper(stop, "way")
