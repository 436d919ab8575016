"""The whole page: the model, the evidence, and a tab for each thing to do with them."""

from __future__ import annotations

from typing import Any

from transflow.app.page_classes import classes_panel
from transflow.app.page_complete import complete_panel
from transflow.app.page_edit import edit_panel, picture_panel
from transflow.app.page_new import new_panel
from transflow.app.page_score import score_panel
from transflow.app.page_sets import set_panel
from transflow.app.page_way import way_panel
from transflow.app.wiring import Asked, Wires

TITLE = "transflow"
WORDS = """# transflow
A new generative model from a handful of pictures, without training. Give some pictures, or take a sample set: new ones
like them appear at once."""
FONT = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]


def build(wires: Wires) -> Any:
    """Return the page, of the framework's blocks."""
    gr = wires.gr
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as page:
        gr.Markdown(WORDS)
        with gr.Row(equal_height=False):
            with gr.Column(scale=2, min_width=320):
                model = gr.Dropdown(
                    list(wires.shelf.names),
                    value=wires.shelf.names[0],
                    label="Model",
                    elem_id="model",
                    filterable=False,
                )
                with gr.Accordion("A model file of your own", open=False):
                    own = gr.File(label="Model file (.safetensors)", height=150, elem_id="own-model")
                gr.Markdown("## Evidence")
                evidence = set_panel(wires, "evidence", "Evidence", model, camera=True, opens=page.load)
            with gr.Column(scale=5, min_width=320), gr.Tabs():
                with gr.Tab("New pictures", id="new"):
                    sliders = new_panel(wires, model, evidence, page.load)
                with gr.Tab("Way to others", id="way"):
                    way_panel(wires, model, sliders)
                with gr.Tab("One picture", id="edit"):
                    pictures, which = picture_panel(wires, model)
                    with gr.Tabs():
                        edit_panel(wires, model, evidence, pictures, which)
                        with gr.Tab("Completed"):
                            complete_panel(wires, model, pictures, which)
                with gr.Tab("Classes", id="classes"):
                    classes_panel(wires, model)
                with gr.Tab("Scores", id="scores"):
                    score_panel(wires, model)

        def add_model(asked: Asked, path: str | None) -> list[Any]:
            if not path:
                raise ValueError("Expected a model file; got none. Choose one.")
            name = wires.shelf.add(asked.session, path)
            return [None, gr.update(choices=wires.shelf.choices(asked.session), value=name)]

        wires.on(own.upload, add_model, [own], [own, model], shows="full", failed=[None, gr.skip()])

        def left(request: Any) -> None:
            wires.sessions.drop(request.session_hash)

        left.__annotations__ = {"request": gr.Request}
        page.unload(left)
    return page
